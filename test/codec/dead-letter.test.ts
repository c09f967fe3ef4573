import { describe, expect, it } from 'vitest';
import { deadLetter, MAX_SENTENCE } from '../../src/codec/dead-letter.ts';
import type { InputRecord, OutputRecord } from '../../src/model/record.ts';
import { inputRecord } from '../support/records.ts';

const ERROR = { code: 'RECORD_UNDECODABLE', message: 'It is broken.' };

function letter(record: Partial<InputRecord>, given: { message?: string; service?: string; method?: string } = {}) {
  const { message = ERROR.message, ...where } = given;
  return deadLetter({
    record: inputRecord(record),
    topic: 'dead',
    partition: 2,
    error: { ...ERROR, message },
    ...where,
    at: 1_800_000_000_000,
  });
}

/** The letter as Kafka would deliver it to the same topic again. */
function again({ key, value, headers }: OutputRecord): InputRecord {
  const repeated: Record<string, Buffer[]> = {};
  for (const [name, text] of headers) repeated[name] = [...(repeated[name] ?? []), Buffer.from(text)];
  return inputRecord({ key: key && Buffer.from(key), value: value && Buffer.from(value), headers: repeated });
}

describe('deadLetter', () => {
  it('keeps key and value byte for byte, also where they are null', () => {
    const key = Buffer.from([0xff, 0x00]);
    const value = Buffer.from([0x0a, 0x05]);

    expect(letter({ key, value })).toMatchObject({ topic: 'dead', partition: 2 });
    expect(letter({ key, value }).key).toBe(key);
    expect(letter({ key, value }).value).toBe(value);
    expect(letter({ key: null, value: null })).toMatchObject({ key: null, value: null });
  });

  it('keeps every header, repeated ones too, and says why and where from', () => {
    const headers = {
      tag: [Buffer.from('a'), Buffer.from('b')],
      'stateferry-origin': Buffer.from('o'),
      none: undefined,
    };

    expect(letter({ headers }, { service: 'shop.Cart', method: 'Add' }).headers).toEqual([
      ['tag', Buffer.from('a')],
      ['tag', Buffer.from('b')],
      ['stateferry-origin', Buffer.from('o')],
      ['stateferry-error-code', 'RECORD_UNDECODABLE'],
      ['stateferry-error', 'It is broken.'],
      ['stateferry-topic', 'carts'],
      ['stateferry-partition', '3'],
      ['stateferry-offset', '41'],
      ['stateferry-timestamp', '1700000000000'],
      ['stateferry-failed-at', '1800000000000'],
      ['stateferry-service', 'shop.Cart'],
      ['stateferry-method', 'Add'],
    ]);
  });

  it('says no service and method where they are not known', () => {
    const names = letter({}).headers.map(([name]) => name);

    expect(names).not.toContain('stateferry-service');
    expect(names).not.toContain('stateferry-method');
  });

  it('does not grow when a dead letter fails again, and says what went wrong last', () => {
    const first = letter({ headers: { tag: Buffer.from('a') } }, { service: 'shop.Cart', method: 'Add' });

    const third = letter(again(letter(again(first), { message: 'Later.' })), { message: 'Last.' });

    const names = third.headers.map(([name]) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeLessThanOrEqual(first.headers.length);
    expect(third.headers).toContainEqual(['stateferry-error', 'Last.']);
    expect(third.headers).toContainEqual(['tag', Buffer.from('a')]);
    expect(names).not.toContain('stateferry-method');
  });

  it('cuts a sentence of any length, not through a character', () => {
    const message = `${'x'.repeat(MAX_SENTENCE - 1)}😀${'y'.repeat(1_000_000)}`;

    const sentence = letter({}, { message }).headers.find(([name]) => name === 'stateferry-error')?.[1];

    expect(sentence).toBe(`${'x'.repeat(MAX_SENTENCE - 1)}…`);
  });
});
