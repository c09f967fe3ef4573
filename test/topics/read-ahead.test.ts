import { beforeEach, describe, expect, it } from 'vitest';
import { ReadAhead, type RecordBatch } from '../../src/topics/read-ahead.ts';
import { inputRecord } from '../support/records.ts';

/** What is handed on in one go. */
const SLICE = 250;

let ahead: ReadAhead;
/** `topic/partition/offset` of what was handed on, in order. */
let taken: string[];
/** What is fetched now, as `topic/partition`. */
let fetched: Set<string>;
let turns: (() => void)[];
/** Called with each slice. */
let onSlice: (batch: RecordBatch) => void;

beforeEach(() => {
  taken = [];
  fetched = new Set();
  turns = [];
  onSlice = () => undefined;
  ahead = new ReadAhead(['in', 'commands'], {
    onRecords(batch) {
      for (const { topic, partition, offset } of batch.records) taken.push(`${topic}/${partition}/${offset}`);
      onSlice(batch);
    },
    onFetching(topic, partition, fetching) {
      if (fetching) fetched.add(`${topic}/${partition}`);
      else fetched.delete(`${topic}/${partition}`);
    },
    later: (work) => turns.push(work),
  });
});

function batch(topic: string, partition: number, from: number, count: number): RecordBatch {
  const records = Array.from({ length: count }, (_, i) => inputRecord({ topic, partition, offset: BigInt(from + i) }));
  return { topic, partition, highWatermark: BigInt(from + count), records };
}

function offsets(topic: string, partition: number, from: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${topic}/${partition}/${from + i}`);
}

/** One turn of the event loop; false: nothing was to be done in it. */
function turn(): boolean {
  const work = turns;
  turns = [];
  for (const one of work) one();
  return work.length > 0;
}

describe('what a fetch brings', () => {
  it('is handed on in slices, one a turn of the event loop, in order', () => {
    ahead.start(0);
    ahead.push(batch('in', 0, 0, 2 * SLICE + 1));
    expect(taken).toHaveLength(SLICE);
    turn();
    expect(taken).toHaveLength(2 * SLICE);
    while (turn());
    expect(taken).toEqual(offsets('in', 0, 0, 2 * SLICE + 1));
  });

  it('waits while its partition is stopped, and holds up no other', () => {
    ahead.start(0);
    ahead.start(1);
    onSlice = () => ahead.stop(0);
    ahead.push(batch('in', 0, 0, SLICE + 1));
    onSlice = () => undefined;
    ahead.push(batch('in', 1, 7, 2));
    while (turn());
    expect(taken).toEqual([...offsets('in', 0, 0, SLICE), ...offsets('in', 1, 7, 2)]);
    ahead.start(0);
    while (turn());
    expect(taken.at(-1)).toBe(`in/0/${SLICE}`);
  });

  it('is forgotten where the partition is read from elsewhere', () => {
    ahead.start(0);
    onSlice = () => ahead.drop('in', 0);
    ahead.push(batch('in', 0, 0, 3 * SLICE));
    onSlice = () => undefined;
    while (turn());
    ahead.push(batch('in', 0, 5, 1));
    expect(taken).toEqual([...offsets('in', 0, 0, SLICE), 'in/0/5']);
  });

  it('is forgotten with a new assignment, whatever is still on its way', () => {
    ahead.start(0);
    ahead.push(batch('in', 0, 0, 2 * SLICE));
    ahead.clear();
    while (turn());
    ahead.push(batch('in', 0, 2 * SLICE, 1));
    expect(taken).toHaveLength(SLICE);
  });
});

describe('fetching', () => {
  it('begins with the first start of a partition', () => {
    expect(fetched).toEqual(new Set());
    ahead.start(3);
    expect(fetched).toEqual(new Set(['in/3', 'commands/3']));
  });

  it('of a topic pauses while more than half of what the last fetch brought waits', () => {
    ahead.start(0);
    onSlice = () => ahead.stop(0);
    ahead.push(batch('in', 0, 0, 4 * SLICE));
    expect(fetched).toEqual(new Set(['commands/0']));
    ahead.start(0);
    turn();
    expect(fetched).toEqual(new Set(['commands/0', 'in/0']));
    expect(taken).toHaveLength(2 * SLICE);
  });

  it('goes on where the partition is read from elsewhere', () => {
    ahead.start(0);
    onSlice = () => ahead.stop(0);
    ahead.push(batch('in', 0, 0, 4 * SLICE));
    ahead.drop('in', 0);
    expect(fetched).toEqual(new Set(['commands/0', 'in/0']));
  });
});
