import { create, fromBinary, type Message, toBinary, toJson } from '@bufbuild/protobuf';
import avro from 'avsc';
import { describe, expect, it } from 'vitest';
import { planAvroReading, planAvroWriting } from '../../src/registry/avro.ts';
import { deriveAvro } from '../../src/registry/avro-derive.ts';
import { frame, framed } from '../../src/registry/frame.ts';
import { createTopicReader } from '../../src/registry/reading.ts';
import { createRandom } from '../support/random.ts';
import { randomMessage } from '../support/random-message.ts';
import { schemaOf, shopType } from './messages.ts';

const PRICED = {
  type: 'record',
  name: 'Price',
  namespace: 'legacy',
  fields: [
    { name: 'id', type: { type: 'string', logicalType: 'uuid' } },
    {
      name: 'price',
      type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 }],
      default: null,
    },
    { name: 'day', type: { type: 'int', logicalType: 'date' } },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'note', type: ['null', 'string'], default: null },
    { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['UNSPECIFIED', 'BIG', 'SMALL'] } },
    {
      name: 'what',
      type: [
        'null',
        {
          type: 'record',
          name: 'Item',
          fields: [
            { name: 'name', type: 'string' },
            { name: 'count', type: 'int' },
          ],
        },
        'string',
        'long',
      ],
    },
    { name: 'totalCents', type: 'long' },
  ],
};

const value = (schema: object, held: unknown, id = 7): Buffer =>
  Buffer.from(framed(frame(id), avro.Type.forSchema(schema as avro.Schema, { wrapUnions: true }).toBuffer(held)));

function readJson(schema: object, typeName: string, bytes: Buffer): unknown {
  const type = shopType(typeName);
  const plan = planAvroReading(schemaOf('AVRO', schema), [type], type);
  expect(plan.misfits).toEqual([]);
  return toJson(type, fromBinary(type, plan.read(bytes).value ?? new Uint8Array()));
}

describe('Avro and messages', () => {
  it('go there and back by the schema that is made of the descriptor, whatever is in them', () => {
    const type = shopType('Everything');
    const schema = schemaOf('AVRO', deriveAvro([type]));
    const writing = planAvroWriting(schema, [type]);
    const reading = planAvroReading(schema, [type], type);
    expect([writing.misfits, reading.misfits]).toEqual([[], []]);
    const write = writing.ways.get(type.typeName);
    const random = createRandom(20_260_726);
    let written = 0;
    for (let n = 0; n < 400; n++) {
      const message = randomMessage(random, type, [type]);
      const bytes = toBinary(type, message);
      let framedBytes: Uint8Array | undefined;
      try {
        framedBytes = write?.(bytes);
      } catch (error) {
        // An open enum may hold what has no name, a uint64 what no long holds: these are refused, not changed.
        expect(String(error)).toMatch(/no name for|a long holds|64 bits of its unit/);
        continue;
      }
      written++;
      const back = fromBinary(type, reading.read(Buffer.from(framedBytes ?? [])).value ?? new Uint8Array());
      expect(withoutNanos(back)).toEqual(withoutNanos(fromBinary(type, bytes)));
    }
    expect(written).toBeGreaterThan(40);
  });

  it('fit by names, in any spelling, with logical types', () => {
    const bytes = value(PRICED, {
      id: '8d8ac610-566d-4ef0-9c22-186b2a5ed793',
      price: { bytes: Buffer.from('fb2e', 'hex') },
      day: -1,
      at: -1,
      note: { string: 'n' },
      kind: 'BIG',
      what: { 'legacy.Item': { name: 'i', count: 3 } },
      totalCents: 5,
    });
    const json = {
      id: '8d8ac610-566d-4ef0-9c22-186b2a5ed793',
      price: '-12.34',
      day: '1969-12-31',
      at: '1969-12-31T23:59:59.999Z',
      note: 'n',
      kind: 'KIND_BIG',
      item: { name: 'i', count: 3 },
      totalCents: '5',
    };
    expect(readJson(PRICED, 'Priced', bytes)).toEqual(json);
    const type = shopType('Priced');
    const plan = planAvroReading(schemaOf('AVRO', PRICED), [type], type);
    const writing = planAvroWriting(schemaOf('AVRO', PRICED), [type]);
    expect(writing.misfits).toEqual([]);
    const { value: read = new Uint8Array() } = plan.read(bytes);
    expect(Buffer.from(writing.ways.get('shop.Priced')?.(read) ?? []).toString('hex')).toBe(bytes.toString('hex'));
  });

  it('keep every bit of a long', () => {
    const schema = {
      type: 'record',
      name: 'R',
      fields: [
        { name: 'large', type: 'long' },
        { name: 'numbers', type: { type: 'array', items: 'long' } },
      ],
    };
    const type = shopType('Everything');
    const { read } = planAvroReading(schemaOf('AVRO', schema), [type], type);
    // 2^63 - 1 and -2^63 as zigzag varints, a block of one element, and the end of the array.
    const bytes = Buffer.from('0000000007feffffffffffffffff0102ffffffffffffffffff0100', 'hex');
    const message = fromBinary(type, read(bytes).value ?? new Uint8Array()) as Message & {
      large: bigint;
      numbers: bigint[];
    };
    expect([message.large, ...message.numbers]).toEqual([2n ** 63n - 1n, -(2n ** 63n)]);
  });

  it('of several types on one topic are told apart by the union that the value is of', () => {
    const types = [shopType('Added'), shopType('Removed')];
    const schema = schemaOf('AVRO', deriveAvro(types));
    const writing = planAvroWriting(schema, types);
    const reading = planAvroReading(schema, types, undefined);
    expect([writing.misfits, reading.misfits]).toEqual([[], []]);
    for (const type of types) {
      const bytes = toBinary(type, create(type, { name: 'n', item: { name: 'i' } } as never));
      expect(reading.read(Buffer.from(writing.ways.get(type.typeName)?.(bytes) ?? []))).toEqual({
        typeName: type.typeName,
        value: bytes,
      });
    }
  });
});

/** Avro has microseconds; what is smaller is cut off. */
function withoutNanos(message: Message): unknown {
  return JSON.parse(
    JSON.stringify(message, (key, held) => {
      if (key === 'nanos') return Math.floor(held / 1_000);
      if (typeof held === 'bigint') return `${held}n`;
      if (typeof held === 'number' && !Number.isFinite(held)) return String(held);
      return ArrayBuffer.isView(held)
        ? Buffer.from(held.buffer, held.byteOffset, held.byteLength).toString('hex')
        : held;
    }),
  );
}

describe('what does not fit', () => {
  it('is told all at once, with its path, before anything is read', () => {
    const type = shopType('Priced');
    const schema = {
      type: 'record',
      name: 'Price',
      fields: [
        { name: 'id', type: 'long' },
        { name: 'price', type: 'double' },
        { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['BIG', 'HUGE'] } },
        { name: 'what', type: ['null', 'string', 'bytes'] },
        { name: 'unheard', type: 'string' },
        { name: 'item', type: { type: 'record', name: 'Item', fields: [{ name: 'count', type: 'string' }] } },
      ],
    };
    const { misfits } = planAvroReading(schemaOf('AVRO', schema), [type], type);
    expect(misfits.map(({ path, found }) => `${path}: ${found}`)).toEqual([
      'id: Avro long',
      'price: Avro double',
      'kind: the symbols HUGE of Avro enum Kind',
      'what: the branch Avro bytes',
      'item.count: Avro string',
    ]);
  });

  it('is told of an output, too: what would be lost, and what has nothing to be written with', () => {
    const type = shopType('Item');
    const schema = {
      type: 'record',
      name: 'Item',
      fields: [
        { name: 'name', type: 'string' },
        { name: 'colour', type: 'string' },
        { name: 'size', type: 'int', default: 1 },
      ],
    };
    const { misfits } = planAvroWriting(schemaOf('AVRO', schema), [type]);
    expect(misfits.map(({ path, found, expected }) => `${path}: ${found}; ${expected}`)).toEqual([
      'colour: Avro string without a default; a field of shop.Item, or a default',
      'count: no field of Avro record Item; one for int32, which would be lost',
    ]);
  });
});

describe('a value that is not what its schema says', () => {
  const SCHEMA = {
    type: 'record',
    name: 'R',
    fields: [
      { name: 'some_text', type: 'string' },
      { name: 'flag', type: 'boolean' },
      { name: 'mood', type: { type: 'enum', name: 'Mood', symbols: ['UNKNOWN', 'CALM'] } },
      { name: 'numbers', type: { type: 'array', items: 'long' } },
      { name: 'maybe_text', type: ['null', 'string'] },
    ],
  };
  const type = shopType('Everything');
  const reader = createTopicReader({ topic: 'in', types: [type], only: type });
  reader.learn(7, schemaOf('AVRO', SCHEMA));
  reader.learn(8, schemaOf('AVRO', { type: 'record', name: 'R', fields: [{ name: 'flag', type: 'string' }] }));
  reader.learn(9, schemaOf('AVRO', 'no schema'));
  reader.learn(10, undefined);
  const head = '0000000007';

  it.each([
    ['no frame', 'RECORD_UNDECODABLE', 'ff00000007', 'begins with the byte 255'],
    ['nothing', 'RECORD_UNDECODABLE', '', 'has 0 bytes, and the frame'],
    ['less than a frame', 'RECORD_UNDECODABLE', '00000007', 'has 4 bytes, and the frame'],
    [
      'a schema that nobody knows',
      'RECORD_UNKNOWN_SCHEMA',
      '000000000a00',
      'schema 10, which the registry does not know',
    ],
    [
      'a schema that does not fit',
      'RECORD_UNDECODABLE',
      '000000000800',
      'flag: Avro string; expected something that bool takes',
    ],
    ['a schema that is none', 'RECORD_UNDECODABLE', '000000000900', '(AVRO) that cannot be read'],
    ['no payload', 'RECORD_UNDECODABLE', head, 'ends inside the number at byte 5'],
    ['a string that is cut off', 'RECORD_UNDECODABLE', `${head}0661`, '3 bytes are to follow byte 6, and there are 1'],
    ['a string of less than no bytes', 'RECORD_UNDECODABLE', `${head}0161`, '-1 bytes are to follow'],
    ['a string that is no UTF-8', 'RECORD_UNDECODABLE', `${head}02ff01000000`, 'not valid UTF-8'],
    ['a boolean of 2', 'RECORD_UNDECODABLE', `${head}0002000000`, 'the boolean at byte 6 is 2'],
    ['an enum out of range', 'RECORD_UNDECODABLE', `${head}0001040000`, 'has index 2, and Mood has 2 symbols'],
    [
      'an array that says it is endless',
      'RECORD_UNDECODABLE',
      `${head}000100feffffffffffffffff0100`,
      'ends inside the number',
    ],
    ['a union without the branch', 'RECORD_UNDECODABLE', `${head}0001000004`, 'a branch that its schema does not have'],
    ['something after its end', 'RECORD_UNDECODABLE', `${head}000100000000`, '1 bytes follow the end'],
    ['a number of 70 bits', 'RECORD_UNDECODABLE', `${head}00010002ffffffffffffffffff7f0000`, 'more than 64 bits'],
  ])('%s', (_, code, hex, reason) => {
    let thrown: unknown;
    try {
      reader.read(Buffer.from(hex, 'hex'));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code, message: expect.stringContaining(reason) });
  });

  it('the next one is read', () => {
    const { typeName } = reader.read(Buffer.from(`${head}0001000000`, 'hex'));
    expect(typeName).toBe('shop.Everything');
  });
});
