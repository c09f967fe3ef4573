import { describe, expect, it } from 'vitest';
import { fromPlace, isNudge, nudge, putBack, readPutBack } from '../../src/codec/put-back.ts';
import type { InputRecord, OutputRecord } from '../../src/model/record.ts';

const record: InputRecord = {
  topic: 'orders',
  partition: 3,
  offset: 17n,
  key: Buffer.from('k'),
  value: Buffer.from([0, 255]),
  headers: { ce_type: Buffer.from('shop.Add'), twice: [Buffer.from('a'), Buffer.from('b')] },
  timestamp: 1_700_000_000_000,
};
const to = { topic: 'd-commands', partition: 1, commandId: 'orders/3/17' };

/** As kafkajs brings it back: repeated headers as an array. */
function arrived(output: OutputRecord): InputRecord {
  const headers: Record<string, Buffer | Buffer[]> = {};
  for (const [name, value] of output.headers) {
    const before = headers[name];
    const held = Buffer.from(value);
    headers[name] = before === undefined ? held : [...(Array.isArray(before) ? before : [before]), held];
  }
  const bytes = (given: Uint8Array | null) => (given === null ? null : Buffer.from(given));
  const { topic, partition, key, value } = output;
  return { topic, partition, offset: 99n, key: bytes(key), value: bytes(value), headers, timestamp: 5 };
}

describe('a record that is put back', () => {
  it('is, when it comes, the record that it was, whatever headers it had', () => {
    expect(readPutBack(arrived(putBack(record, to)))).toEqual({ record, place: undefined });
    const own = { ...record, headers: { ...record.headers, 'stateferry-origin': Buffer.from('upstream/1/2') } };
    expect(readPutBack(arrived(putBack(own, to)))?.record).toEqual(own);
  });

  it('names its command first, as all records of the command topic do', () => {
    expect(putBack(record, to)).toMatchObject({
      topic: 'd-commands',
      partition: 1,
      key: record.key,
      value: record.value,
    });
    expect(putBack(record, to).headers[0]).toEqual(['stateferry-origin', 'orders/3/17']);
  });

  it('brings the place where it was parked, and loses it when it is put back again', () => {
    const once = readPutBack(arrived(fromPlace(putBack(record, to), { chunk: 12, ordinal: 3 })));
    expect(once).toEqual({ record, place: { chunk: 12, ordinal: 3 } });
    expect(readPutBack(arrived(putBack(once?.record ?? record, to)))?.place).toBeUndefined();
  });

  it('keeps null for null, and a topic whose name has dots', () => {
    const bare = { ...record, topic: 'a.b-c_d', key: null, value: null, headers: {} };
    expect(readPutBack(arrived(putBack(bare, to)))?.record).toEqual(bare);
  });

  it('is not what any other record is', () => {
    expect(readPutBack(record)).toBeUndefined();
    expect(readPutBack({ ...record, headers: { 'stateferry-put-back': Buffer.from('nonsense') } })).toBeUndefined();
  });
});

it('a nudge is told from every record that says something', () => {
  expect(isNudge(arrived(nudge('d-commands', 2)))).toBe(true);
  expect(isNudge(record)).toBe(false);
  expect(isNudge({ ...record, value: null })).toBe(false);
});
