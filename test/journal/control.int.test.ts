import type pg from 'pg';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { appendChunks } from '../../src/journal/append.ts';
import { loadControls, loadOperations, loadParked } from '../../src/journal/control.ts';
import { loadMarks, markDropped, requestRetry } from '../../src/journal/dead-letters.ts';
import { claimDeployment } from '../../src/journal/deployment.ts';
import { openShards, settleShards } from '../../src/journal/open.ts';
import { findDeployment, outcomes, request } from '../../src/journal/operations.ts';
import type { Chunk } from '../../src/model/chunk.ts';
import type { ControlWrites, ParkedCommand } from '../../src/model/control.ts';
import { createJournal } from '../support/journal.ts';
import { inputRecords } from '../support/records.ts';
import { fileScope } from '../support/scope.ts';

const t = fileScope();
let pool: pg.Pool;
let shard = 0;
let epoch = 0;
let number = 0;

beforeAll(async () => {
  pool = await createJournal(t);
  await claimDeployment(pool, 'd', 64);
});

beforeEach(async () => {
  shard++;
  number = 0;
  epoch = await open();
  await settleShards(pool, { generation: 1, shards: [{ shard, epoch, fenced: [], applied: { in: 0n } }] });
});

async function open(): Promise<number> {
  const [opened] = await openShards(pool, { generation: 1, shards: [shard], transactionalId: 'a', whileLive: false });
  return opened?.epoch ?? 0;
}

const key = () => ({ entityType: 'carts', entityId: `c${shard}` });
const parked = (chunk: number, ordinal: number, bytes = 3): ParkedCommand => ({
  key: key(),
  place: { chunk, ordinal },
  commandId: `in/0/${chunk}${ordinal}`,
  record: Buffer.alloc(bytes, 7),
});
const control = (state: 'paused' | 'resuming', released?: ParkedCommand['place']) => ({
  key: key(),
  state,
  reason: 'r',
  by: 'jo',
  since: 1_700_000_000_123,
  released,
});

/** Journals the next chunk; whether the shard moved. */
async function append(writes: Partial<ControlWrites>, by = epoch): Promise<boolean> {
  const chunk: Chunk = {
    shard,
    epoch: by,
    number: number + 1,
    from: { in: BigInt(number) },
    to: { in: BigInt(number + 1) },
    firstShardSeq: 1,
    events: [],
    snapshots: [],
    values: [],
    revisions: [],
    deletions: [],
    outputs: [],
    keys: [],
    inputs: inputRecords(1),
    emittedThrough: 0,
    control: { parked: [], unparked: [], controls: [], freed: [], done: [], ...writes },
  };
  const moved = await appendChunks(pool, 1, [{ chunk, outbox: Buffer.alloc(0) }], { outboxRetention: 0 });
  if (moved.has(shard)) number++;
  return moved.has(shard);
}

const places = async () => (await loadParked(pool, 1, key())).map(({ place }) => place);

describe('what a chunk writes of paused entities', () => {
  it('is there when it has moved its shard, in order, and found by the next owner', async () => {
    await append({ controls: [control('paused')], parked: [parked(1, 1), parked(1, 0)] });
    await append({ parked: [parked(2, 0)] });
    expect(await loadParked(pool, 1, key())).toEqual([parked(1, 0), parked(1, 1), parked(2, 0)]);
    expect(await loadControls(pool, 1, [shard])).toEqual([
      { ...control('paused'), shard, parked: 3, first: { chunk: 1, ordinal: 0 } },
    ]);
    await append({
      controls: [control('resuming', { chunk: 1, ordinal: 1 })],
      unparked: [parked(1, 0).place, parked(1, 1).place],
    });
    expect(await loadControls(pool, 1, [shard])).toEqual([
      { ...control('resuming', { chunk: 1, ordinal: 1 }), shard, parked: 1, first: { chunk: 2, ordinal: 0 } },
    ]);
    await append({ freed: [key()], unparked: [parked(2, 0).place] });
    expect(await loadControls(pool, 1, [shard])).toEqual([]);
    expect(await places()).toEqual([]);
  });

  it('is nothing at all when another process has opened the shard', async () => {
    const id = await request(pool, 1, { kind: 'pause', key: key(), shard, reason: '', by: 'jo' });
    await append({ controls: [control('paused')], parked: [parked(1, 0)] });
    await open();
    const late = {
      parked: [parked(2, 0)],
      unparked: [parked(1, 0).place],
      freed: [key()],
      done: [{ id, outcome: 'x' }],
    };
    expect(await append(late)).toBe(false);
    expect(await places()).toEqual([parked(1, 0).place]);
    expect(await loadControls(pool, 1, [shard])).toHaveLength(1);
    expect((await outcomes(pool, [id])).size).toBe(0);
  });

  it('is read a bounded number of bytes at a time, and at least one command', async () => {
    const large = 1_500_000;
    await append({ controls: [control('paused')], parked: [0, 1, 2].map((n) => parked(1, n, large)) });
    expect(await places()).toHaveLength(2);
    expect(await loadParked(pool, 1, key(), 1)).toHaveLength(1);
  });
});

describe('what operators ask for', () => {
  it('is read in order by the owner of the shard alone, until it is done', async () => {
    const first = await request(pool, 1, { kind: 'pause', key: key(), shard, reason: 'why', by: 'jo' });
    const second = await request(pool, 1, { kind: 'shard-skip', shard, reason: '', by: 'jo' });
    expect(await loadOperations(pool, 1, [shard + 1])).toEqual([]);
    expect(await loadOperations(pool, 1, [shard])).toEqual([
      { id: first, kind: 'pause', key: key(), shard, reason: 'why', by: 'jo' },
      { id: second, kind: 'shard-skip', shard, reason: '', by: 'jo' },
    ]);
    await append({ done: [{ id: first, outcome: 'paused' }] });
    expect((await loadOperations(pool, 1, [shard])).map(({ id }) => id)).toEqual([second]);
    expect(await outcomes(pool, [first, second])).toEqual(new Map([[first, 'paused']]));
  });

  it('is refused where the journal is another deployment’s', async () => {
    expect(await findDeployment(pool, 'd')).toEqual({ generation: 1, shards: 64 });
    await expect(findDeployment(pool, 'other')).rejects.toMatchObject({ code: 'JOURNAL_FOREIGN' });
  });
});

describe('a dead letter', () => {
  const place = () => ({ topic: 'dead', partition: shard, offset: 9_007_199_254_740_000n, written: 5 });
  const retry = (again: boolean) =>
    requestRetry(pool, 1, { place: place(), shard, record: Buffer.from('R'), by: 'jo', reason: '', again });
  const states = async () =>
    (await loadMarks(pool, 'dead')).filter(({ place: at }) => at.partition === shard).map(({ state }) => state);

  it('is marked and asked to be put back together, once', async () => {
    const asked = await Promise.all([retry(false), retry(false)]);
    const [id] = asked.filter((one) => one !== undefined);
    expect(asked).toContain(undefined);
    expect(await loadOperations(pool, 1, [shard])).toEqual([
      { id, kind: 'retry', shard, record: Buffer.from('R'), reason: '', by: 'jo' },
    ]);
    expect(await states()).toEqual(['retrying']);
    expect(await markDropped(pool, place(), 'jo')).toBe(false);
    await append({ done: [{ id: id ?? 0, outcome: 'put back' }] });
    expect(await states()).toEqual(['retried']);
    expect(await loadOperations(pool, 1, [shard])).toEqual([]);
    expect(await retry(false)).toBeUndefined();
    expect(await retry(true)).toBeGreaterThan(id ?? 0);
  });

  it('is dropped once, and is another one where it was written at another time', async () => {
    expect(await markDropped(pool, place(), 'jo')).toBe(true);
    expect(await markDropped(pool, place(), 'jo')).toBe(false);
    expect(await markDropped(pool, { ...place(), written: 6 }, 'jo')).toBe(true);
    expect((await loadMarks(pool, 'dead')).find((mark) => mark.place.partition === shard)?.place).toEqual(place());
  });
});
