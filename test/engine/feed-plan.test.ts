import { describe, expect, it } from 'vitest';
import { planRoutes, type RouteConfig } from '../../src/engine/routes.ts';
import type { Component, ComponentKind, FunctionSpec } from '../../src/model/component.ts';
import { describeComponent } from '../../src/protocol/describe-component.ts';
import { readDescriptors } from '../../src/protocol/descriptors.ts';
import { KALIX_OPTIONS } from '../../src/protocol/options.ts';
import { compileProtos } from '../support/compile-protos.ts';

const NOTHING: RouteConfig = { subscriptions: [], replies: [], events: [], doors: false };
const HEAD = `
syntax = "proto3";
package app;
import "google/protobuf/any.proto";
import "google/protobuf/empty.proto";
import "kalix/annotations.proto";
message A { string id = 1 [(kalix.field).entity_key = true]; }
message B { string id = 1 [(kalix.field).entity_key = true]; }
message Keyless { string text = 1; }
service Carts { rpc Do(A) returns (A); }
service Prices { rpc Do(A) returns (A); }
`;

/** A function with the event sourced entity type `carts`, the value entity type `prices`, and the services of `proto`. */
function specOf(proto: string, services: Readonly<Record<string, ComponentKind>>): FunctionSpec {
  const descriptors = readDescriptors(compileProtos({ 'app.proto': HEAD + proto }));
  const components = new Map<string, Component>();
  const add = (name: string, kind: ComponentKind, entityType: string) => {
    const service = `app.${name}`;
    components.set(service, describeComponent({ descriptors, kind, service, entityType, options: KALIX_OPTIONS }));
  };
  add('Carts', 'event-sourced', 'carts');
  add('Prices', 'value', 'prices');
  for (const [name, kind] of Object.entries(services)) add(name, kind, name);
  return { dialect: 'kalix', protocolVersion: '1.1', serviceName: '', supportLibrary: '', components, digest: '' };
}

const feedsOf = (proto: string, services: Readonly<Record<string, ComponentKind>>) =>
  planRoutes(specOf(proto, services), NOTHING).feeds.map(({ methods, deletes, ...feed }) => ({
    ...feed,
    methods: methods.map(({ name }) => name),
    deletes: deletes?.name,
  }));

const method = (name: string, input: string, source: string) =>
  `rpc ${name}(${input}) returns (A) { option (kalix.method).eventing.in = { ${source} }; }`;

describe('planning feeds', () => {
  it('makes one feed of the methods of a service and an entity type; a function that has but one needs no topic', () => {
    const proto = `service Watch {
      ${method('OnA', 'A', 'event_sourced_entity: "carts"')}
      ${method('NotB', 'B', 'event_sourced_entity: "carts" ignore: true')}
      ${method('OnPrice', 'A', 'value_entity: "prices" ignore_unknown: true')}
      ${method('OnGone', 'google.protobuf.Empty', 'value_entity: "prices" handle_deletes: true')}
    }`;

    expect(feedsOf(proto, { Watch: 'action' })).toEqual([
      {
        name: 'app.Watch',
        source: 'event-sourced',
        entityType: 'carts',
        methods: ['OnA'],
        ignored: ['app.B'],
        ignoreUnknown: false,
        deletes: undefined,
      },
      {
        name: 'app.Watch',
        source: 'value',
        entityType: 'prices',
        methods: ['OnPrice'],
        ignored: [],
        ignoreUnknown: true,
        deletes: 'OnGone',
      },
    ]);
  });

  it('takes services of one consumer group as one subscriber, and others of the same entities as others', () => {
    const group = (group: string) => `event_sourced_entity: "carts" consumer_group: "${group}"`;
    const proto = `
      service One { ${method('OnA', 'A', group('both'))} }
      service Two { ${method('OnB', 'B', group('both'))} }
      service Three { ${method('OnA', 'A', group('other'))} }`;

    expect(feedsOf(proto, { One: 'action', Two: 'action', Three: 'action' })).toMatchObject([
      { name: 'both', methods: ['OnA', 'OnB'] },
      { name: 'other', methods: ['OnA'] },
    ]);
  });

  it("takes a service's own annotation as that of each of its methods", () => {
    const proto = `service Watch {
      option (kalix.service).eventing.in = { event_sourced_entity: "carts" ignore_unknown: true };
      rpc OnA(A) returns (A);
      rpc OnB(B) returns (A);
    }`;

    expect(feedsOf(proto, { Watch: 'action' })).toMatchObject([{ methods: ['OnA', 'OnB'], ignoreUnknown: true }]);
  });

  it('wants nothing of entities of which everything is ignored', () => {
    const proto = `service Watch { ${method('NotA', 'A', 'event_sourced_entity: "carts" ignore: true')} }`;

    expect(planRoutes(specOf(proto, { Watch: 'action' }), { ...NOTHING, doors: true }).feeds).toEqual([]);
  });

  it.each([
    [
      'an entity type that the function does not have',
      method('OnA', 'A', 'event_sourced_entity: "prices"'),
      'names the event-sourced entity type "prices", and the function\'s are carts',
    ],
    [
      'a method that streams',
      'rpc OnA(stream A) returns (A) { option (kalix.method).eventing.in.event_sourced_entity = "carts"; }',
      'feeds a method that streams',
    ],
    [
      'two methods that take the same type',
      method('OnA', 'A', 'event_sourced_entity: "carts"') + method('Again', 'A', 'event_sourced_entity: "carts"'),
      'the annotation of app.Watch/Again takes app.A of "carts", which app.Watch/OnA takes already',
    ],
    [
      'two methods that take deletions',
      method('Gone', 'google.protobuf.Empty', 'value_entity: "prices" handle_deletes: true') +
        method('Lost', 'google.protobuf.Empty', 'value_entity: "prices" handle_deletes: true'),
      'takes deletions of "prices", which app.Watch/Gone takes already',
    ],
    [
      'deletions of an event sourced entity',
      method('Gone', 'google.protobuf.Empty', 'event_sourced_entity: "carts" handle_deletes: true'),
      'takes deletions, which only value entities tell of',
    ],
    [
      'deletions with a message in them',
      method('Gone', 'A', 'value_entity: "prices" handle_deletes: true'),
      'takes deletions with app.A; a deletion has nothing to tell',
    ],
  ])('refuses %s', (_, methods, sentence) => {
    expect(() => feedsOf(`service Watch { ${methods} }`, { Watch: 'action' })).toThrow(
      expect.objectContaining({ code: 'FUNCTION_SPEC', message: expect.stringContaining(sentence) }),
    );
  });

  it('refuses to feed an entity with a message that does not tell which one', () => {
    const proto = `service Stock { ${method('OnText', 'Keyless', 'event_sourced_entity: "carts"')} }`;

    expect(() => feedsOf(proto, { Stock: 'value' })).toThrow(/app\.Keyless marks no entity key field/);
  });
});
