import { type DescMessage, fromBinary, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import type pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { wrapJson, wrapString } from '../../src/codec/any.ts';
import { payloadToJson } from '../../src/codec/json.ts';
import { encodeReplicatedDelta } from '../../src/codec/replicated-record.ts';
import { noteFunctionVersion } from '../../src/journal/function-versions.ts';
import { messageTypeRow } from '../../src/journal/message-types.ts';
import type { FunctionSpec } from '../../src/model/component.ts';
import type { Payload } from '../../src/model/payload.ts';
import { ANY_URLS } from '../../src/protocol/any-urls.ts';
import { type Descriptors, descriptorSetOf, messageType, readDescriptors } from '../../src/protocol/descriptors.ts';
import { compileProtos } from '../support/compile-protos.ts';
import { createJournal } from '../support/journal.ts';
import { createRandom } from '../support/random.ts';
import { randomMessage } from '../support/random-message.ts';
import { fileScope } from '../support/scope.ts';

const WELL_KNOWN = ['any', 'duration', 'empty', 'field_mask', 'struct', 'timestamp', 'wrappers'].map(
  (name) => `import "google/protobuf/${name}.proto";`,
);
const ZOO = `
syntax = "proto3";
package zoo;
${WELL_KNOWN.join('\n')}
import "stateferry/internal.proto";
import "zoo/old.proto";

enum Mood { CALM = 0; EAGER = 1; SOUR = -2; }
enum Twice { option allow_alias = true; NONE = 0; FIRST = 1; ALSO_FIRST = 1; }

message Numbers {
  double a = 1; float b = 2; int32 c = 3; int64 d = 4; uint32 e = 5; uint64 f = 6; sint32 g = 7; sint64 h = 8;
  fixed32 i = 9; fixed64 j = 10; sfixed32 k = 11; sfixed64 l = 12; bool m = 13; string n = 14; bytes o = 15;
  Mood p = 16; Twice q = 17;
}
message Present {
  optional double a = 1; optional float b = 2; optional int32 c = 3; optional sint64 d = 4; optional bool e = 5;
  optional string f = 6; optional bytes g = 7; optional Mood h = 8; optional fixed64 i = 300;
}
message Lists {
  repeated double a = 1; repeated float b = 2; repeated int32 c = 3; repeated uint64 d = 4; repeated sint32 e = 5;
  repeated fixed32 f = 6; repeated sfixed64 g = 7; repeated bool h = 8; repeated string i = 9; repeated bytes j = 10;
  repeated Mood k = 11; repeated Numbers l = 12; repeated int64 loose = 13 [packed = false];
  repeated Mood loose_moods = 14 [packed = false];
}
message Maps {
  map<string, string> a = 1; map<int32, bytes> b = 2; map<int64, double> c = 3; map<bool, Mood> d = 4;
  map<uint64, Numbers> e = 5; map<sint32, google.protobuf.Timestamp> f = 6; map<fixed32, sint64> g = 7;
  map<string, google.protobuf.Value> h = 8; map<string, Maps> i = 9;
}
message Choice {
  oneof it { string text = 1; int64 number = 2; Numbers numbers = 3; Mood mood = 4; google.protobuf.Empty nothing = 5; }
  oneof other { bool yes = 6; bytes data = 7; }
  string named_otherwise = 8 [json_name = "itsOwnName"];
}
message Known {
  google.protobuf.Timestamp a = 1; google.protobuf.Duration b = 2; google.protobuf.Any c = 3; google.protobuf.Empty d = 4;
  google.protobuf.Struct e = 5; google.protobuf.Value f = 6; google.protobuf.ListValue g = 7; google.protobuf.FieldMask h = 8;
  google.protobuf.DoubleValue i = 9; google.protobuf.FloatValue j = 10; google.protobuf.Int64Value k = 11;
  google.protobuf.UInt64Value l = 12; google.protobuf.Int32Value m = 13; google.protobuf.UInt32Value n = 14;
  google.protobuf.BoolValue o = 15; google.protobuf.StringValue p = 16; google.protobuf.BytesValue q = 17;
  google.protobuf.NullValue r = 18; repeated google.protobuf.Any s = 19; repeated google.protobuf.Value t = 20;
}
message All {
  Numbers numbers = 1; Present present = 2; Lists lists = 3; Maps maps = 4; Choice choice = 5; Known known = 6; All all = 7;
  Inner inner = 8; old.Strict old = 9;
  message Inner { message Innermost { string x = 1; } Innermost innermost = 1; }
}
`;
const OLD = `
syntax = "proto2";
package old;
message Strict {
  optional string free = 1 [default = "x"];
  optional group Whole = 2 { optional int32 n = 1; optional group Part = 2 { repeated string s = 1; } }
  repeated group Many = 3 { optional int32 n = 1; }
  repeated int32 loose = 4;
  optional bool yes = 5 [default = true];
}
`;

const t = fileScope();
let pool: pg.Pool;
const zoo = readDescriptors(compileProtos({ 'zoo/zoo.proto': ZOO, 'zoo/old.proto': OLD }));
const typesOf = (descriptors: Descriptors, prefix: string): DescMessage[] =>
  [...descriptors.registry]
    .filter((type) => type.kind === 'message')
    .filter((type) => type.typeName.startsWith(prefix));
const ALL = typesOf(zoo, 'zoo.');

function note(digest: string, descriptors: Descriptors): Promise<void> {
  const spec: FunctionSpec = {
    dialect: 'kalix',
    protocolVersion: '1.0',
    serviceName: 's',
    supportLibrary: 'x',
    components: new Map(),
    digest,
  };
  return noteFunctionVersion(pool, spec, descriptorSetOf(descriptors), descriptors.registry);
}

/** What SQL makes of payloads, with a connection that knows nothing of the journal's schema. */
async function inSql(payloads: readonly Payload[], digest: string | null = null): Promise<JsonValue[]> {
  const { rows } = await pool.query<{ json: JsonValue }>(
    `select journal.decode_payload(p.url, p.bytes, $3) as json
     from unnest($1::text[], $2::bytea[]) with ordinality as p(url, bytes, n) order by n`,
    [payloads.map(({ typeUrl }) => typeUrl), payloads.map(({ value }) => Buffer.from(value)), digest],
  );
  return rows.map(({ json }) => json);
}

const ofType = (type: DescMessage, value: Uint8Array): Payload => ({
  typeUrl: `type.googleapis.com/${type.typeName}`,
  value,
});
/** As JSON has it: no minus zero. */
const plain = (json: unknown): JsonValue => JSON.parse(JSON.stringify(json));
const inLibrary = ({ typeUrl, value }: Payload): JsonValue => {
  const type = messageType(zoo, typeUrl.slice(typeUrl.indexOf('/') + 1));
  return plain(toJson(type, fromBinary(type, value), { registry: zoo.registry }));
};

beforeAll(async () => {
  pool = await createJournal(t);
  await note('zoo-1', zoo);
});

describe('decode_payload', () => {
  it('gives the JSON that the library gives, of any message', async () => {
    const random = createRandom(7);
    const types = [
      ...ALL,
      ...typesOf(zoo, 'old.'),
      ...typesOf(zoo, 'google.protobuf.').filter(({ typeName }) => !/Proto|Options|Info|Set|Range/.test(typeName)),
    ];
    const payloads = Array.from({ length: 1_500 }, () => {
      const type = random.pick(types);
      return ofType(type, toBinary(type, randomMessage(random, type, ALL)));
    });
    expect(payloads.reduce((sum, { value }) => sum + value.length, 0)).toBeGreaterThan(100_000);
    const made = await inSql(payloads);
    for (const [i, payload] of payloads.entries())
      expect([payload.typeUrl, made[i]]).toEqual([payload.typeUrl, inLibrary(payload)]);
  });

  it('gives it of messages in two parts: fields merge, lists go on, of a oneof the last counts; null where it refuses', async () => {
    const random = createRandom(8);
    const payloads = Array.from({ length: 400 }, () => {
      const type = random.pick(ALL);
      const part = () => toBinary(type, randomMessage(random, type, ALL, 2));
      return ofType(type, Buffer.concat([part(), part()]));
    });
    const made = await inSql(payloads);
    const expected = payloads.map((payload) => {
      try {
        return inLibrary(payload);
      } catch {
        return null;
      }
    });
    expect(expected.filter((json) => json === null).length).toBeLessThan(40);
    for (const [i, { typeUrl }] of payloads.entries()) expect([typeUrl, made[i]]).toEqual([typeUrl, expected[i]]);
  });

  it('is null for bytes that are damaged, or raises nothing', async () => {
    const random = createRandom(9);
    const payloads = Array.from({ length: 1_000 }, () => {
      const type = random.pick(ALL);
      const bytes = Buffer.from(toBinary(type, randomMessage(random, type, ALL)));
      if (bytes.length > 0) bytes[random.int(bytes.length)] = random.int(256);
      return ofType(type, bytes.subarray(0, random.int(2) === 0 ? undefined : random.int(bytes.length + 1)));
    });
    const made = await inSql(payloads);
    expect(made.filter((json) => json === null).length).toBeGreaterThan(200);
    const bad = ['0aff', '0a05', '08ffffffffffffffffffffff01', '00', '0c', '0b0c13', '0f', '72028080', '0a'];
    expect(await inSql(bad.map((hex) => ofType(ALL[0] as DescMessage, Buffer.from(hex, 'hex'))))).toEqual(
      bad.map(() => null),
    );
  });

  it('reads messages that nest as deep as the libraries take them, and no deeper', async () => {
    const all = ALL.find(({ typeName }) => typeName === 'zoo.All') as DescMessage;
    const nested = (depth: number): Payload => {
      let bytes = Buffer.alloc(0);
      for (let n = 0; n < depth; n++) {
        const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7];
        bytes = Buffer.concat([Buffer.from([0x3a, ...length]), bytes]);
      }
      return ofType(all, bytes);
    };
    const [deep, deeper] = await inSql([nested(99), nested(101)]);
    expect(deep).toEqual(inLibrary(nested(99)));
    expect(deeper).toBeNull();
  });

  it('is null for what jsonb cannot hold, for types that nobody has noted, and for nothing', async () => {
    const [numbers] = ALL as [DescMessage];
    const zero = Buffer.from('7202' + '6100', 'hex');
    expect(
      await inSql([
        ofType(numbers, zero),
        { typeUrl: 'type.googleapis.com/no.Such', value: Buffer.alloc(0) },
        { typeUrl: 'p.cloudstate.io/uint9', value: Buffer.alloc(0) },
        { typeUrl: 'json.kalix.io/x', value: Buffer.from('0a017b', 'hex') },
        { typeUrl: '', value: Buffer.alloc(0) },
      ]),
    ).toEqual([null, null, null, null, null]);
    const { rows } = await pool.query("select decode_payload(null, '') as a, decode_payload('x', null) as b");
    expect(rows).toEqual([{ a: null, b: null }]);
  });

  it('reads JSON and primitives of every dialect as the runtime does', async () => {
    const urls = Object.values(ANY_URLS);
    const primitives = {
      string: ['', '0a0161', '0a02c3a9'],
      bytes: ['', '0a0201ff'],
      bool: ['', '0801'],
      int32: ['', '08ffffffffffffffffff01'],
      int64: ['', '08ffffffffffffffffff01', '08ffffffffffffffff7f'],
      float: ['', '0dcdcccc3d', '0d0000c07f'],
      double: ['', '09182d4454fb210940', '09000000000000f0ff'],
    };
    const payloads = urls.flatMap(({ json, primitive }) => [
      ...Object.entries(primitives).flatMap(([type, values]) =>
        values.map((hex) => ({ typeUrl: primitive + type, value: Buffer.from(hex, 'hex') })),
      ),
      wrapJson({ json, primitive }, 'shop.Item', Buffer.from('{"a":[1,"é"]}')),
      { typeUrl: `${json}object`, value: Buffer.from('0a046e756c6c', 'hex') },
    ]);
    // bigint as a number is rounded by JSON.parse, on both sides.
    expect(await inSql(payloads)).toEqual(payloads.map((payload) => plain(JSON.parse(payloadToJson(zoo, payload)))));
  });

  it('shows an Any of another kind beside its url', async () => {
    const known = ALL.find(({ typeName }) => typeName === 'zoo.Known') as DescMessage;
    const any = (url: string, hex: string): Payload => {
      const value = Buffer.from(hex, 'hex');
      const inner = Buffer.concat([
        Buffer.from([0x0a, url.length]),
        Buffer.from(url),
        Buffer.from([0x12, value.length]),
        value,
      ]);
      return ofType(known, Buffer.concat([Buffer.from([0x1a, inner.length]), inner]));
    };
    const urls = ['json.kalix.io/x', 'type.kalix.io/string', 'type.googleapis.com/no.Such'] as const;
    expect(await inSql([any(urls[0], '0a077b2261223a317d'), any(urls[1], '0a0161'), any(urls[2], '0801')])).toEqual([
      { c: { '@type': urls[0], value: { a: 1 } } },
      { c: { '@type': urls[1], value: 'a' } },
      { c: { '@type': urls[2], value: 'CAE=' } },
    ]);
  });

  it('reads the events of replicated entities, and their values as what they are', async () => {
    const text = (value: string): Payload => wrapString(ANY_URLS.kalix, Buffer.from(value));
    const unknown = { typeUrl: 'type.googleapis.com/no.Such', value: Buffer.from([8, 1]) };
    const deltas = [
      encodeReplicatedDelta({ kind: 'counter', change: -5 }),
      encodeReplicatedDelta({ kind: 'set', cleared: true, removed: [text('a')], added: [text('b'), unknown] }),
      encodeReplicatedDelta({ kind: 'register', value: text('v'), clock: 'custom', clockValue: 7 }),
      encodeReplicatedDelta({
        kind: 'counter-map',
        cleared: false,
        removed: [],
        updated: [{ key: text('k'), delta: { kind: 'counter', change: 2 } }],
        added: [],
      }),
      encodeReplicatedDelta({ kind: 'flag', isOn: true }),
    ];
    expect(await inSql(deltas)).toEqual([
      { counter: { change: '-5' } },
      { set: { cleared: true, removed: ['a'], added: ['b', { typeUrl: unknown.typeUrl, value: 'CAE=' }] } },
      { register: { value: 'v', clock: 'REGISTER_CLOCK_CUSTOM', clockValue: '7' } },
      { counterMap: { updated: [{ key: 'k', delta: { counter: { change: '2' } } }] } },
      { flag: true },
    ]);
  });
});

describe('message types', () => {
  const version = (text: string) =>
    readDescriptors(compileProtos({ 'v.proto': `syntax = "proto3"; package v; message Thing { ${text} }` }));
  const thing = (hex: string): Payload => ({ typeUrl: 'type.googleapis.com/v.Thing', value: Buffer.from(hex, 'hex') });

  it('are those of the version that wrote a payload; of one that is not known, the newest', async () => {
    await note('v-1', version('string old_name = 1;'));
    await note('v-2', version('string new_name = 1; int32 more = 2;'));
    const payload = thing('0a01611005');
    expect(await inSql([payload], 'v-1')).toEqual([{ oldName: 'a' }]);
    expect(await inSql([payload], 'v-2')).toEqual([{ newName: 'a', more: 5 }]);
    expect(await inSql([payload], 'never-seen')).toEqual([{ newName: 'a', more: 5 }]);
    expect(await inSql([payload])).toEqual([{ newName: 'a', more: 5 }]);
  });

  it('are noted once by many processes at once, and later for a version that was noted without them', async () => {
    const descriptors = version('string a = 1;');
    await Promise.all(Array.from({ length: 4 }, () => note('at-once', descriptors)));
    const count = async () =>
      (await pool.query<{ n: number }>("select count(*) as n from message_type where function = 'at-once'")).rows[0]?.n;
    expect(await count()).toBe(1);
    await pool.query("delete from message_type where function = 'at-once'");
    await note('at-once', descriptors);
    expect(await count()).toBe(1);
  });

  it("of Stateferry's and protobuf's own are in the journal as their .proto files say", async () => {
    const { rows } = await pool.query<{ name: string; fields: object }>(
      "select name, fields from message_type where function = '' order by name",
    );
    expect(rows).toEqual(rows.map(({ name }) => plain(messageTypeRow(messageType(zoo, name)))));
    const own = typesOf(zoo, 'stateferry.internal.').map(({ typeName }) => typeName);
    const walked = ['Outbox', 'OutboxRecord', 'OutboxHeader', 'Inputs'].map((name) => `stateferry.internal.${name}`);
    const named = rows.map(({ name }) => name);
    expect(own.filter((name) => !named.includes(name)).sort()).toEqual(walked.sort());
  });
});
