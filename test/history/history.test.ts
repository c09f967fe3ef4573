import { expect, it } from 'vitest';
import { encodeInputOrder } from '../../src/codec/input-order.ts';
import { History } from '../../src/history/history.ts';
import type { HistoryChunk } from '../../src/journal/chunks.ts';
import type { InputRecord, Positions } from '../../src/model/record.ts';

/** A chunk of records of these topics, in this order. */
function chunkOf(chunk: number, positions: Positions, topics: readonly string[], parked: readonly number[] = []) {
  const order = encodeInputOrder(
    Object.keys(positions),
    topics.map((topic) => ({ topic })),
  );
  const inputOrder = order && Buffer.from(order);
  return { chunk, positions, records: topics.length, inputOrder, parked, inputs: undefined, at: new Date(0) };
}

/**
 * What is read of these chunks, as topic/offset, from these positions on. The shard began with no topic but `in`, at 0. The topics that `logs`
 * names hold as many records; others are not there.
 */
async function read(chunks: readonly HistoryChunk[], from: Positions, logs: Readonly<Record<string, number>>) {
  const done = new AbortController();
  const history = new History({
    until: () => undefined,
    store: {
      async chunks(_shard, after, limit) {
        const page = chunks.filter(({ chunk }) => chunk > after).slice(0, limit);
        if (page.length === 0) done.abort();
        return page;
      },
      lastWithin: async () => 0,
      positionsAfter: async () => ({ in: 0n }),
    },
    logs: {
      async *read({ topic, partition, from: first, to }) {
        const records: InputRecord[] = [];
        if (logs[topic] === undefined) throw new Error(`"${topic}" is not there`);
        for (let offset = first; offset < to && offset < BigInt(logs[topic]); offset++)
          records.push({ topic, partition, offset, key: null, value: null, headers: {}, timestamp: 0 });
        yield records;
      },
    },
  });
  const seen: string[] = [];
  try {
    for await (const { records } of history.read({ shard: 0, from }, done.signal)) {
      for (const record of records)
        seen.push(`${record.topic}/${record.offset}${history.wasParked(record) ? ' parked' : ''}`);
    }
  } catch (error) {
    if (!done.signal.aborted) throw error;
  }
  return seen;
}

it('gives records of several topics in the order in which they were applied', async () => {
  const chunks = [
    chunkOf(1, { in: 2n, other: 1n }, ['in', 'other', 'in']),
    chunkOf(2, { in: 2n, other: 3n }, ['other', 'other']),
  ];
  expect(await read(chunks, {}, { in: 2, other: 3 })).toEqual(['in/0', 'other/0', 'in/1', 'other/1', 'other/2']);
});

it('does not read what is wanted by nobody, of a topic that is not there any more', async () => {
  const chunks = [
    chunkOf(1, { in: 2n, gone: 2n }, ['gone', 'in', 'gone', 'in'], [3]),
    chunkOf(2, { in: 2n, gone: 3n }, ['gone']),
    chunkOf(3, { in: 3n, gone: 3n }, ['in']),
  ];
  expect(await read(chunks, { gone: 3n }, { in: 3 })).toEqual(['in/0', 'in/1 parked', 'in/2']);
  await expect(read(chunks, { gone: 2n }, { in: 3 })).rejects.toThrow('"gone" is not there');
});

it('knows of which topic a chunk is, though the shard has got another one with it', async () => {
  const chunks = [chunkOf(1, { in: 1n, later: 7n }, ['in']), chunkOf(2, { in: 1n, later: 8n }, ['later'])];
  expect(await read(chunks, {}, { in: 1, later: 8 })).toEqual(['in/0', 'later/7']);
});

it('tells which records are missing', async () => {
  const chunks = [chunkOf(1, { in: 3n }, ['in', 'in', 'in'])];
  await expect(read(chunks, {}, { in: 2 })).rejects.toThrow('does not have all records of the offsets 0 to 2 any more');
});
