import type pg from 'pg';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { appendChunks } from '../../src/journal/append.ts';
import { claimDeployment } from '../../src/journal/deployment.ts';
import { readFedEvents, readFedValues, settleFeeds } from '../../src/journal/feeds.ts';
import { openShards, settleShards } from '../../src/journal/open.ts';
import type { Chunk } from '../../src/model/chunk.ts';
import type { FeedKey, FeedMove } from '../../src/model/feed.ts';
import { createJournal } from '../support/journal.ts';
import { inputRecords } from '../support/records.ts';
import { fileScope } from '../support/scope.ts';

const t = fileScope();
let pool: pg.Pool;
let shard = 0;
let epoch = 0;
let number = 0;
let shardSeq = 0;

const EVENTS: FeedKey = { name: 'watch', source: 'event-sourced', entityType: 'carts' };
const VALUES: FeedKey = { name: 'watch', source: 'value', entityType: 'prices' };

beforeAll(async () => {
  pool = await createJournal(t);
  await claimDeployment(pool, 'd', 64);
});

beforeEach(async () => {
  shard++;
  number = 0;
  shardSeq = 0;
  epoch = await open();
  await settleShards(pool, { generation: 1, shards: [{ shard, epoch, fenced: [], applied: { in: 0n } }] });
});

async function open(): Promise<number> {
  const [opened] = await openShards(pool, { generation: 1, shards: [shard], transactionalId: 'a', whileLive: false });
  return opened?.epoch ?? 0;
}

const settle = (...feeds: FeedKey[]) => settleFeeds(pool, 1, [{ shard, epoch }], feeds);

async function append(more: Partial<Chunk>, by = epoch): Promise<boolean> {
  const events = more.events ?? [];
  const chunk: Chunk = {
    shard,
    epoch: by,
    number: number + 1,
    from: { in: BigInt(number) },
    to: { in: BigInt(number + 1) },
    firstShardSeq: shardSeq + 1,
    events,
    snapshots: [],
    values: [],
    revisions: [],
    deletions: [],
    outputs: [],
    keys: [],
    inputs: inputRecords(1),
    emittedThrough: 0,
    ...more,
  };
  const moved = await appendChunks(pool, 1, [{ chunk, outbox: Buffer.alloc(0) }], { outboxRetention: 0 });
  if (moved.has(shard)) {
    number++;
    shardSeq += events.length;
  }
  return moved.has(shard);
}

const event = (entity: string, seq: number, { bytes = 1, entityType = 'carts' } = {}) => ({
  entityType,
  entityId: `${entity}${shard}`,
  seq,
  typeUrl: 'u',
  payload: Buffer.alloc(bytes, 1),
  commandId: `in/0/${seq}`,
});
const value = (entity: string, revision: number, bytes: number | null = 1) => ({
  entityType: 'prices',
  entityId: `${entity}${shard}`,
  revision,
  commandId: `in/0/${revision}`,
  ...(bytes !== null && { typeUrl: 'u', payload: Buffer.alloc(bytes, 1) }),
});

describe('where feeds stand when a shard is opened', () => {
  it('is live where nothing was ever journaled, and stays so, whatever is journaled then', async () => {
    expect(await settle(EVENTS, VALUES)).toMatchObject([{ state: 'live' }, { state: 'live' }]);
    await append({ events: [event('a', 1)], values: [value('p', 1)] });
    epoch = await open();
    expect(await settle(EVENTS, VALUES)).toMatchObject([{ state: 'live' }, { state: 'live' }]);
  });

  it('is the beginning for one that the journal does not know', async () => {
    await append({ events: [event('a', 1)], values: [value('p', 1)] });
    expect(await settle(EVENTS, VALUES)).toEqual([
      { ...EVENTS, shard, state: 'catching-up', position: 0, through: 1, cursor: '' },
      { ...VALUES, shard, state: 'catching-up', position: -1, through: 1, cursor: '' },
    ]);
  });

  it('is where it was when the function had no such subscription for a while', async () => {
    await settle(EVENTS, VALUES);
    await append({ events: [event('a', 1), event('a', 2)], values: [value('p', 1)] });
    epoch = await open();
    expect(await settle()).toEqual([]);
    await append({ events: [event('a', 3)], values: [value('p', 2)] });
    epoch = await open();
    expect(await settle()).toEqual([]);
    epoch = await open();
    expect(await settle(EVENTS, VALUES)).toMatchObject([
      { state: 'catching-up', position: 2 },
      { state: 'catching-up', position: 1, through: 2, cursor: '' },
    ]);
  });

  it('is live again where nothing was journaled while it was away', async () => {
    await settle(EVENTS, VALUES);
    await append({ events: [event('a', 1)], values: [value('p', 1)] });
    epoch = await open();
    await settle();
    epoch = await open();
    expect(await settle(EVENTS, VALUES)).toMatchObject([{ state: 'live' }, { state: 'live' }]);
  });

  it('is for the owner alone to say', async () => {
    const former = epoch;
    await settle(EVENTS);
    epoch = await open();
    expect(await settleFeeds(pool, 1, [{ shard, epoch: former }], [])).toEqual([]);
    expect(await settle(EVENTS)).toMatchObject([{ state: 'live' }]);
  });
});

describe('a feed moves', () => {
  const move: FeedMove = { ...EVENTS, state: 'catching-up', position: 7, through: 1, cursor: '' };
  beforeEach(async () => {
    await append({ events: [event('a', 1)] });
    await settle(EVENTS);
  });

  it('with the chunk that has its commands, until it is live', async () => {
    expect(await append({ feedMove: move })).toBe(true);
    expect(await settle(EVENTS)).toMatchObject([{ state: 'catching-up', position: 7 }]);
    await append({ feedMove: { ...EVENTS, state: 'live', position: 9 } });
    expect(await settle(EVENTS)).toMatchObject([{ state: 'live' }]);
  });

  it('not with a chunk that another owner has taken the shard from', async () => {
    const former = epoch;
    epoch = await open();
    expect(await append({ feedMove: move }, former)).toBe(false);
    expect(await settle(EVENTS)).toMatchObject([{ position: 0 }]);
  });
});

describe('reading events', () => {
  const read = (after: number, through: number) =>
    readFedEvents(pool, 1, { shard, entityType: 'carts', after, through });

  it('brings those of one entity type in their order, of the part that is asked for', async () => {
    await append({ events: [event('a', 1), event('z', 1, { entityType: 'others' }), event('b', 1)] });
    await append({ events: [event('a', 2), event('b', 2)] });

    expect(await read(1, 4)).toEqual({
      isWhole: true,
      changes: [
        { entityId: `b${shard}`, number: 1, shardSeq: 3, commandId: 'in/0/1', typeUrl: 'u', payload: Buffer.from([1]) },
        { entityId: `a${shard}`, number: 2, shardSeq: 4, commandId: 'in/0/2', typeUrl: 'u', payload: Buffer.from([1]) },
      ],
    });
    expect(await read(5, 9)).toEqual({ isWhole: true, changes: [] });
  });

  it('brings no more than there is room for, and one at least', async () => {
    const bytes = 700_000;
    await append({
      events: [
        event('a', 1, { bytes: 2_000_000 }),
        event('a', 2, { bytes }),
        event('a', 3, { bytes }),
        event('a', 4, { bytes }),
      ],
    });
    const numbers = async (after: number) => {
      const { changes, isWhole } = await read(after, 4);
      return { isWhole, numbers: changes.map(({ number }) => number) };
    };

    expect(await numbers(0)).toEqual({ isWhole: false, numbers: [1] });
    expect(await numbers(1)).toEqual({ isWhole: false, numbers: [2, 3] });
    expect(await numbers(3)).toEqual({ isWhole: true, numbers: [4] });
  });

  it('leaves out what a deletion has made void, once it is due', async () => {
    const deletion = (cleanupAfterMs: number, entity: string) => ({ ...event(entity, 1), seq: 1, cleanupAfterMs });
    await append({ events: [event('a', 1), event('b', 1)], deletions: [deletion(0, 'a'), deletion(3_600_000, 'b')] });
    await append({ events: [event('a', 2)] });

    const { changes } = await read(0, 3);
    expect(changes.map(({ entityId, number: seq }) => [entityId, seq])).toEqual([
      [`b${shard}`, 1],
      [`a${shard}`, 2],
    ]);
  });
});

describe('reading values', () => {
  const read = (after: number, through: number, cursor = '') =>
    readFedValues(pool, 1, { shard, entityType: 'prices', after, through, cursor });

  it('brings what the given chunks were the last to write, deletions too, by entity', async () => {
    await append({ values: [value('a', 1), value('b', 1), value('c', 1)] });
    await append({ values: [value('b', 2, null)] });
    await append({ values: [value('a', 2)] });
    const found = async (...asked: Parameters<typeof read>) =>
      (await read(...asked)).changes.map(({ entityId, number: revision, typeUrl }) => [
        entityId.charAt(0),
        revision,
        typeUrl,
      ]);

    expect(await found(-1, 3)).toEqual([
      ['a', 2, 'u'],
      ['b', 2, undefined],
      ['c', 1, 'u'],
    ]);
    expect(await found(1, 2)).toEqual([['b', 2, undefined]]);
    expect(await found(-1, 3, `b${shard}`)).toEqual([['c', 1, 'u']]);
  });

  it('brings no more than there is room for, and says so', async () => {
    await append({ values: Array.from({ length: 600 }, (_, i) => value(`v${String(i).padStart(3, '0')}-`, 1)) });
    const first = await read(-1, 1);
    expect(first).toMatchObject({ isWhole: false });
    expect(first.changes).toHaveLength(500);
    const rest = await read(-1, 1, first.changes.at(-1)?.entityId);
    expect(rest).toMatchObject({ isWhole: true });
    expect(rest.changes).toHaveLength(100);
  });
});
