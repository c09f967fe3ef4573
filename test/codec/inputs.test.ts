import { describe, expect, it } from 'vitest';
import { decodeInputOrder, encodeInputOrder } from '../../src/codec/input-order.ts';
import { decodeInputs, encodeInputs } from '../../src/codec/inputs.ts';
import { inputRecord } from '../support/records.ts';

const ofTopics = (text: string) => [...text].map((topic) => ({ topic }));

describe('the order of a chunk’s inputs', () => {
  it.each([
    ['aab', ['a', 'b']],
    ['abab', ['b', 'a']],
    ['bcbbbacc', ['c', 'b', 'a', 'unused']],
  ])('%s comes back as runs', (text, topics) => {
    const bytes = encodeInputOrder(topics, ofTopics(text));
    const runs = decodeInputOrder([...topics].reverse(), bytes ?? new Uint8Array());
    expect(runs.map(({ topic, count }) => topic.repeat(count)).join('')).toBe(text);
    expect(runs.some(({ topic }, i) => topic === runs[i + 1]?.topic)).toBe(false);
  });

  it('is nothing where all are of one topic', () => {
    expect(encodeInputOrder(['a', 'b'], ofTopics('bbb'))).toBeUndefined();
    expect(encodeInputOrder(['a', 'b'], [])).toBeUndefined();
  });

  it('refuses topics that are not the chunk’s', () => {
    expect(() => encodeInputOrder(['a', 'b'], ofTopics('ac'))).toThrow('"c" is none of the topics a, b');
    const bytes = encodeInputOrder(['a', 'b', 'c'], ofTopics('ac')) ?? new Uint8Array();
    const unreadable = (sentence: string) =>
      expect.objectContaining({ code: 'JOURNAL_UNREADABLE', message: expect.stringContaining(sentence) });
    expect(() => decodeInputOrder(['a', 'b'], bytes)).toThrow(unreadable('topic 2 of 2'));
    expect(() => decodeInputOrder(['a'], Buffer.from([0]))).toThrow(unreadable('out of range'));
    expect(() => decodeInputOrder(['a'], Buffer.alloc(20, 0xff))).toThrow(unreadable('varint'));
  });
});

describe('the inputs of a chunk', () => {
  it('come back as they were, in order, with nulls, repeated headers and large numbers', () => {
    const records = [
      inputRecord({ topic: 'a', offset: 2n ** 62n, key: Buffer.from('k'), value: Buffer.from([0, 255]) }),
      inputRecord({ topic: 'b', offset: 0n, key: Buffer.alloc(0), value: null, timestamp: -1 }),
      inputRecord({
        topic: 'a',
        offset: 7n,
        headers: { one: Buffer.from('1'), many: [Buffer.from('x'), Buffer.from('y')], empty: Buffer.alloc(0) },
      }),
    ];
    expect(decodeInputs(encodeInputs(records))).toEqual(records);
    expect(decodeInputs(encodeInputs([]))).toEqual([]);
  });

  it.each([
    ['cut short', encodeInputs([inputRecord(), inputRecord()]).subarray(0, -3)],
    [
      'with fewer offsets than records',
      Buffer.concat([encodeInputs([inputRecord()]), encodeInputs([])]).subarray(0, 12),
    ],
    ['of another kind', Buffer.from('not protobuf')],
  ])('%s are refused', (_, bytes) => {
    expect(() => decodeInputs(bytes)).toThrow(expect.objectContaining({ code: 'JOURNAL_UNREADABLE' }));
  });
});
