import { expect, it } from 'vitest';
import { deadLetter } from '../../src/codec/dead-letter.ts';
import { readLetter } from '../../src/codec/letter.ts';
import type { InputRecord } from '../../src/model/record.ts';

const record: InputRecord = {
  topic: 'orders',
  partition: 3,
  offset: 17n,
  key: Buffer.from('k'),
  value: Buffer.from('{'),
  headers: { ce_type: 'shop.Add', twice: ['a', 'b'] },
  timestamp: 1_700_000_000_000,
};
const error = { code: 'FUNCTION_FAILED', message: 'no stock' };

/** The letter of `record` as a reader gets it. */
function letterOf(fits?: (bytes: { value: Uint8Array | null }) => boolean): InputRecord {
  const written = deadLetter({
    record,
    topic: 'dead',
    partition: 0,
    error,
    service: 'shop.Cart',
    method: 'Add',
    at: 1_800_000_000_000,
    ...(fits && { fits }),
  });
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of written.headers) {
    const before = headers[name];
    headers[name] = before === undefined ? String(value) : [before, String(value)].flat();
  }
  const value = written.value === null ? null : Buffer.from(written.value);
  return { ...record, topic: 'dead', partition: 0, offset: 4n, value, headers, timestamp: 9 };
}

it('a dead letter is read as the record that it was, and why it failed', () => {
  expect(readLetter(letterOf())).toEqual({
    code: 'FUNCTION_FAILED',
    error: 'no stock',
    service: 'shop.Cart',
    method: 'Add',
    failedAt: 1_800_000_000_000,
    leftOut: undefined,
    record,
  });
});

it('one that lost its value to the topic’s limit says so', () => {
  expect(readLetter(letterOf(({ value }) => value === null))).toMatchObject({
    leftOut: 'value',
    record: { value: null },
  });
});

it('any other record of the topic is none', () => {
  expect(readLetter(record)).toBeUndefined();
});

it.each([
  ['partition', '99999999999999999999'],
  ['partition', '-1'],
  ['offset', '9'.repeat(60)],
  ['offset', '1e3'],
])('a record whose %s is %s stood nowhere, and is no dead letter', (name, value) => {
  const letter = letterOf();
  const headers = { ...letter.headers, [`stateferry-${name}`]: value };

  expect(readLetter({ ...letter, headers })).toBeUndefined();
});

it.each(['160(000', '', '1e400', 'NaN'])(
  'a time of %j is none: the record has the time of its letter, and nobody knows when it was given up',
  (value) => {
    const letter = letterOf();
    const headers = { ...letter.headers, 'stateferry-timestamp': value, 'stateferry-failed-at': value };

    expect(readLetter({ ...letter, headers })).toMatchObject({ failedAt: undefined, record: { timestamp: 9 } });
  },
);
