import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { beforeAll, describe, expect, it } from 'vitest';
import { createDecoder, type Decoded, type InputFormat } from '../../src/codec/decode.ts';
import { payloadToJson } from '../../src/codec/json.ts';
import type { Method } from '../../src/model/component.ts';
import { ANY_URLS } from '../../src/protocol/any-urls.ts';
import { describeComponent } from '../../src/protocol/describe-component.ts';
import { type Descriptors, messageType, readDescriptors } from '../../src/protocol/descriptors.ts';
import { KALIX_OPTIONS } from '../../src/protocol/options.ts';
import { compileProtos } from '../support/compile-protos.ts';
import { inputRecord } from '../support/records.ts';

/*
 * What each format makes of input that is wrong, or looks like it: a dead letter with its reason, or a message. The table is
 * the statement; docs/formats.md says the same in words.
 */

const proto = (more: string): string => `
syntax = "proto3";
package stock;
import "google/protobuf/any.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
enum Mood { CALM = 0; EAGER = 1; ${more === '' ? '' : 'ANGRY = 2;'} }
message Item {
  string id = 1;
  int64 number = 2;
  Mood mood = 3;
  Item part = 4;
  repeated int32 sizes = 5;
  double price = 6;
  bytes picture = 7;
  fixed32 code = 8;
  ${more}
}
message Free { google.protobuf.Struct any = 1; int64 number = 2; }
message Nothing {}
service Stock {
  rpc Put(Item) returns (Nothing);
  rpc Note(google.protobuf.StringValue) returns (Nothing);
  rpc Scan(google.protobuf.BytesValue) returns (Nothing);
  rpc Take(google.protobuf.Any) returns (Nothing);
  rpc Fill(Free) returns (Nothing);
}
`;

function stockOf(more = '') {
  const descriptors = readDescriptors(compileProtos({ 'stock.proto': proto(more) }));
  const component = describeComponent({
    descriptors,
    kind: 'action',
    service: 'stock.Stock',
    entityType: 'stock.Stock',
    options: KALIX_OPTIONS,
  });
  return { descriptors, method: (name: string) => component.methods.get(name) as Method };
}

let stock: ReturnType<typeof stockOf>;
let newer: ReturnType<typeof stockOf>;
beforeAll(() => {
  stock = stockOf();
  newer = stockOf('string colour = 9; Mood other = 10; Item spare = 11;');
});

function decode(
  value: Buffer | string,
  {
    methods = ['Put'],
    format = 'auto',
    headers = {},
    by = stock,
  }: {
    readonly methods?: readonly string[];
    readonly format?: InputFormat;
    readonly headers?: Readonly<Record<string, string>>;
    readonly by?: ReturnType<typeof stockOf>;
  } = {},
): Decoded {
  const decoder = createDecoder({
    descriptors: by.descriptors,
    anyUrls: ANY_URLS.kalix,
    subscriptions: [
      {
        topic: 'carts',
        format,
        entityId: 'auto',
        ignoreUnknown: false,
        methods: methods.map((name) => by.method(name)),
      },
    ],
  });
  return decoder.decode(inputRecord({ value: Buffer.isBuffer(value) ? value : Buffer.from(value), headers }));
}

/** The JSON of the command's message, or the reject's code and sentence. */
function outcomeOf(decoded: Decoded, { descriptors }: { descriptors: Descriptors } = stock): string {
  if (decoded.kind === 'reject') return `${decoded.error.code}: ${decoded.error.message}`;
  if (decoded.kind === 'ignore') return 'ignored';
  return payloadToJson(descriptors, decoded.payload);
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const nested = (levels: number): string => `${'{"part":'.repeat(levels)}{}${'}'.repeat(levels)}`;
/** Messages within messages, `levels` deep, each with its length. */
function nestedBytes(levels: number): Buffer {
  let bytes = Buffer.alloc(0);
  for (let i = 0; i < levels; i++) {
    const length =
      bytes.length < 128 ? Buffer.from([bytes.length]) : Buffer.from([(bytes.length & 0x7f) | 0x80, bytes.length >> 7]);
    bytes = Buffer.concat([Buffer.from([0x22]), length, bytes]);
  }
  return bytes;
}

describe('JSON', () => {
  const json = (value: string | Buffer, methods?: readonly string[]) =>
    outcomeOf(decode(value, { format: 'json', ...(methods && { methods }) }));

  it.each<[string, string | Buffer, RegExp]>([
    ['nothing', '', /JSON of a stock\.Item/],
    ['null', 'null', /JSON of a stock\.Item/],
    ['a list', '[]', /JSON of a stock\.Item/],
    ['two values', '{} {}', /after JSON/],
    ['a comma too many', '{"id":"a",}', /JSON/],
    ['comments', '{/* */}', /JSON/],
    ['a byte order mark', '\ufeff{}', /JSON/],
    ['bytes that are no UTF-8', hex('7b22 6964 223a 22ff 227d'), /not valid UTF-8/],
    ['UTF-16', Buffer.from('{"id":"a"}', 'utf16le'), /JSON/],
    ['nesting of 102 levels', nested(102), /recursion depth of 100/],
    ['nesting of 50,000 levels', nested(50_000), /recursion depth of 100/],
    ['a name twice', '{"id":"a","id":"b"}', /duplicate object key "id"/],
    ['half a surrogate pair', '{"id":"\\ud800"}', /invalid UTF8/],
    ['NaN that is no text', '{"price":NaN}', /JSON/],
    ['a number beyond all', '{"price":1e400}', /infinite/],
    ['an integer beyond 64 bits', '{"number":9223372036854775808}', /out of range/],
    ['a fraction for an integer', '{"number":1.5}', /1\.5/],
    ['an integer beyond 32 bits', '{"sizes":[2147483648]}', /out of range/],
    ['a leading zero', '{"number":01234567890123456789}', /JSON/],
    ['base64 that is none', '{"picture":"@"}', /base64/],
    ['a number as text', '{"id":7}', /expected string/],
    ['null in a list', '{"sizes":[null]}', /null/],
  ])('is refused, as a dead letter: %s', (_title, value, sentence) => {
    expect(json(value)).toMatch(/^RECORD_UNDECODABLE/);
    expect(json(value)).toMatch(sentence);
  });

  it.each<[string, string, string]>([
    ['no fields', '{}', '{}'],
    ['unknown fields, whatever they hold', `{"id":"a","other":${'['.repeat(5_000)}${']'.repeat(5_000)}}`, '{"id":"a"}'],
    ['a field named __proto__', '{"__proto__":{"id":"b"},"id":"a"}', '{"id":"a"}'],
    ['an integer beyond 2^53, every digit of it', '{"number":9007199254740993}', '{"number":"9007199254740993"}'],
    ['the least integer of 64 bits', '{"number":-9223372036854775808}', '{"number":"-9223372036854775808"}'],
    ['an integer with an exponent', '{"number":1e3}', '{"number":"1000"}'],
    ['a large number where fractions are', '{"price":12345678901234567890}', '{"price":12345678901234567000}'],
    ['NaN as text', '{"price":"NaN"}', '{"price":"NaN"}'],
    ['an enum value that is not known', '{"mood":"ANGRY","id":"a"}', '{"id":"a"}'],
    ['an enum number that is not known', '{"mood":7}', '{"mood":7}'],
    ['null for a field', '{"id":null,"part":null}', '{}'],
    ['nesting of 90 levels', nested(90), nested(90)],
    ['space around it', ' \n{"id":"a"}\t', '{"id":"a"}'],
  ])('is taken: %s', (_title, value, expected) => {
    expect(json(value)).toBe(expected);
  });

  it('with an integer beyond 2^53 is refused where JSON of any kind may stand, since it cannot be kept there', () => {
    expect(json('{"number":9007199254740993}', ['Fill'])).toMatch(/RECORD_UNDECODABLE.*9007199254740993.*in quotes/);
    // What rounds to itself is kept, and what is too large for 64 bits can only be for a double.
    expect(json('{"any":{"a":9007199254740994,"b":599519112026816200000}}', ['Fill'])).toBe(
      '{"any":{"a":9007199254740994,"b":599519112026816200000}}',
    );
    for (const beyond of ['9'.repeat(500_000), '1e400']) {
      expect(json(`{"any":{"a":${beyond}}}`, ['Fill'])).toMatch(/^RECORD_UNDECODABLE/);
    }
    expect(json('{"number":"9007199254740993","any":{"a":[1]}}', ['Fill'])).toBe(
      '{"any":{"a":[1]},"number":"9007199254740993"}',
    );
  });

  it('for a method that takes Any is text that is kept as it stands, if it is JSON at all', () => {
    const text = '{"a":1,"a":9007199254740993,"s":"\\ud800"}';
    expect(json(text, ['Take'])).toBe(text);
    expect(json('{', ['Take'])).toMatch(/^RECORD_UNDECODABLE/);
  });
});

describe('protobuf', () => {
  const protobuf = (bytes: Buffer) => outcomeOf(decode(bytes, { format: 'protobuf' }));

  it.each<[string, Buffer, RegExp]>([
    ['a field that is cut off', hex('0a05 6162'), /longer than what is left/],
    ['a tag that is cut off', hex('0a01 61 80'), /end inside the varint/],
    ['a number that is cut off', hex('10 ff'), /end inside the varint/],
    ['a wrong wire type', hex('08 01'), /wire type 0, where 2 is right/],
    ['a wrong wire type of a list', hex('2d 01020304'), /wire type 5, where 0 is right/],
    ['field number 0', hex('00 01'), /schema registry/],
    ['a wire type that does not exist', hex('0f'), /wire type 7|where 2 is right/],
    ['a varint of more than 64 bits', hex('10 ffffffffffffffffff7f'), /more than 64 bits/],
    ['a varint of eleven bytes', hex('10 8080808080808080808001'), /longer than 10 bytes/],
    ['a group without an end', hex('63 0801'), /has no end/],
    ['an end without a group', hex('64'), /ends nothing/],
    ['a group that another one ends', hex('63 6c'), /ends nothing/],
    ['nesting of 101 levels', nestedBytes(102), /nest deeper than 100/],
    ['groups of 10,000 levels', Buffer.alloc(10_000, 0x63), /nest deeper than 100/],
    ['a length beyond all', hex('0a ffffffff0f'), /longer than what is left/],
    ['text that is no UTF-8', hex('0a01 ff'), /not valid UTF-8/],
    ['a packed list with a rest', hex('2a02 0180'), /end inside the varint/],
    ['JSON', Buffer.from('{"id":"a"}'), /not a stock\.Item/],
  ])('is refused, as a dead letter: %s', (_title, bytes, sentence) => {
    expect(protobuf(bytes)).toMatch(/^RECORD_UNDECODABLE/);
    expect(protobuf(bytes)).toMatch(sentence);
  });

  it.each<[string, Buffer, string]>([
    ['nothing, which is a message of defaults', Buffer.alloc(0), '{}'],
    ['a field twice, of which the last counts', hex('0a01 61 0a01 62'), '{"id":"b"}'],
    [
      'an unknown field of each wire type',
      hex('0a01 61 7801 7900000000000000 00 7a01 61 7b7c 7d00000000'),
      '{"id":"a"}',
    ],
    ['a list that is packed, and one that is not', hex('2a02 0102 2803'), '{"sizes":[1,2,3]}'],
    ['an enum number that is not known', hex('18 63'), '{"mood":99}'],
    ['a varint that is longer than it needs', hex('10 8100'), '{"number":"1"}'],
  ])('is taken: %s', (_title, bytes, expected) => {
    expect(protobuf(bytes)).toBe(expected);
  });
});

describe('CloudEvents', () => {
  const ATTRIBUTES = { ce_specversion: '1.0', ce_id: '1', ce_source: '/a', ce_type: 'stock.Item' };
  const EVENT = { specversion: '1.0', id: '1', source: '/a', type: 'stock.Item' };
  const STRUCTURED = { 'content-type': 'application/cloudevents+json' };

  it.each<[string, Record<string, string>, RegExp]>([
    ['no attributes', {}, /no header ce_specversion, ce_id, ce_source, ce_type/],
    ['no id', { ...ATTRIBUTES, ce_id: '' }, /no header ce_id/],
    ['another specversion', { ...ATTRIBUTES, ce_specversion: '0.3' }, /specversion "0\.3", and 1\.0/],
  ])('in binary mode are refused where the subscription asks for them: %s', (_title, headers, sentence) => {
    expect(outcomeOf(decode('', { headers, format: 'cloudevents' }))).toMatch(sentence);
    // Who has not asked for them has them taken as they are.
    expect(outcomeOf(decode('', { headers }))).toBe('{}');
  });

  it.each<[string, object | string, RegExp]>([
    ['an attribute that is missing', { ...EVENT, source: undefined }, /has no source/],
    ['another specversion', { ...EVENT, specversion: '2.0' }, /specversion is "2\.0"/],
    ['data twice', { ...EVENT, data: {}, data_base64: '' }, /both data and data_base64/],
    ['base64 that is none', { ...EVENT, data_base64: 'a' }, /not base64/],
    ['data that is none of the type', { ...EVENT, data: { number: 'x' } }, /JSON of a stock\.Item/],
    [
      'protobuf that is none of the type',
      { ...EVENT, datacontenttype: 'application/protobuf', data_base64: 'Cg==' },
      /not a stock\.Item/,
    ],
    ['a type that no method takes', { ...EVENT, type: 'stock.Free', data: {} }, /RECORD_UNKNOWN_TYPE/],
    ['a batch', '[]', /one event/],
  ])('in structured mode are refused: %s', (_title, event, sentence) => {
    const value = typeof event === 'string' ? event : JSON.stringify(event);
    for (const format of ['auto', 'cloudevents'] as const) {
      expect(outcomeOf(decode(value, { headers: STRUCTURED, format }))).toMatch(sentence);
    }
  });

  it.each<[string, object, string]>([
    ['JSON', { ...EVENT, data: { id: 'a', number: 5 } }, '{"id":"a","number":"5"}'],
    ['bytes', { ...EVENT, datacontenttype: 'application/protobuf', data_base64: 'CgFh' }, '{"id":"a"}'],
    [
      'JSON in base64',
      { ...EVENT, datacontenttype: 'application/json', data_base64: 'eyJpZCI6ImEifQ==' },
      '{"id":"a"}',
    ],
    ['no data', EVENT, '{}'],
  ])('in structured mode are taken: %s', (_title, event, expected) => {
    expect(outcomeOf(decode(JSON.stringify(event), { headers: STRUCTURED, format: 'cloudevents' }))).toBe(expected);
  });
});

describe('text and bytes', () => {
  it.each<[string, InputFormat, Record<string, string>, readonly string[], string]>([
    ['text, by the content type', 'auto', { 'content-type': 'text/plain' }, ['Note'], 'Note "hé"'],
    ['text, by the subscription', 'text', { 'content-type': 'application/json' }, ['Note'], 'Note "hé"'],
    [
      'text among others, without a type',
      'auto',
      { 'content-type': 'text/plain' },
      ['Put', 'Note', 'Scan', 'Take'],
      'Note "hé"',
    ],
    [
      'text as it is published',
      'auto',
      { 'content-type': 'text/plain', ce_type: 'string' },
      ['Note', 'Take'],
      'Note "hé"',
    ],
    [
      'text of a type of its own',
      'auto',
      { 'content-type': 'text/plain', ce_type: 'note' },
      ['Note', 'Take'],
      'Take "hé"',
    ],
    ['bytes, by the content type', 'auto', { 'content-type': 'application/octet-stream' }, ['Scan'], 'Scan "aMOp"'],
    ['bytes, by the subscription', 'bytes', {}, ['Scan'], 'Scan "aMOp"'],
    [
      'bytes as they are published',
      'auto',
      { 'content-type': 'application/octet-stream', ce_type: 'bytes' },
      ['Put', 'Scan'],
      'Scan "aMOp"',
    ],
    ['text for Any', 'text', {}, ['Take'], 'Take "hé"'],
    ['bytes for Any', 'bytes', {}, ['Take'], 'Take "aMOp"'],
  ])('reach the method that takes them: %s', (_title, format, headers, methods, expected) => {
    const decoded = decode('hé', { format, headers, methods });
    expect(`${decoded.kind === 'command' && decoded.method.name} ${outcomeOf(decoded)}`).toBe(expected);
  });

  it('are refused where text is no UTF-8, or where the method takes something else', () => {
    expect(outcomeOf(decode(hex('ff'), { format: 'text', methods: ['Note'] }))).toMatch(
      /RECORD_UNDECODABLE.*not valid UTF-8/,
    );
    expect(outcomeOf(decode('x', { headers: { 'content-type': 'text/plain' } }))).toMatch(
      /RECORD_UNDECODABLE.*text\/plain/,
    );
  });

  it('may be empty', () => {
    expect(outcomeOf(decode('', { format: 'text', methods: ['Note'] }))).toBe('""');
    expect(outcomeOf(decode('', { format: 'bytes', methods: ['Scan'] }))).toBe('""');
  });
});

describe('writers of two versions side by side', () => {
  const NEW = { id: 'a', mood: 2, colour: 'red', other: 1, spare: { id: 'b', colour: 'blue' } };
  const newBytes = () => {
    const type = messageType(newer.descriptors, 'stock.Item');
    return Buffer.from(toBinary(type, create(type, NEW as never)));
  };

  it('the old reader takes the new writer’s protobuf, and hands every byte on', () => {
    const bytes = newBytes();
    const decoded = decode(bytes);

    expect(outcomeOf(decoded)).toBe('{"id":"a","mood":2}');
    expect(decoded.kind === 'command' && decoded.payload.value).toEqual(bytes);
    const type = messageType(newer.descriptors, 'stock.Item');
    expect(fromBinary(type, bytes)).toMatchObject(NEW);
  });

  it('the old reader takes the new writer’s JSON, without what it does not know', () => {
    const json = '{"id":"a","mood":"ANGRY","colour":"red","other":"EAGER","spare":{"id":"b"}}';

    expect(outcomeOf(decode(json, { format: 'json' }))).toBe('{"id":"a"}');
    expect(outcomeOf(decode(json, { format: 'json', by: newer }), newer)).toBe(json);
  });

  it('the new reader takes the old writer’s, with defaults for what is new', () => {
    for (const [value, format] of [
      [hex('0a01 61 1801'), 'protobuf'],
      ['{"id":"a","mood":"EAGER"}', 'json'],
    ] as const) {
      const decoded = decode(value, { format, by: newer });
      expect(outcomeOf(decoded, newer)).toBe('{"id":"a","mood":"EAGER"}');
    }
  });
});
