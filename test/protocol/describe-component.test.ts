import { beforeAll, describe, expect, it } from 'vitest';
import type { Component } from '../../src/model/component.ts';
import { describeComponent } from '../../src/protocol/describe-component.ts';
import { type Descriptors, readDescriptors } from '../../src/protocol/descriptors.ts';
import { CLOUDSTATE_OPTIONS, KALIX_OPTIONS } from '../../src/protocol/options.ts';
import { compileProtos } from '../support/compile-protos.ts';

const KALIX = `
syntax = "proto3";
package app;
import "kalix/annotations.proto";
import "google/protobuf/empty.proto";

message Keys {
  int64 late = 9 [(kalix.field).entity_key = true];
  string plain = 1;
  string early = 2 [(kalix.field).entity_key = true];
}
message Every {
  bool a = 1 [(kalix.field).entity_key = true];
  uint32 b = 2 [(kalix.field).entity_key = true];
  sint64 c = 3 [(kalix.field).entity_key = true];
  fixed32 d = 4 [(kalix.field).entity_key = true];
  sfixed32 e = 5 [(kalix.field).entity_key = true];
  fixed64 f = 6 [(kalix.field).entity_key = true];
  sfixed64 g = 7 [(kalix.field).entity_key = true];
}
message Later { string id = 1 [(kalix.field).workflow_key = true]; string other = 2; }
message Both {
  string flow = 1 [(kalix.field).workflow_key = true];
  string entity = 2 [(kalix.field).entity_key = true];
}
message Nested { Keys keys = 1; string text = 2; }
message MarkedMessage { Keys keys = 1 [(kalix.field).entity_key = true]; }
message MarkedList { repeated string ids = 1 [(kalix.field).entity_key = true]; }
message MarkedBytes { bytes id = 1 [(kalix.field).entity_key = true]; }

service Entity {
  rpc One(Keys) returns (google.protobuf.Empty);
  rpc Two(Every) returns (Keys);
  rpc Three(Later) returns (Keys);
  rpc Four(Both) returns (Keys);
  rpc Five(Nested) returns (Keys);
  rpc Feed(stream Keys) returns (Keys);
  rpc Watch(Keys) returns (stream Keys);
  rpc Talk(stream Keys) returns (stream Keys);
}
service BadMessage { rpc Go(MarkedMessage) returns (Keys); }
service BadList { rpc Go(MarkedList) returns (Keys); }
service BadBytes { rpc Go(MarkedBytes) returns (Keys); }

service Flow {
  option (kalix.service).eventing.in.event_sourced_entity = "carts";
  option (kalix.service).eventing.in.ignore_unknown = true;
  rpc Inherits(Keys) returns (Keys);
  rpc Own(Later) returns (Keys) {
    option (kalix.method).eventing = { in { topic: "orders" consumer_group: "billing" } out { topic: "bills" } };
  }
  rpc Values(Both) returns (Keys) { option (kalix.method).eventing.in.value_entity = "counters"; }
  rpc Deletions(Both) returns (Keys) {
    option (kalix.method).eventing.in = { value_entity: "counters" handle_deletes: true };
  }
  rpc Ignored(Every) returns (Keys) { option (kalix.method).eventing.in = { ignore: true }; }
  rpc IgnoredOfTopic(Nested) returns (Keys) { option (kalix.method).eventing.in = { topic: "orders" ignore: true }; }
  rpc OnlyOut(Nested) returns (Keys) { option (kalix.method).eventing.out.topic = "out"; }
}
service Plain {
  rpc Quiet(Keys) returns (Keys);
  rpc Reads(Later) returns (Keys) { option (kalix.method).eventing.in.topic = "orders"; }
}
service Sourceless {
  rpc Ignored(Keys) returns (Keys) { option (kalix.method).eventing.in = { ignore: true }; }
}
service Templates {
  rpc In(Keys) returns (Keys) { option (kalix.method).eventing.in.topic = "\${STAGE}-orders-\${REGION}"; }
  rpc Out(Nested) returns (Keys) { option (kalix.method).eventing.out.topic = "bills-\${STAGE}"; }
}
service Unclosed {
  rpc In(Keys) returns (Keys) { option (kalix.method).eventing.in.topic = "orders-\${STAGE"; }
}
service Direct {
  rpc Go(Keys) returns (Keys) { option (kalix.method).eventing.in.direct = { service: "other" event_stream_id: "x" }; }
}
`;

const AKKA = `
syntax = "proto3";
package akka;
import "akkaserverless/annotations.proto";
message Key { string id = 1 [(akkaserverless.field).entity_key = true]; }
message Legacy { string id = 3 [(akkaserverless.legacy_entity_key) = true]; }
service Entity {
  rpc One(Key) returns (Key) { option (akkaserverless.method).eventing.in.topic = "orders"; }
  rpc Two(Legacy) returns (Key);
}
`;

const CLOUDSTATE = `
syntax = "proto2";
package cloud;
import "google/protobuf/descriptor.proto";
message FirstEventing { optional string in = 1; optional string out = 2; }
message Source { optional string consumer_group = 1; optional string topic = 2; optional string event_log = 3; }
message Destination { optional string topic = 1; }
message LastEventing { optional Source in = 1; optional Destination out = 2; }
extend google.protobuf.FieldOptions { optional bool first_key = 50002; optional bool last_key = 1080; }
extend google.protobuf.MethodOptions {
  optional FirstEventing first = 50003;
  optional LastEventing last = 1081;
}
message First { optional string id = 1 [(first_key) = true]; }
message Last { optional string id = 2 [(last_key) = true]; optional string unmarked = 3 [(last_key) = false]; }
service Entity {
  rpc One(First) returns (Last) { option (first) = { in: "orders" out: "bills" }; }
  rpc Discards(First) returns (Last) { option (first) = { in: "orders" out: "discard" }; }
  rpc Two(Last) returns (First) { option (last) = { in { topic: "orders" consumer_group: "g" } out { topic: "bills" } }; }
  rpc Three(Last) returns (First) { option (last).in.event_log = "carts"; }
}
`;

let descriptors: Descriptors;
let akka: Descriptors;
let cloud: Descriptors;
beforeAll(() => {
  descriptors = readDescriptors(compileProtos({ 'app.proto': KALIX }));
  akka = readDescriptors(compileProtos({ 'akka.proto': AKKA }));
  cloud = readDescriptors(compileProtos({ 'cloud.proto': CLOUDSTATE }));
});

function describeService(service: string, variables?: ReadonlyMap<string, string>): Component {
  const [set, options] = service.startsWith('app.')
    ? [descriptors, KALIX_OPTIONS]
    : service.startsWith('akka.')
      ? [akka, KALIX_OPTIONS]
      : [cloud, CLOUDSTATE_OPTIONS];
  const given = { descriptors: set, kind: 'value', service, entityType: 'things', options } as const;
  return describeComponent({ ...given, ...(variables && { variables }) });
}

function keys(component: Component): Record<string, string[]> {
  return Object.fromEntries(
    [...component.methods.values()].map((method) => [
      method.name,
      method.entityKeyFields.map((field) => `${field.number} ${field.name} ${field.scalar}`),
    ]),
  );
}

function eventing(component: Component): Record<string, unknown> {
  return Object.fromEntries([...component.methods.values()].map((method) => [method.name, method.eventing]));
}

describe('describeComponent', () => {
  it('tells kind, service, entity type and passivation as given, and leaves passivation out where there is none', () => {
    const given = { descriptors, kind: 'event-sourced', service: 'app.Plain', entityType: 'carts' } as const;

    const component = describeComponent({ ...given, passivationMs: 5_000, options: KALIX_OPTIONS });

    expect(component).toMatchObject({
      kind: 'event-sourced',
      service: 'app.Plain',
      entityType: 'carts',
      passivationMs: 5_000,
    });
    expect(describeComponent({ ...given, options: KALIX_OPTIONS })).not.toHaveProperty('passivationMs');
  });

  it('tells input, output and streaming of each method, and its component', () => {
    const component = describeService('app.Entity');

    expect(component.methods.get('One')).toMatchObject({
      name: 'One',
      inputType: 'app.Keys',
      outputType: 'google.protobuf.Empty',
    });
    expect(component.methods.get('One')?.component).toBe(component);
    const streams = ['One', 'Feed', 'Watch', 'Talk'].map((name) => {
      const method = component.methods.get(name);
      return [method?.clientStreaming, method?.serverStreaming];
    });
    expect(streams).toEqual([
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ]);
  });

  it('finds the entity key of Kalix in order of declaration, of every scalar that can be one, not in sub-messages', () => {
    expect(keys(describeService('app.Entity'))).toMatchObject({
      One: ['9 late varint', '2 early string'],
      Two: ['1 a bool', '2 b varint', '3 c sint', '4 d fixed32', '5 e sfixed32', '6 f fixed64', '7 g sfixed64'],
      Five: [],
    });
  });

  it("takes the id of later Kalix SDKs, which has a workflow's number, only where no entity key is marked", () => {
    expect(keys(describeService('app.Entity'))).toMatchObject({ Three: ['1 id string'], Four: ['2 entity string'] });
  });

  it('finds the entity key of Akka Serverless, the present and the legacy mark', () => {
    expect(keys(describeService('akka.Entity'))).toEqual({ One: ['1 id string'], Two: ['3 id string'] });
  });

  it("finds the entity key of both of Cloudstate's generations", () => {
    expect(keys(describeService('cloud.Entity'))).toMatchObject({
      One: ['1 id string'],
      Two: ['2 id string'],
    });
  });

  it.each(['app.BadMessage', 'app.BadList', 'app.BadBytes'])(
    'refuses a key mark on a field that cannot be a key (%s), as FUNCTION_SPEC',
    (service) => {
      expect(() => describeService(service)).toThrow(
        expect.objectContaining({ code: 'FUNCTION_SPEC', message: expect.stringContaining('marked as entity key') }),
      );
    },
  );

  it("reads Kalix' eventing: own source and destination, else the service's; what is ignored, of which source", () => {
    const journal = { consumerGroup: '', handleDeletes: false };
    const inherited = {
      from: 'event-sourced',
      entityType: 'carts',
      ...journal,
      ignore: false,
      ignoreUnknown: true,
    };
    const topic = { from: 'topic', topic: 'orders', ignore: false, ignoreUnknown: true };

    expect(eventing(describeService('app.Flow'))).toEqual({
      Inherits: { in: inherited },
      Own: { in: { ...topic, consumerGroup: 'billing' }, outTopic: 'bills' },
      Values: { in: { ...inherited, from: 'value', entityType: 'counters' } },
      Deletions: { in: { ...inherited, from: 'value', entityType: 'counters', handleDeletes: true } },
      Ignored: { in: { ...inherited, ignore: true } },
      IgnoredOfTopic: { in: { ...topic, consumerGroup: '', ignore: true } },
      OnlyOut: { in: inherited, outTopic: 'out' },
    });
    expect(eventing(describeService('app.Plain'))).toEqual({
      Quiet: {},
      Reads: { in: { ...topic, consumerGroup: '', ignoreUnknown: false } },
    });
    expect(eventing(describeService('app.Sourceless'))).toEqual({ Ignored: {} });
  });

  it('reads a direct subscription to another service as what it is', () => {
    expect(eventing(describeService('app.Direct'))).toEqual({
      Go: { in: { from: 'direct', service: 'other', ignore: false, ignoreUnknown: false } },
    });
  });

  it('fills in the variables of topic names', () => {
    const variables = new Map([
      ['STAGE', 'prod'],
      ['REGION', 'eu'],
    ]);

    expect(eventing(describeService('app.Templates', variables))).toMatchObject({
      In: { in: { topic: 'prod-orders-eu' } },
      Out: { outTopic: 'bills-prod' },
    });
  });

  it('refuses a topic whose variable is not set, naming it and the method, and no other variable, as FUNCTION_SPEC', () => {
    const variables = new Map([['STAGE', 'secret']]);

    expect(() => describeService('app.Templates', variables)).toThrow(
      expect.objectContaining({
        code: 'FUNCTION_SPEC',
        message: expect.stringMatching(/^(?!.*secret).*app\.Templates\.In needs the variable REGION/),
      }),
    );
    expect(() => describeService('app.Unclosed', variables)).toThrow(
      expect.objectContaining({ code: 'FUNCTION_SPEC', message: expect.stringContaining('orders-${STAGE') }),
    );
  });

  it("reads Akka Serverless' eventing", () => {
    expect(eventing(describeService('akka.Entity'))).toMatchObject({
      One: { in: { from: 'topic', topic: 'orders', consumerGroup: '', ignore: false, ignoreUnknown: false } },
      Two: {},
    });
  });

  it("reads the eventing of both of Cloudstate's generations, where 'discard' is no destination", () => {
    const source = { from: 'topic', topic: 'orders', consumerGroup: '', ignore: false, ignoreUnknown: false };

    expect(eventing(describeService('cloud.Entity'))).toEqual({
      One: { in: source, outTopic: 'bills' },
      Discards: { in: source },
      Two: { in: { ...source, consumerGroup: 'g' }, outTopic: 'bills' },
      Three: {
        in: {
          from: 'event-sourced',
          entityType: 'carts',
          consumerGroup: '',
          handleDeletes: false,
          ignore: false,
          ignoreUnknown: false,
        },
      },
    });
  });

  it('names the services that are there when the announced one is not', () => {
    expect(() => describeService('app.Absent')).toThrow(
      expect.objectContaining({
        code: 'FUNCTION_SPEC',
        message: expect.stringMatching(/app\.Absent.*: app\.BadBytes, app\.BadList.*app\.Unclosed\./),
      }),
    );
  });
});
