import { expect, it } from 'vitest';
import { endBatch } from '../../src/topics/batch-ends.ts';

/** A batch that began with these offsets' first and ended with `last`, and has those of them that compaction left. */
function batchOf(first: number, last: number, left: readonly number[]) {
  return {
    firstOffset: String(first),
    lastOffsetDelta: last - first,
    maxTimestamp: '1700000000000',
    producerId: '7',
    records: left.map((offset) => ({ offset: String(offset), isControlRecord: false })),
  };
}
const offsets = (batch: ReturnType<typeof batchOf>) =>
  batch.records.map(({ offset, isControlRecord }) => (isControlRecord ? `passes ${offset}` : offset));

it.each([
  ['a whole one', batchOf(10, 12, [10, 11, 12]), ['10', '11', '12']],
  ['one that lacks records before its last', batchOf(10, 12, [12]), ['12']],
  ['one that lacks its last', batchOf(10, 12, [10]), ['10', 'passes 12']],
  ['one that lacks all', batchOf(10, 12, []), ['passes 12']],
])('a batch ends where it ended before it was compacted: %s', (_, batch, expected) => {
  endBatch(batch);
  expect(offsets(batch)).toEqual(expected);
});

it('what stands for its end is passed over like a control record, and says whose batch it was', () => {
  const batch = batchOf(10, 12, []);
  endBatch(batch);
  expect(batch.records).toEqual([
    {
      offset: '12',
      key: null,
      value: null,
      headers: {},
      timestamp: '1700000000000',
      isControlRecord: true,
      batchContext: { firstOffset: '10', lastOffsetDelta: 2, maxTimestamp: '1700000000000', producerId: '7' },
    },
  ]);
});
