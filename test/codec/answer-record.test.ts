import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type AnswerOutcome, CORRELATION_BYTES, decodeAnswer, encodeAnswer } from '../../src/codec/answer-record.ts';
import type { Caller } from '../../src/model/command.ts';
import type { InputRecord } from '../../src/model/record.ts';

const correlation = randomBytes(CORRELATION_BYTES);
const caller: Caller = { partition: 3, correlation, doneOnly: false, awaits: 0 };
const reply: AnswerOutcome = {
  kind: 'reply',
  payload: { typeUrl: 'type.googleapis.com/a.B', value: Buffer.from('v') },
  metadata: [
    { key: 'a', value: 'text' },
    { key: 'b', value: Buffer.from([0, 255]) },
  ],
};

function encode(
  outcome: AnswerOutcome,
  rest: { caller?: Partial<Caller>; awaits?: number; item?: number; more?: boolean } = {},
) {
  const { caller: callers, awaits = 0, ...stream } = rest;
  return encodeAnswer({
    topic: 'd-answers',
    caller: { ...caller, ...callers },
    awaits,
    ...stream,
    outcome,
    commandId: 'd-commands/0/7',
  });
}
const decode = (record: ReturnType<typeof encode>) =>
  decodeAnswer({ key: record.key as Buffer, value: record.value as Buffer } as InputRecord);

describe('a record of the answer topic', () => {
  it.each<[string, AnswerOutcome]>([
    ['a reply with metadata', reply],
    ['an empty reply', { kind: 'reply', payload: { typeUrl: 'a.B', value: Buffer.alloc(0) }, metadata: [] }],
    ['a failure', { kind: 'failure', code: 9, message: 'größer' }],
    ['the end of a side effect', { kind: 'done' }],
  ])('brings back %s', (_what, outcome) => {
    const one = { correlation: correlation.toString('hex'), awaits: 0, item: 0, more: false, outcome };
    expect(decode(encode(outcome))).toEqual(one);
    expect(decode(encode(outcome, { item: 7, more: true }))).toEqual({ ...one, item: 7, more: true });
  });

  it('goes to the partition that the caller reads, and names its command', () => {
    expect(encode(reply)).toMatchObject({
      topic: 'd-answers',
      partition: 3,
      headers: [['stateferry-origin', 'd-commands/0/7']],
    });
  });

  it('tells one who waits for the end alone nothing else', () => {
    const { outcome } = decode(encode(reply, { caller: { doneOnly: true } }));
    expect(outcome).toEqual({ kind: 'done' });
  });

  it('counts what its command and those that forwarded to it make the caller wait for', () => {
    expect(decode(encode(reply, { caller: { awaits: 2 }, awaits: 3 })).awaits).toBe(5);
  });

  it.each<[string, Buffer | null, Buffer | null]>([
    ['without a value', correlation, null],
    ['without a key', null, Buffer.from([0x20, 1])],
    ['with a key of another length', Buffer.from('k'), Buffer.from([0x20, 1])],
    ['without an outcome', correlation, Buffer.from([0x08, 1])],
    ['cut short', correlation, Buffer.from([0x12, 9, 1])],
    ['of arbitrary bytes', correlation, Buffer.from('no answer')],
  ])('is refused %s', (_what, key, value) => {
    expect(() => decodeAnswer({ key, value })).toThrow('not a stateferry.internal.AnswerRecord');
  });
});
