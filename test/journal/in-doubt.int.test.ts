import type pg from 'pg';
import { beforeAll, expect, it } from 'vitest';
import { appendChunks } from '../../src/journal/append.ts';
import { readInDoubt } from '../../src/journal/in-doubt.ts';
import { openShards, releaseShard, settleShards } from '../../src/journal/open.ts';
import { readOutbox } from '../../src/journal/outbox.ts';
import type { Chunk } from '../../src/model/chunk.ts';
import { createJournal } from '../support/journal.ts';
import { inputRecords } from '../support/records.ts';
import { fileScope } from '../support/scope.ts';

const t = fileScope();
let pool: pg.Pool;

beforeAll(async () => {
  pool = await createJournal(t);
});

async function open(shard: number, transactionalId: string): Promise<number> {
  const [opened] = await openShards(pool, { generation: 1, shards: [shard], transactionalId, whileLive: false });
  const epoch = opened?.epoch ?? 0;
  if (epoch === 1) await settleShards(pool, { generation: 1, shards: [{ shard, epoch, fenced: [], applied: at(0) }] });
  return epoch;
}

const at = (number: number) => ({ in: BigInt(number * 10) });

async function journal(
  shard: number,
  epoch: number,
  number: number,
  emittedThrough: number,
  outboxRetention = 0,
): Promise<boolean> {
  const chunk: Chunk = {
    shard,
    epoch,
    number,
    from: at(number - 1),
    to: at(number),
    firstShardSeq: 1,
    events: [],
    snapshots: [],
    values: [],
    revisions: [],
    deletions: [],
    outputs: [],
    inputs: inputRecords(1),
    keys: [],
    emittedThrough,
  };
  const given = [{ chunk, outbox: Buffer.from(`chunk ${number}`) }];
  return (await appendChunks(pool, 1, given, { outboxRetention })).has(shard);
}

it('is what the shards of an id have emitted for sure, though the rows are gone, and the rows after that', async () => {
  const epoch = await open(1, 'x');
  for (const [number, emitted] of [
    [1, 0],
    [2, 0],
    [3, 2],
    [4, 2],
  ] as const)
    await journal(1, epoch, number, emitted);
  await open(2, 'x');
  await open(3, 'another');
  // Somebody is about to take the shard over.
  await open(1, 'successor');

  const { owned } = await readInDoubt(pool, 1, 'x');
  expect(owned).toMatchObject([
    {
      shard: 1,
      emitted: at(2),
      rows: [
        { chunk: 3, positions: at(3) },
        { chunk: 4, positions: at(4) },
      ],
    },
    { shard: 2, emitted: undefined, rows: [] },
  ]);
  expect(owned[0]?.rows.map(({ records }) => String(records))).toEqual(['chunk 3', 'chunk 4']);
  expect(Math.abs(Date.now() - (owned[0]?.rows[0]?.at ?? 0))).toBeLessThan(60_000);
});

it('has the rows that count as emitted, too, and says so: their commit may have been lost since', async () => {
  const epoch = await open(7, 'kept');
  for (const [number, emitted] of [
    [1, 0],
    [2, 0],
    [3, 2],
  ] as const)
    await journal(7, epoch, number, emitted, 100);
  const { owned } = await readInDoubt(pool, 1, 'kept');
  expect(owned[0]?.rows.map(({ chunk, isEmitted }) => [chunk, isEmitted])).toEqual([
    [1, true],
    [2, true],
    [3, false],
  ]);
  const [opened] = await openShards(pool, { generation: 1, shards: [7], transactionalId: 'next', whileLive: false });
  expect(opened).toMatchObject({ emitted: 2, emittedTo: at(2) });

  // What a generation did before it took over was never published, and never is.
  await pool.query('update shard set held_chunk = 1 where shard = 7');
  expect((await readInDoubt(pool, 1, 'kept')).owned[0]?.rows.map(({ chunk }) => chunk)).toEqual([2, 3]);
  expect((await readOutbox(pool, 1, 7, 0)).map(({ chunk }) => chunk)).toEqual([2, 3]);
});

it('does not change afterwards: a shard that only the id owns takes no more chunks of it, others stay as they are', async () => {
  const epoch = await open(4, 'paused');
  await journal(4, epoch, 1, 0);
  const others = await open(5, 'lively');
  await journal(5, others, 1, 0);
  await readInDoubt(pool, 1, 'paused');
  expect(await journal(4, epoch, 2, 1)).toBe(false);
  expect(await journal(5, others, 2, 1)).toBe(true);
});

it('has what clean releases noted, whoever has opened the shard since', async () => {
  const epoch = await open(6, 'gone');
  await journal(6, epoch, 1, 0);
  const release = {
    generation: 1,
    shard: 6,
    epoch,
    transactionalId: 'gone',
    committed: at(1),
    emitted: 1,
    retention: 0,
  };
  await releaseShard(pool, release);
  await open(6, 'died while it opened');
  const { owned, released } = await readInDoubt(pool, 1, 'gone');
  expect(owned).toEqual([]);
  expect(released).toEqual([{ shard: 6, emitted: at(1) }]);
});
