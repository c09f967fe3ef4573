import type { KafkaMessage } from 'kafkajs';
import { expect, it } from 'vitest';
import { toInputRecord } from '../../src/topics/input-record.ts';

const message = (headers?: Record<string, unknown>) =>
  ({
    key: null,
    value: Buffer.from('v'),
    offset: '9007199254740993',
    timestamp: '17',
    attributes: 0,
    headers,
  }) as unknown as KafkaMessage;

it('keeps offsets beyond what a number can say', () => {
  expect(toInputRecord('t', 1, message())).toMatchObject({
    topic: 't',
    partition: 1,
    offset: 9007199254740993n,
    timestamp: 17,
    headers: {},
  });
});

it('takes a header without a value for an empty one, repeated or not', () => {
  const headers = { a: null, b: [Buffer.from('1'), null], c: Buffer.from('x') };
  expect(toInputRecord('t', 1, message(headers)).headers).toEqual({
    a: Buffer.alloc(0),
    b: [Buffer.from('1'), Buffer.alloc(0)],
    c: Buffer.from('x'),
  });
  expect(headers.a).toBeNull();
});

it('hands headers on as they are where none lacks its value', () => {
  const headers = { c: Buffer.from('x') };
  expect(toInputRecord('t', 1, message(headers)).headers).toBe(headers);
});
