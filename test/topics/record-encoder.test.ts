import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { encodeRecord, type RecordToEncode } from '../../src/topics/record-encoder.ts';
import { createRandom } from '../support/random.ts';

const theirs = createRequire(import.meta.url)('kafkajs/src/protocol/recordBatch/record/v0/index.js') as (
  record: RecordToEncode,
) => { buffer: Buffer };

describe('encoding a record', () => {
  it.each<[string, RecordToEncode]>([
    ['nothing but a value', { value: Buffer.from('v') }],
    [
      'a key, a value and headers',
      { key: Buffer.from('k'), value: Buffer.from('v'), headers: { a: 'b', c: Buffer.from('d') } },
    ],
    ['a tombstone', { key: Buffer.from('k'), value: null }],
    ['text with characters of several bytes', { key: 'schlüssel', value: '✓', headers: { größe: '€' } }],
    ['a header that repeats', { value: Buffer.alloc(0), headers: { a: ['1', Buffer.from('2'), '3'], b: '' } }],
    ['a value of more than 8 KiB', { value: Buffer.alloc(20_000, 7), offsetDelta: 70_000 }],
    ['a time far from the batch’s first', { value: Buffer.from('v'), timestampDelta: 3_000_000_000 }],
    ['a time before the batch’s first', { value: Buffer.from('v'), timestampDelta: -5 }],
  ])('gives the bytes that kafkajs gives for %s', (_what, record) => {
    expect(encodeRecord(record).buffer.toString('hex')).toBe(theirs(record).buffer.toString('hex'));
  });

  it('gives the bytes that kafkajs gives for a thousand random records', () => {
    const random = createRandom(7);
    for (let i = 0; i < 1_000; i++) {
      const bytes = () => random.bytes(random.int(300));
      const headers = Object.fromEntries(Array.from({ length: random.int(9) }, (_, n) => [`h${n}`, bytes()]));
      const record = {
        key: random.int(3) === 0 ? null : bytes(),
        value: bytes(),
        headers,
        offsetDelta: random.int(100_000),
        timestampDelta: random.int(1_000_000),
      };
      expect(encodeRecord(record).buffer.equals(theirs(record).buffer)).toBe(true);
    }
  });

  it('takes a header without a value, where kafkajs throws', () => {
    const record = { value: Buffer.from('v'), headers: { a: null } };
    expect(() => theirs(record)).toThrow();
    expect(encodeRecord(record).buffer.toString('hex')).toBe('1400000001027602026101');
  });
});
