import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Cancellations, createCancellations } from '../../src/functions/cancellations.ts';
import type { Effect } from '../../src/model/effect.ts';

const answer: Effect = { answer: { kind: 'none' }, sideEffects: [], events: [], replicated: { kind: 'delete' } };

describe('cancelled streams of a function', () => {
  let cancellations: Cancellations;
  /** Ids in the order in which they were done, with `!` where the function has said something. */
  let done: string[];
  const add = (id: number) =>
    cancellations.add(id, (effect) => done.push(effect.replicated === undefined ? `${id}` : `${id}!`));

  beforeEach(() => {
    vi.useFakeTimers();
    cancellations = createCancellations();
    done = [];
    for (const id of [1, 2, 3]) add(id);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('are done with what it says of each, and with nothing where it has gone on to the next', () => {
    expect(cancellations.answered(2, answer)).toBe(true);
    expect(done).toEqual(['1', '2!']);
    expect(cancellations.answered(1, answer)).toBe(false);
    expect(cancellations.answered(3, answer)).toBe(true);
    expect(done).toEqual(['1', '2!', '3!']);
  });

  it('are done when it has answered what came after them', () => {
    cancellations.passed();
    expect(done).toEqual(['1', '2', '3']);
  });

  it('are done after a second, all together', () => {
    vi.advanceTimersByTime(999);
    expect(done).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(done).toEqual(['1', '2', '3']);
  });

  it('are not done when nobody wants to know, and no timer is left', () => {
    cancellations.clear();
    vi.advanceTimersByTime(2_000);
    expect([done, vi.getTimerCount()]).toEqual([[], 0]);
  });
});
