import { beforeAll, describe, expect, it } from 'vitest';
import { planRoutes, type RouteConfig } from '../../src/engine/routes.ts';
import type { Component, FunctionSpec } from '../../src/model/component.ts';
import { describeComponent } from '../../src/protocol/describe-component.ts';
import { readDescriptors } from '../../src/protocol/descriptors.ts';
import { KALIX_OPTIONS } from '../../src/protocol/options.ts';
import { compileProtos } from '../support/compile-protos.ts';

const PROTO = `
syntax = "proto3";
package app;
import "kalix/annotations.proto";
message A { string id = 1 [(kalix.field).entity_key = true]; }
message B { string id = 1 [(kalix.field).entity_key = true]; }
service Orders {
  rpc TakeA(A) returns (A) { option (kalix.method).eventing.in.topic = "orders"; }
  rpc SkipB(B) returns (B) { option (kalix.method).eventing.in = { topic: "orders" ignore: true }; }
}
service Bystander {
  rpc SkipA(A) returns (A) { option (kalix.method).eventing.in = { topic: "elsewhere" ignore: true }; }
}
service Paper {
  rpc Hear(A) returns (A) { option (kalix.method).eventing.in.direct = { service: "other" event_stream_id: "s" }; }
}
`;

const NOTHING: RouteConfig = { subscriptions: [], replies: [], events: [], doors: false };
let spec: FunctionSpec;
beforeAll(() => {
  const descriptors = readDescriptors(compileProtos({ 'app.proto': PROTO }));
  const components = new Map<string, Component>();
  for (const service of ['app.Orders', 'app.Bystander', 'app.Paper']) {
    const given = { descriptors, service, entityType: service, options: KALIX_OPTIONS, kind: 'value' } as const;
    components.set(service, describeComponent(given));
  }
  spec = { dialect: 'kalix', protocolVersion: '1.1', serviceName: '', supportLibrary: '', components, digest: '' };
});

describe('planRoutes', () => {
  it('feeds what is annotated, and knows of each topic the types that are ignored', () => {
    const [orders, ...others] = planRoutes(spec, NOTHING).inputs;

    expect(orders).toMatchObject({ topic: 'orders', ignored: ['app.B'] });
    expect(orders?.methods.map(({ name }) => name)).toEqual(['TakeA']);
    // Of a topic that is only ignored, nothing need be read.
    expect(others).toEqual([]);
  });

  it('feeds what the configuration feeds, whatever the annotation ignores', () => {
    const subscription = {
      topic: 'orders',
      service: 'app.Orders',
      method: 'SkipB',
      format: 'auto',
      entityId: 'auto',
    } as const;

    const [orders] = planRoutes(spec, { ...NOTHING, subscriptions: [subscription] }).inputs;

    expect(orders?.methods.map(({ name }) => name)).toEqual(['SkipB', 'TakeA']);
    expect(orders?.ignored).toEqual([]);
  });

  it('lists a direct subscription to another service as not served, and goes on with the rest', () => {
    expect(planRoutes(spec, NOTHING).unserved).toEqual([
      expect.stringMatching(/^app\.Paper\/Hear subscribes directly to the service "other".*publish to a topic/),
    ]);
  });
});

describe('formats', () => {
  const orders = { service: 'app.Orders', method: 'TakeA', topic: 'plain' } as const;

  it.each(['text', 'bytes'] as const)(
    'a topic of %s feeds only methods that take it, and the fault says what would',
    (format) => {
      const wrapper = format === 'text' ? 'StringValue' : 'BytesValue';

      expect(() => planRoutes(spec, { ...NOTHING, subscriptions: [{ ...orders, format, entityId: 'auto' }] })).toThrow(
        new RegExp(`as ${format}, and app.Orders/TakeA takes app.A, where google.protobuf.${wrapper} or`),
      );
    },
  );

  it('replies that are no text cannot be written as one', () => {
    expect(() => planRoutes(spec, { ...NOTHING, replies: [{ ...orders, format: 'text' }] })).toThrow(
      /writes the replies of app.Orders\/TakeA as text, and they are app.A/,
    );
  });

  it('a destination is CloudEvents in the headers, or as the configuration says', () => {
    const plan = planRoutes(spec, {
      ...NOTHING,
      replies: [
        { ...orders, format: 'auto', cloudevents: 'binary' },
        { ...orders, topic: 'events', format: 'json', cloudevents: 'structured' },
        { ...orders, topic: 'raw', format: 'bytes', cloudevents: 'none' },
      ],
    });

    expect(plan.replies.get('app.Orders/TakeA')).toEqual([
      { topic: 'plain', format: 'protobuf' },
      { topic: 'events', format: 'json', events: 'structured' },
      { topic: 'raw', format: 'bytes', events: 'none' },
    ]);
  });
});
