import { expect, it } from 'vitest';
import { planRoutes, type RouteConfig } from '../../src/engine/routes.ts';
import type { Component, FunctionSpec, Method } from '../../src/model/component.ts';
import { planSchemas } from '../../src/schemas.ts';
import { shopRegistry } from './messages.ts';

const descriptors = { registry: shopRegistry, files: [] };

function specOf(...methods: readonly (readonly [name: string, input: string, output: string])[]): FunctionSpec {
  const all = new Map<string, Method>();
  const component: Component = { kind: 'event-sourced', service: 'shop.Service', entityType: 'carts', methods: all };
  for (const [name, inputType, outputType] of methods) {
    all.set(name, {
      name,
      component,
      inputType,
      outputType,
      clientStreaming: false,
      serverStreaming: false,
      entityKeyFields: [],
      eventing: {},
    });
  }
  return {
    dialect: 'kalix',
    protocolVersion: '1.1',
    serviceName: 'shop',
    supportLibrary: '',
    components: new Map([[component.service, component]]),
    digest: '',
  };
}

const service = 'shop.Service';
const input = (topic: string, method: string) =>
  ({ topic, service, method, format: 'registry', entityId: 'auto' }) as const;
const planOf = (spec: FunctionSpec, config: Partial<RouteConfig>) =>
  planSchemas(planRoutes(spec, { subscriptions: [], replies: [], events: [], doors: true, ...config }), descriptors);

it('types of several routes to one topic are those of the topic; the one type of an input is whatever its schema is called', () => {
  const spec = specOf(['Add', 'shop.Added', 'shop.Item'], ['Remove', 'shop.Removed', 'shop.Removed']);
  const reply = (method: string) => ({ service, method, topic: 'out', format: 'avro' }) as const;
  const plan = planOf(spec, {
    subscriptions: [input('both', 'Add'), input('both', 'Remove'), input('one', 'Add')],
    replies: [reply('Add'), { ...reply('Remove'), types: ['shop.Outer'] }],
  });
  expect(plan.reads.map(({ topic, types, only }) => [topic, types.length, only?.typeName])).toEqual([
    ['both', 2, undefined],
    ['one', 1, 'shop.Added'],
  ]);
  expect(plan.outputs.map(({ topic, types }) => [topic, types.map(({ typeName }) => typeName)])).toEqual([
    ['out', ['shop.Item', 'shop.Removed', 'shop.Outer']],
  ]);
});

it('everything that the registry cannot do is told at once', () => {
  const spec = specOf(
    ['Any', 'google.protobuf.Any', 'google.protobuf.Any'],
    ['Add', 'shop.Added', 'shop.Item'],
    ['Remove', 'shop.Removed', 'shop.Removed'],
  );
  const act = () =>
    planOf(spec, {
      subscriptions: [input('in', 'Any')],
      replies: [
        { service, method: 'Any', topic: 'any', format: 'avro' },
        { service, method: 'Add', topic: 'out', format: 'avro' },
        { service, method: 'Remove', topic: 'out', format: 'json' },
      ],
      events: [{ entityType: 'carts', topic: 'events', format: 'avro', types: ['shop.Unheard'] }],
    });
  expect(act).toThrow(/a method that takes google.protobuf.Any has nothing/);
  expect(act).toThrow(/the topic "any" takes google.protobuf.Any/);
  expect(act).toThrow(/the topic "out" is written in several ways \(avro by TopicNameStrategy; json\)/);
  expect(act).toThrow(/names the type shop.Unheard/);
});

it('a deployment without topics of the registry has nothing to do with it', () => {
  const plan = planOf(specOf(['Add', 'shop.Added', 'shop.Item']), {});
  expect([...plan.reads, ...plan.inputs, ...plan.outputs]).toEqual([]);
});
