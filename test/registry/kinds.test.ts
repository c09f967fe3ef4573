import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it, vi } from 'vitest';
import { derive, planReading, planWriting } from '../../src/registry/kinds.ts';
import { createTopicReader } from '../../src/registry/reading.ts';
import { type LoadedSchema, misfitLine, type SchemaType } from '../../src/registry/schema.ts';
import { createRandom } from '../support/random.ts';
import { randomMessage } from '../support/random-message.ts';
import { schemaOf, shopType } from './messages.ts';

const textOf = (text: string): Buffer => Buffer.concat([Buffer.from('0000000007', 'hex'), Buffer.from(text)]);

describe.each<SchemaType>(['JSON', 'PROTOBUF'])('%s', (kind) => {
  it('goes there and back by the schema that is made of the descriptor, whatever is in a message', () => {
    const type = shopType('Everything');
    const schema = schemaOf(kind, derive(kind, [type]));
    const writing = planWriting(schema, [type]);
    const reading = planReading(schema, [type], type);
    expect([writing.misfits, reading.misfits]).toEqual([[], []]);
    const random = createRandom(7);
    let written = 0;
    for (let n = 0; n < 300; n++) {
      const bytes = toBinary(type, randomMessage(random, type, [type]));
      let framed: Uint8Array | undefined;
      try {
        framed = writing.ways.get(type.typeName)?.(bytes);
      } catch (error) {
        // An enum value without a name is a number in JSON, which the schema does not take.
        expect(String(error)).toMatch(/must be string/);
        continue;
      }
      written++;
      const { value = new Uint8Array() } = reading.read(Buffer.from(framed ?? []));
      expect(fromBinary(type, Uint8Array.from(value))).toEqual(fromBinary(type, bytes));
    }
    expect(written).toBeGreaterThan(40);
  });

  it('tells several types of one topic apart', () => {
    const types = [shopType('Added'), shopType('Removed')];
    const schema = schemaOf(kind, derive(kind, types));
    const writing = planWriting(schema, types);
    const reading = planReading(schema, types, undefined);
    expect([writing.misfits, reading.misfits]).toEqual([[], []]);
    const bytes = { Added: Buffer.from('0a020a00', 'hex'), Removed: Buffer.from('0a016e', 'hex') };
    for (const [name, value] of Object.entries(bytes)) {
      const framed = Buffer.from(writing.ways.get(`shop.${name}`)?.(value) ?? []);
      const read = reading.read(framed);
      expect([read.typeName, Buffer.from(read.value ?? []).toString('hex')]).toEqual([
        `shop.${name}`,
        name === 'Added' && kind === 'JSON' ? '0a00' : value.toString('hex'),
      ]);
    }
  });
});

describe('JSON Schema', () => {
  const type = shopType('Priced');
  const schema = schemaOf('JSON', {
    type: 'object',
    properties: {
      id: { type: 'string' },
      total_cents: { type: 'integer' },
      kind: { enum: ['BIG', 'SMALL'] },
      at: { type: 'string', format: 'date-time' },
      number: { type: 'integer' },
    },
    required: ['id'],
  });

  it('has integers of 64 bits as numbers, exactly, and the schema’s spellings', () => {
    const reading = planReading(schema, [type], type);
    const writing = planWriting(schema, [type]);
    expect([reading.misfits, writing.misfits]).toEqual([[], []]);
    const text = '{"id":"a","total_cents":9223372036854775807,"kind":"BIG","number":-9007199254740993}';
    const { value = new Uint8Array() } = reading.read(textOf(text));
    expect(fromBinary(type, value)).toMatchObject({
      id: 'a',
      totalCents: 2n ** 63n - 1n,
      kind: 1,
      what: { case: 'number', value: -(2n ** 53n) - 1n },
    });
    const back = Buffer.from(writing.ways.get(type.typeName)?.(value) ?? [])
      .subarray(5)
      .toString();
    expect(back).toContain('"total_cents":9223372036854775807');
    expect(back).toContain('"kind":"BIG"');
  });

  it('tells at once what does not fit', () => {
    const other = schemaOf('JSON', {
      type: 'object',
      properties: { id: { type: 'integer' }, kind: { enum: ['HUGE'] }, item: { $ref: '#/definitions/item' } },
      definitions: { item: { type: 'object', properties: { count: { type: 'string' } } } },
    });
    expect(planReading(other, [type], type).misfits.map(({ path }) => path)).toEqual(['id', 'kind', 'item.count']);
  });

  it.each([
    ['{"id":"a"', 'not what schema 7 says'],
    ['{"id":1}', '/id must be string'],
    ['{}', "must have required property 'id'"],
    ['{"id":"a","kind":"HUGE"}', '/kind must be equal to one of the allowed values'],
    ['{"id":"a","at":"yesterday"}', 'cannot decode'],
    ['', 'not what schema 7 says'],
  ])('%s is refused', (text, reason) => {
    const reader = createTopicReader({ topic: 'in', types: [type], only: type });
    reader.learn(7, schema);
    expect(() => reader.read(textOf(text))).toThrow(reason);
    expect(() => reader.read(Buffer.from('0000000007bff7d'.padEnd(16, '0'), 'hex'))).toThrow();
  });
});

describe('Protobuf', () => {
  const nested =
    'syntax = "proto3"; package shop; message First { int32 n = 1; } message Outer { message Inner { string text = 1; message Core { int32 n = 1; } } Inner inner = 1; }';

  it('has the place of the message in its schema before it', () => {
    const types = [shopType('Outer'), shopType('Outer.Inner'), shopType('Outer.Inner.Core')];
    const schema = schemaOf('PROTOBUF', nested);
    const { misfits, ways } = planWriting(schema, types);
    expect(misfits).toEqual([]);
    const hex = types.map(({ typeName }) => Buffer.from(ways.get(typeName)?.(Buffer.of()) ?? []).toString('hex'));
    // Counts and indexes as zigzag varints.
    expect(hex).toEqual(['00000000070202', '0000000007040200', '000000000706020000']);
    const reading = planReading(schema, types, undefined);
    expect(reading.misfits).toEqual([]);
    expect(hex.map((bytes) => reading.read(Buffer.from(bytes, 'hex')).typeName)).toEqual(
      types.map(({ typeName }) => typeName),
    );
    expect(reading.read(Buffer.from('000000000700', 'hex'))).toEqual({ typeName: 'shop.First', value: undefined });
  });

  it('is compared by field numbers', () => {
    const schema = schemaOf(
      'PROTOBUF',
      'syntax = "proto3"; package shop; message Item { int64 name = 1; int32 amount = 2; string more = 3; }',
    );
    const item = shopType('Item');
    expect(planReading(schema, [item], item).misfits).toEqual([
      { path: 'name', found: 'int64 with the number 1', expected: 'string' },
    ]);
    const smaller = schemaOf('PROTOBUF', 'syntax = "proto3"; package shop; message Item { string name = 1; }');
    expect(planReading(smaller, [item], item).misfits).toEqual([]);
    expect(planWriting(smaller, [item]).misfits).toEqual([
      { path: 'count', found: 'no field 2 of shop.Item', expected: 'one for int32' },
    ]);
  });

  it('reads what a schema imports', () => {
    const schema = schemaOf(
      'PROTOBUF',
      'syntax = "proto3"; package shop; import "item.proto"; import "google/protobuf/timestamp.proto"; message Added { .shop.Item item = 1; int64 at_ms = 2; google.protobuf.Timestamp at = 3; }',
      [
        {
          name: 'item.proto',
          text: 'syntax = "proto3"; package shop; message Item { string name = 1; int32 count = 2; }',
        },
      ],
    );
    const added = shopType('Added');
    const reading = planReading(schema, [added], added);
    expect(reading.misfits).toEqual([]);
    expect(reading.read(Buffer.from('0000000007000a020a00', 'hex')).typeName).toBe('shop.Added');
  });

  it.each([
    ['no indexes', '0000000007', 'they end too early'],
    ['an index that is cut off', '000000000780', 'they end too early'],
    ['more indexes than there can be', '0000000007ffff03', 'there are to be -'],
    ['indexes of no message', '0000000007020e', 'with the indexes 7'],
    ['a message that is cut off', '000000000702020a05', 'longer than what is left'],
  ])('%s', (_, hex, reason) => {
    const outer = shopType('Outer');
    const reader = createTopicReader({ topic: 'in', types: [outer], only: outer });
    reader.learn(7, schemaOf('PROTOBUF', nested));
    expect(() => reader.read(Buffer.from(hex, 'hex'))).toThrow(reason);
  });
});

it('a closed JSON Schema without a place for a field can be read, and not written', () => {
  const closed = { title: 'shop.Item', type: 'object', properties: { name: { type: 'string' } } };
  const item = shopType('Item');
  const misfitsOf = (schema: object) => planWriting(schemaOf('JSON', schema), [item]).misfits.map(({ path }) => path);
  expect(misfitsOf({ ...closed, additionalProperties: false })).toEqual(['count']);
  expect(misfitsOf(closed)).toEqual([]);
  expect(planReading(schemaOf('JSON', { ...closed, additionalProperties: false }), [item], item).misfits).toEqual([]);
});

describe('schemas that refer to others', () => {
  const added = shopType('Added');
  const removed = shopType('Removed');
  const bytes = Buffer.from(
    toBinary(added, create(added, { item: { name: 'a', count: 2 }, atMs: 2n ** 60n } as never)),
  );
  const there = (schema: LoadedSchema): Buffer => {
    const writing = planWriting(schema, [added]);
    const reading = planReading(schema, [added], added);
    expect([writing.misfits, reading.misfits]).toEqual([[], []]);
    const written = Buffer.from(writing.ways.get('shop.Added')?.(bytes) ?? []);
    expect(Buffer.from(reading.read(written).value ?? []).toString('hex')).toBe(bytes.toString('hex'));
    return written.subarray(5);
  };
  const item = {
    title: 'shop.Item',
    type: 'object',
    properties: { name: { $ref: '#/$defs/text' }, Count: { type: 'integer' } },
  };
  const $defs = { text: { type: 'string' } };
  const properties = { item: { $ref: 'item.json' }, at_ms: { type: 'integer' } };

  it.each([
    ['by name', {}, {}],
    ['relative to its own name', { $id: 'https://shop.example/added.json' }, {}],
    [
      'to one with a name of its own',
      { $id: 'https://shop.example/added.json' },
      { $id: 'https://shop.example/item.json' },
    ],
    ['to one with another name', {}, { $id: 'urn:shop:item' }],
  ])('JSON Schema: %s', (_, own, others) => {
    const imports = [{ name: 'item.json', text: JSON.stringify({ ...item, $defs, ...others }) }];
    const written = there(schemaOf('JSON', { title: 'shop.Added', type: 'object', properties, ...own }, imports));
    // Spelled as the schema that is referred to has it.
    expect(JSON.parse(written.toString())).toMatchObject({ item: { Count: 2 } });
    const whole = schemaOf('JSON', { title: 'shop.Added', type: 'object', properties, ...own }, imports);
    expect(() => planReading(whole, [added], added).read(textOf('{"item":{"name":1}}'))).toThrow(
      '/item/name must be string',
    );
  });

  it('JSON Schema: alternatives that are references have the titles of what they refer to', () => {
    const imports = [
      { name: 'item.json', text: JSON.stringify({ ...item, $defs }) },
      {
        name: 'added.json',
        text: JSON.stringify({ title: 'shop.Added', type: 'object', properties, required: ['item'] }),
      },
      {
        name: 'removed.json',
        text: JSON.stringify({
          title: 'shop.Removed',
          type: 'object',
          properties: { name: { type: 'string' } },
          required: ['name'],
        }),
      },
    ];
    const union = schemaOf(
      'JSON',
      { title: 'All', oneOf: [{ $ref: 'added.json' }, { $ref: 'removed.json' }] },
      imports,
    );
    const writing = planWriting(union, [added, removed]);
    const reading = planReading(union, [added, removed], undefined);
    expect([writing.misfits, reading.misfits]).toEqual([[], []]);
    const written = Buffer.from(writing.ways.get('shop.Added')?.(bytes) ?? []);
    const read = reading.read(written);
    expect([read.typeName, Buffer.from(read.value ?? []).toString('hex')]).toEqual([
      'shop.Added',
      bytes.toString('hex'),
    ]);
    expect(reading.read(textOf('{"name":"a"}')).typeName).toBe('shop.Removed');
  });

  it('Avro: named types, and a union of nothing else', () => {
    const fields = [
      { name: 'item', type: ['null', 'shop.Item'], default: null },
      { name: 'at_ms', type: 'long', default: 0 },
    ];
    const imports = [
      {
        name: 'shop.Item',
        text: JSON.stringify({
          type: 'record',
          name: 'Item',
          namespace: 'shop',
          fields: [
            { name: 'name', type: 'string', default: '' },
            { name: 'count', type: 'int', default: 0 },
          ],
        }),
      },
      { name: 'shop.Added', text: JSON.stringify({ type: 'record', name: 'Added', namespace: 'shop', fields }) },
    ];
    there(schemaOf('AVRO', ['shop.Added'], imports));
    there(schemaOf('AVRO', JSON.stringify('shop.Added'), imports));
  });

  it.each<SchemaType>(['AVRO', 'JSON', 'PROTOBUF'])(
    '%s: one whose reference is missing says which, and is asked for again',
    (kind) => {
      const missing = [{ name: 'item', subject: 'items', version: 3 }];
      const schema = { ...schemaOf(kind, 'whatever'), missing };
      const sentence =
        /schema 7 .* that refers to "item", version 3 of the subject "items", which the registry does not have/;
      expect(planWriting(schema, [added]).misfits.map(misfitLine).join()).toMatch(sentence);
      const reader = createTopicReader({ topic: 'in', types: [added], only: added });
      const value = textOf('{}');
      expect(reader.lacks(value)).toBe(7);
      reader.learn(7, schema);
      expect(reader.lacks(value)).toBeUndefined();
      expect(() => reader.read(value)).toThrow(sentence);
      vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 30_001);
      expect(reader.lacks(value)).toBe(7);
      reader.learn(7, schemaOf(kind, derive(kind, [added])));
      expect(reader.lacks(value)).toBeUndefined();
      vi.restoreAllMocks();
    },
  );
});
