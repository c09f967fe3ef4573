import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Answer } from '../../src/codec/answer-record.ts';
import { type AnswerStream, createAnswerStream } from '../../src/doors/answer-stream.ts';

const answer = (item: number, text: string | undefined, more: boolean): Answer => ({
  correlation: '',
  awaits: 0,
  item,
  more,
  outcome:
    text === undefined
      ? { kind: 'done' }
      : { kind: 'reply', payload: { typeUrl: '', value: Buffer.from(text) }, metadata: [] },
});
const failure = (item: number): Answer => ({
  ...answer(item, undefined, false),
  outcome: { kind: 'failure', code: 14, message: 'gone' },
});

/** All that it tells, and how it ends. */
async function read(stream: AnswerStream): Promise<string[]> {
  const told: string[] = [];
  try {
    for await (const { payload } of stream.read()) told.push(Buffer.from(payload.value).toString());
    return [...told, 'OK'];
  } catch (error) {
    return [...told, (error as Error).message];
  }
}

describe('a stream of answers', () => {
  let renewals: number;
  let stream: AnswerStream;

  beforeEach(() => {
    vi.useFakeTimers();
    renewals = 0;
    stream = createAnswerStream({ firstWithinMs: 1_000, renew: () => renewals++ });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('tells each message as it comes, and nothing of what only says that there is a stream', async () => {
    const told = read(stream);
    stream.answered(answer(1, undefined, true));
    stream.answered(answer(2, 'a', true));
    await vi.advanceTimersByTimeAsync(5_000);
    stream.answered(answer(3, 'b', true));
    stream.answered(answer(4, 'c', false));
    expect(await told).toEqual(['a', 'b', 'c', 'OK']);
    expect(stream.isOpen).toBe(false);
  });

  it('is renewed each ten seconds from its first answer on, until it ends', async () => {
    await vi.advanceTimersByTimeAsync(900);
    expect(renewals).toBe(0);
    stream.answered(answer(1, 'a', true));
    await vi.advanceTimersByTimeAsync(35_000);
    expect(renewals).toBe(3);
    stream.answered(failure(2));
    await vi.advanceTimersByTimeAsync(35_000);
    expect(renewals).toBe(3);
    expect(await read(stream)).toEqual(['a', 'gone']);
  });

  it('ends when its owner does not know it, whatever came before', async () => {
    stream.answered(answer(1, 'a', true));
    stream.answered(failure(0));
    expect(await read(stream)).toEqual(['a', 'gone']);
    expect(stream.isOpen).toBe(false);
  });

  it('ends when an answer is missing, and its owner is to be told', async () => {
    stream.answered(answer(1, 'a', true));
    stream.answered(answer(3, 'c', true));
    expect(await read(stream)).toEqual(['a', 'answer 2 of the stream is missing: call again']);
    expect(stream.isOpen).toBe(true);
  });

  it('waits for its first answer within the deadline alone', async () => {
    const told = read(stream);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await told).toEqual([expect.stringContaining('no answer within the deadline')]);
  });

  it('ends for a caller that is too far behind', async () => {
    for (let item = 1; item <= 10_001; item++) stream.answered(answer(item, 'x', true));
    const told = await read(stream);
    expect(told).toHaveLength(10_002);
    expect(told.at(-1)).toContain('more than 10000 answers behind');
  });
});
