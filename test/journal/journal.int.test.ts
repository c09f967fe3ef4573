import pg from 'pg';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { appendChunks } from '../../src/journal/append.ts';
import { claimDeployment } from '../../src/journal/deployment.ts';
import { loadHeads, loadTails, loadValues } from '../../src/journal/load.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { heldShards, type OpenedShard, openShards, releaseShard, settleShards } from '../../src/journal/open.ts';
import { readOutbox } from '../../src/journal/outbox.ts';
import type { Chunk, JournalEvent } from '../../src/model/chunk.ts';
import { createJournal } from '../support/journal.ts';
import { createDatabase } from '../support/postgres.ts';
import { inputRecords } from '../support/records.ts';
import { fileScope } from '../support/scope.ts';

const t = fileScope();
let pool: pg.Pool;
let shard = 0;

beforeAll(async () => {
  pool = await createJournal(t);
});

beforeEach(() => {
  shard++;
});

async function open(transactionalId: string, applied = { in: 10n }): Promise<OpenedShard> {
  const [opened] = await openShards(pool, { generation: 1, shards: [shard], transactionalId, whileLive: false });
  if (opened === undefined) throw new Error('no row came back');
  if (Object.keys(opened.applied).length > 0) return opened;
  await settleShards(pool, { generation: 1, shards: [{ shard, epoch: opened.epoch, fenced: [], applied }] });
  return { ...opened, applied };
}

function chunk(opened: OpenedShard, more: Partial<Chunk> = {}): Chunk {
  return {
    shard,
    epoch: opened.epoch,
    number: 1,
    from: { in: 10n },
    to: { in: 12n },
    firstShardSeq: 1,
    events: [],
    snapshots: [],
    values: [],
    revisions: [],
    deletions: [],
    outputs: [],
    inputs: inputRecords(2),
    keys: [],
    emittedThrough: 0,
    ...more,
  };
}

const event = (seq: number, text = `${seq}`): JournalEvent => ({
  entityType: 'cart',
  entityId: `c${shard}`,
  seq,
  typeUrl: 'type.googleapis.com/shop.Added',
  payload: Buffer.from(text),
  commandId: 'in/0/1',
});

async function eventCount(): Promise<number> {
  const result = await pool.query<{ n: number }>('select count(*) as n from event where shard = $1', [shard]);
  return result.rows[0]?.n ?? -1;
}

describe('journaling a chunk', () => {
  it('writes events, snapshot, value, deletion, outbox and positions in one go', async () => {
    const opened = await open('a');
    const key = { entityType: 'cart', entityId: `c${shard}` };
    const moved = await appendChunks(
      pool,
      1,
      [
        {
          chunk: chunk(opened, {
            events: [event(1), event(2, '\0binary\xff')],
            snapshots: [{ ...key, seq: 2, typeUrl: 'snap', payload: Buffer.from('S') }],
            values: [{ ...key, revision: 1, typeUrl: 'val', payload: Buffer.from('V'), commandId: 'in/0/1' }],
          }),
          outbox: Buffer.from('OUT'),
        },
      ],
      { outboxRetention: 0 },
    );
    expect(moved).toEqual(new Set([shard]));
    expect(await loadHeads(pool, 1, [key, { entityType: 'cart', entityId: 'new' }])).toEqual([
      { seq: 2, snapshot: { seq: 2, payload: { typeUrl: 'snap', value: Buffer.from('S') } }, voidThrough: 0 },
      { seq: 0, snapshot: undefined, voidThrough: 0 },
    ]);
    const [tail] = await loadTails(pool, 1, [{ key, after: 0, through: 2 }]);
    expect(tail?.map((e) => [e.seq, e.payload.value.toString()])).toEqual([
      [1, '1'],
      [2, Buffer.from('\0binary\xff').toString()],
    ]);
    expect(await loadValues(pool, 1, [key])).toEqual([
      { revision: 1, payload: { typeUrl: 'val', value: Buffer.from('V') } },
    ]);
    expect(await readOutbox(pool, 1, shard, 0)).toEqual([
      { shard, chunk: 1, positions: { in: 12n }, records: Buffer.from('OUT'), at: expect.any(Number) },
    ]);
    const [again] = await openShards(pool, { generation: 1, shards: [shard], transactionalId: 'a', whileLive: false });
    expect(again).toMatchObject({ epoch: opened.epoch + 1, applied: { in: 12n }, chunk: 1, shardSeq: 2 });
  });

  it('refuses an owner whose epoch has passed, and writes nothing of its chunk', async () => {
    const old = await open('a');
    await open('b');
    expect(
      await appendChunks(pool, 1, [{ chunk: chunk(old, { events: [event(1)] }), outbox: Buffer.from('x') }], {
        outboxRetention: 0,
      }),
    ).toEqual(new Set());
    expect(await eventCount()).toBe(0);
    expect(await readOutbox(pool, 1, shard, 0)).toEqual([]);
  });

  it('refuses a chunk that does not start where the journal ends', async () => {
    const opened = await open('a');
    const first = { chunk: chunk(opened, { events: [event(1)] }), outbox: Buffer.alloc(0) };
    await appendChunks(pool, 1, [first], { outboxRetention: 0 });
    expect(await appendChunks(pool, 1, [first], { outboxRetention: 0 })).toEqual(new Set());
    expect(await eventCount()).toBe(1);
  });

  it('moves the shards that are ours even when another of the same transaction is not', async () => {
    const mine = await open('a');
    const mineNumber = shard++;
    const lost = await open('a');
    await open('b');
    const moved = await appendChunks(
      pool,
      1,
      [
        { chunk: { ...chunk(mine), shard: mineNumber }, outbox: Buffer.alloc(0) },
        { chunk: chunk(lost, { events: [event(1)] }), outbox: Buffer.alloc(0) },
      ],
      { outboxRetention: 0 },
    );
    expect(moved).toEqual(new Set([mineNumber]));
    expect(await eventCount()).toBe(0);
  });

  it('never writes a sequence of an entity twice, whatever the positions say', async () => {
    const opened = await open('a');
    await appendChunks(pool, 1, [{ chunk: chunk(opened, { events: [event(1)] }), outbox: Buffer.alloc(0) }], {
      outboxRetention: 0,
    });
    const next = chunk(opened, { number: 2, from: { in: 12n }, to: { in: 13n }, firstShardSeq: 2, events: [event(1)] });
    await expect(
      appendChunks(pool, 1, [{ chunk: next, outbox: Buffer.alloc(0) }], { outboxRetention: 0 }),
    ).rejects.toMatchObject({
      code: '23505',
    });
  });

  it('removes the outbox rows that Kafka is known to have', async () => {
    const opened = await open('a');
    await appendChunks(pool, 1, [{ chunk: chunk(opened), outbox: Buffer.from('1') }], { outboxRetention: 0 });
    const second = chunk(opened, { number: 2, from: { in: 12n }, to: { in: 13n }, emittedThrough: 1 });
    await appendChunks(pool, 1, [{ chunk: second, outbox: Buffer.from('2') }], { outboxRetention: 0 });
    expect((await readOutbox(pool, 1, shard, 0)).map((row) => row.chunk)).toEqual([2]);
  });

  it('keeps as many chunks that Kafka has as it is told to, through a release too', async () => {
    const opened = await open('a');
    const at = (number: number) => ({ in: BigInt(9 + number) });
    const append = (number: number) =>
      appendChunks(
        pool,
        1,
        [
          {
            chunk: chunk(opened, { number, from: at(number), to: at(number + 1), emittedThrough: number - 1 }),
            outbox: Buffer.from(`${number}`),
          },
        ],
        { outboxRetention: 2 },
      );
    const kept = async () => (await readOutbox(pool, 1, shard, 0)).map((row) => row.chunk);
    for (let number = 1; number <= 5; number++) await append(number);
    expect(await kept()).toEqual([3, 4, 5]);
    const { epoch } = opened;
    await releaseShard(pool, {
      generation: 1,
      shard,
      epoch,
      transactionalId: 'a',
      committed: at(6),
      emitted: 5,
      retention: 2,
    });
    expect(await kept()).toEqual([4, 5]);
    expect(await readOutbox(pool, 1, shard, 5)).toEqual([]);
  });

  it('counts the input records of a shard, and of each chunk that is kept', async () => {
    const opened = await open('a');
    await appendChunks(pool, 1, [{ chunk: chunk(opened), outbox: Buffer.alloc(0) }], { outboxRetention: 10 });
    const second = chunk(opened, { number: 2, from: { in: 12n }, to: { in: 20n }, inputs: inputRecords(5) });
    await appendChunks(pool, 1, [{ chunk: second, outbox: Buffer.alloc(0) }], { outboxRetention: 10 });
    const { rows } = await pool.query(
      `select records, counted_from, (select array_agg(inputs order by chunk) from outbox o where o.shard = s.shard) as inputs
       from shard s where shard = $1`,
      [shard],
    );
    expect(rows).toEqual([{ records: 7, counted_from: { in: '10' }, inputs: [2, 5] }]);
  });

  it('deletes an event sourced entity when its time has come: what went before counts no more', async () => {
    const opened = await open('a');
    const key = { entityType: 'cart', entityId: `c${shard}` };
    await appendChunks(
      pool,
      1,
      [
        {
          chunk: chunk(opened, {
            events: [event(1), event(2)],
            snapshots: [{ ...key, seq: 1, typeUrl: 's', payload: Buffer.alloc(1) }],
            deletions: [{ ...key, seq: 2, cleanupAfterMs: 0 }],
          }),
          outbox: Buffer.alloc(0),
        },
      ],
      { outboxRetention: 0 },
    );
    expect(await loadHeads(pool, 1, [key])).toEqual([{ seq: 2, snapshot: undefined, voidThrough: 2 }]);
  });

  it('keeps a first life away from the second one, which asks for its deletion in its turn', async () => {
    const opened = await open('a');
    const key = { entityType: 'cart', entityId: `c${shard}` };
    const deleted = async (number: number, cleanupAfterMs: number): Promise<number | undefined> => {
      const at = (n: number) => ({ in: 10n + BigInt(n) });
      const more = { number, from: at(number - 1), to: at(number), firstShardSeq: number };
      const changes = { events: [event(number)], deletions: [{ ...key, seq: number, cleanupAfterMs }] };
      const given = { chunk: chunk(opened, { ...more, ...changes }), outbox: Buffer.alloc(0) };
      await appendChunks(pool, 1, [given], { outboxRetention: 0 });
      return (await loadHeads(pool, 1, [key]))[0]?.voidThrough;
    };
    expect(await deleted(1, 0)).toBe(1);
    expect(await deleted(2, 3_600_000)).toBe(1);
    expect(await deleted(3, 3_600_000)).toBe(1);
    expect(await deleted(4, 0)).toBe(4);
  });
});

describe('owning a shard', () => {
  it('remembers every owner until it is fenced or releases', async () => {
    await open('a');
    await open('b');
    const third = await open('c');
    expect(third.others).toEqual(['a', 'b']);
    expect(await heldShards(pool, { generation: 1, shards: [shard], transactionalId: 'd' })).toEqual([
      { shard, owners: ['a', 'b', 'c'] },
    ]);
    expect(
      await settleShards(pool, {
        generation: 1,
        shards: [{ shard, epoch: third.epoch, fenced: ['a', 'b'], applied: { in: 10n } }],
      }),
    ).toEqual([shard]);
    const fourth = await open('d');
    expect(fourth.others).toEqual(['c']);
  });

  it('cannot be settled by an owner whose epoch has passed', async () => {
    const old = await open('a');
    await open('b');
    expect(
      await settleShards(pool, {
        generation: 1,
        shards: [{ shard, epoch: old.epoch, fenced: [], applied: { in: 999n } }],
      }),
    ).toEqual([]);
  });

  it('leaves nobody to fence after a clean release, and hands on what was committed, once', async () => {
    const opened = await open('a');
    await appendChunks(pool, 1, [{ chunk: chunk(opened), outbox: Buffer.from('1') }], { outboxRetention: 0 });
    const release = {
      generation: 1,
      shard,
      epoch: opened.epoch,
      transactionalId: 'a',
      committed: { in: 12n },
      emitted: 1,
      retention: 0,
    };
    await releaseShard(pool, release);
    expect(await readOutbox(pool, 1, shard, 0)).toEqual([]);
    const next = await open('b');
    expect(next).toMatchObject({ others: [], released: { in: 12n }, emitted: 1 });
    expect((await open('c')).released).toBeUndefined();
    await releaseShard(pool, release);
    expect((await open('d')).others).toEqual(['b', 'c']);
  });

  it('knows an id that opened the shard before and did not release it cleanly', async () => {
    const opened = await open('a');
    await open('b');
    // Too late: the shard is another one's.
    const release = { generation: 1, shard, transactionalId: 'a', committed: { in: 10n }, emitted: 0, retention: 0 };
    await releaseShard(pool, { ...release, epoch: opened.epoch });
    const again = await open('a');
    expect(again).toMatchObject({ unreleased: true, others: ['b'] });
    await releaseShard(pool, { ...release, epoch: again.epoch });
    expect(await open('a')).toMatchObject({ unreleased: false, others: ['b'] });
  });
});

describe('the schema', () => {
  it('is brought up by several processes at once', async () => {
    const fresh = await createDatabase(t);
    await Promise.all([1, 2, 3].map(() => migrate({ url: fresh, schema: 's' })));
  });

  it('belongs to one deployment with one number of shards', async () => {
    expect(await claimDeployment(pool, 'mine', 8)).toEqual({ name: 'mine', shards: 8, generation: 1 });
    await expect(claimDeployment(pool, 'yours', 8)).rejects.toMatchObject({ code: 'JOURNAL_FOREIGN' });
    await expect(claimDeployment(pool, 'mine', 12)).rejects.toMatchObject({ code: 'TOPIC_PARTITIONS' });
  });

  it('of a later version is refused, by the name of its migration', async () => {
    const fresh = await createDatabase(t);
    await migrate({ url: fresh, schema: 's' });
    const client = new pg.Client({ connectionString: fresh });
    await client.connect();
    await client.query("insert into s.migration (name, run_on) values ('0099_future', now())");
    await client.end();
    await expect(migrate({ url: fresh, schema: 's' })).rejects.toThrow('0099_future');
  });
});
