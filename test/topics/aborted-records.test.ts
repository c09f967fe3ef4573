import { expect, it } from 'vitest';
import { type FetchedPartition, type FetchedRecord, hideAborted } from '../../src/topics/aborted-records.ts';

const ABORT = Buffer.from([0, 0, 0, 0]);
const COMMIT = Buffer.from([0, 0, 0, 1]);

/** A record of `producer`, or the marker that ends its transaction. */
function record(offset: number, producer: number, key: Buffer | null = null, isControlRecord = false): FetchedRecord {
  const batchContext = { producerId: String(producer), inTransaction: producer >= 0 };
  return { offset: String(offset), key, isControlRecord, batchContext };
}
const marker = (offset: number, producer: number, key: Buffer) => record(offset, producer, key, true);

/** Offsets that a reader gets. */
function read(messages: FetchedRecord[], aborted: readonly (readonly [producer: number, first: number])[]): number[] {
  const abortedTransactions = aborted.map(([producer, first]) => ({
    producerId: String(producer),
    firstOffset: String(first),
  }));
  const partition: FetchedPartition = { messages, abortedTransactions };
  hideAborted(partition);
  expect(partition.abortedTransactions).toEqual([]);
  return messages.filter(({ isControlRecord }) => !isControlRecord).map(({ offset }) => Number(offset));
}

it('a fetch that begins inside two aborted transactions gives away neither', () => {
  // Producer 7 has 290, producer 5 has 291; the reader had gone past 290.
  const fetched = [record(291, 5), record(292, 9), marker(299, 7, ABORT), marker(300, 5, ABORT), record(301, 5)];
  expect(
    read(fetched, [
      [7, 290],
      [5, 291],
    ]),
  ).toEqual([292, 301]);
});

it('of two aborted transactions the one that began first may end last', () => {
  const fetched = [
    record(10, 1),
    record(11, 2),
    marker(12, 2, ABORT),
    record(13, 1),
    marker(14, 1, ABORT),
    record(15, 2),
  ];
  expect(
    read(fetched, [
      [2, 11],
      [1, 10],
    ]),
  ).toEqual([15]);
});

it('one producer may abort, commit and abort', () => {
  const fetched = [
    record(0, 1),
    marker(1, 1, ABORT),
    record(2, 1),
    marker(3, 1, COMMIT),
    record(4, 1),
    marker(5, 1, ABORT),
    record(6, -1),
  ];
  expect(
    read(fetched, [
      [1, 0],
      [1, 4],
    ]),
  ).toEqual([2, 6]);
});

it('a record whose key looks like an abort marker is none', () => {
  const fetched = [record(0, 1), record(1, 1, ABORT), record(2, 1), marker(3, 1, ABORT)];
  expect(read(fetched, [[1, 0]])).toEqual([]);
});

it('without aborted transactions nothing is changed', () => {
  const partition: FetchedPartition = { messages: [record(0, 1)], abortedTransactions: null };
  hideAborted(partition);
  expect(partition).toEqual({ messages: [record(0, 1)], abortedTransactions: null });
});
