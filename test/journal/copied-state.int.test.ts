import { beforeEach, describe, expect, it } from 'vitest';
import { beginCopy, type CopyOptions, copyEvents } from '../../src/journal/copied-state.ts';
import { readGenerations, removeGeneration, workOnGeneration } from '../../src/journal/generations.ts';
import { readHolds } from '../../src/journal/retention-holds.ts';
import { createJournal } from '../support/journal.ts';
import { fileScope } from '../support/scope.ts';

const pool = await createJournal(fileScope());
/** More than are copied at once. */
const EVENTS = 12_000;

/**
 * One shard, whose chunk n has the event n of its entity: of "a" up to 100, then of others. The generation begins behind chunk
 * 11,000, which was an hour ago.
 */
beforeEach(async () => {
  await pool.query(
    'truncate deployment, generation, shard, event, snapshot, value, value_revision, chunk, feed, removed, deletion, idempotency_key',
  );
  await pool.query(`
    insert into deployment (name, shards) values ('d', 1);
    insert into shard (generation, shard, epoch, applied, counted_from, chunk, emitted, shard_seq, records)
      values (1, 0, 3, '{"in":"${EVENTS}"}', '{"in":"0"}', ${EVENTS}, ${EVENTS}, ${EVENTS}, ${EVENTS});
    insert into chunk (generation, shard, chunk, positions, shard_seq, records, at)
      select 1, 0, n, jsonb_build_object('in', n::text), n, 1, now() - interval '1 hour' + (n - 11000) * interval '1 second' from generate_series(1, ${EVENTS}) n;
    insert into event (generation, entity_type, entity_id, seq, shard, shard_seq, epoch, type_url, payload, command_id)
      select 1, 'carts', case when n <= 100 then 'a' else 'e' || n / 100 end, case when n <= 100 then n else n % 100 + 1 end, 0, n, 3, 't/x', decode(repeat('aa', n % 5), 'hex'), 'in/0/' || n - 1
      from generate_series(1, ${EVENTS}) n;
  `);
});

const START = 11_000;
const rows = async (sql: string) => (await pool.query(sql)).rows;

function options(more: Partial<CopyOptions> = {}): CopyOptions {
  return {
    wanted: {
      name: 'g2',
      source: 1,
      mode: 'isolated',
      functionUrl: undefined,
      options: { from: 'then', state: 'live' },
    },
    starts: new Map([[0, { chunk: START, positions: { in: BigInt(START) } }]]),
    entityTypes: undefined,
    onRows: () => undefined,
    signal: new AbortController().signal,
    ...more,
  };
}

const eventsOf = (generation: number) =>
  rows(
    `select entity_type, entity_id, seq, shard, shard_seq, encode(payload, 'hex') as payload, command_id, at
     from event where generation = ${generation} and shard_seq <= ${START} order by shard_seq`,
  );

describe('a copy', () => {
  it('has the events up to where it begins, some at a time; it is run when it is whole, and goes on where it was stopped', async () => {
    const made = await beginCopy(pool, options());
    expect(made).toMatchObject({ generation: 2, state: 'copying' });
    const stop = new AbortController();
    const { signal } = stop;
    await expect(copyEvents(pool, made, { onRows: () => stop.abort(), signal })).rejects.toThrow();
    expect(await rows('select shard_seq from shard where generation = 2')).toEqual([{ shard_seq: 5_000 }]);
    await expect(workOnGeneration(pool, 'g2', { follow: false })).rejects.toThrow('does not have all of the state yet');
    const client = await pool.connect();
    const holds = await readHolds(client, 1, []);
    client.release();
    expect(holds).toContainEqual(
      expect.objectContaining({ kind: 'events', through: 0, why: expect.stringContaining('a copy of it') }),
    );

    // Two go on with it.
    await Promise.all([copyEvents(pool, made, options()), copyEvents(pool, made, options())]);
    expect(await readGenerations(pool)).toMatchObject([{ name: 'g2', state: 'running' }]);
    expect(await eventsOf(2)).toEqual(await eventsOf(1));
    expect(await rows('select count(*) as count, max(epoch) as epoch from event where generation = 2')).toEqual([
      { count: START, epoch: 0 },
    ]);
    expect(await rows('select chunk, shard_seq, applied, counted_from from shard where generation = 2')).toEqual([
      { chunk: 0, shard_seq: START, applied: { in: String(START) }, counted_from: { in: String(START) } },
    ]);
    await expect(beginCopy(pool, options())).rejects.toThrow('there is a generation "g2" already');
  });

  it('of one that is discarded meanwhile ends', async () => {
    const made = await beginCopy(pool, options());
    await removeGeneration(pool, made.generation);
    await expect(copyEvents(pool, made, options())).rejects.toThrow('generation "g2" was discarded');
    expect(await rows('select 1 from event where generation = 2')).toEqual([]);
  });

  it('that is stopped while it begins leaves nothing', async () => {
    const stop = new AbortController();
    await expect(beginCopy(pool, options({ onRows: () => stop.abort(), signal: stop.signal }))).rejects.toThrow();
    for (const table of ['generation', 'shard', 'chunk', 'value']) {
      expect(await rows(`select 1 from ${table} where generation = 2`)).toEqual([]);
    }
  });

  it('has snapshots and values that are no newer, and none of what came later', async () => {
    await pool.query(`
      insert into snapshot (generation, entity_type, entity_id, seq, type_url, payload, removed_through)
        values (1, 'carts', 'a', 90, 's', '', 80), (1, 'carts', 'e110', 1, 's', '', 0), (1, 'carts', 'e115', 50, 's', '', 0);
      delete from event where entity_id = 'a' and seq <= 80;
      insert into removed values (1, 0, 'events', 'carts', 80, 80, 800), (1, 0, 'inputs', '', 80, 80, 800);
      insert into value (generation, entity_type, entity_id, revision, shard, epoch, type_url, payload, command_id, chunk)
        values (1, 'boxes', 'old', 7, 0, 3, 't', 'x', 'in/0/4', ${START}), (1, 'boxes', 'gone', 2, 0, 3, null, null, 'in/0/4', 5),
               (1, 'boxes', 'new', 1, 0, 3, 't', 'y', 'in/0/11500', 11501);
    `);
    await copyEvents(pool, await beginCopy(pool, options()), options());
    expect(await rows('select entity_id, seq, removed_through from snapshot where generation = 2 order by 1')).toEqual([
      { entity_id: 'a', seq: 90, removed_through: 80 },
      { entity_id: 'e110', seq: 1, removed_through: 0 },
    ]);
    expect(
      await rows('select entity_id, revision, epoch, type_url, chunk from value where generation = 2 order by 1'),
    ).toEqual([
      { entity_id: 'gone', revision: 2, epoch: 0, type_url: null, chunk: 0 },
      { entity_id: 'old', revision: 7, epoch: 0, type_url: 't', chunk: 0 },
    ]);
    expect(await rows('select kind, entity_type, through, rows from removed where generation = 2')).toEqual([
      { kind: 'events', entity_type: 'carts', through: 80, rows: 80 },
    ]);
    expect(await eventsOf(2)).toEqual(await eventsOf(1));
  });

  it('is refused where a value has changed since, or retention has removed what a state is made of, unless its component is left out', async () => {
    await pool.query(`
      insert into value (generation, entity_type, entity_id, revision, shard, epoch, type_url, payload, command_id, chunk)
        values (1, 'boxes', 'b', 2, 0, 3, 't', 'x', 'in/0/11500', 11501), (1, 'boxes', 'c', 9, 0, 3, 't', 'x', 'in/0/11500', 11501);
      insert into snapshot (generation, entity_type, entity_id, seq, type_url, payload, removed_through) values (1, 'carts', 'e115', 50, 's', '', 3);
    `);
    await expect(beginCopy(pool, options())).rejects.toThrow(
      '2 values have changed since where the generation is to begin, such as "b" of boxes',
    );
    await expect(beginCopy(pool, options({ entityTypes: ['carts'] }))).rejects.toThrow(
      'retention has removed events of 1 entities, such as "e115" of carts',
    );
    expect(await readGenerations(pool)).toEqual([]);
    await beginCopy(pool, options({ entityTypes: ['users'] }));
  });

  it('has what values were then, where all their changes since are kept', async () => {
    // The last change of "b" and "d" before it is 2 and none; of "g" it is not known, since 3 was not kept.
    await pool.query(`
      insert into value (generation, entity_type, entity_id, revision, shard, epoch, type_url, payload, command_id, chunk)
        select 1, 'boxes', e, r, 0, 3, 't', 'x'::bytea, 'in/0/11500', 11501 from (values ('b', 4), ('d', 2), ('g', 4)) v(e, r);
      insert into value_revision (generation, entity_type, entity_id, revision, shard, chunk, type_url, payload, command_id)
        select 1, 'boxes', e, r, 0, c, t, ('was' || r)::bytea, 'in/0/' || c - 1 from (values
          ('b', 1, 7, 't'), ('b', 2, 10999, null), ('b', 3, 11001, 't'), ('b', 4, 11501, 't'),
          ('d', 1, 11001, 't'), ('d', 2, 11501, 't'), ('g', 2, 10999, 't'), ('g', 4, 11501, 't')) v(e, r, c, t);
    `);
    await expect(beginCopy(pool, options())).rejects.toThrow(
      '1 values have changed since where the generation is to begin, such as "g" of boxes',
    );
    await pool.query("delete from value where entity_id = 'g'");
    await beginCopy(pool, options());
    expect(
      await rows('select entity_id, revision, type_url, command_id, chunk from value where generation = 2 order by 1'),
    ).toEqual([{ entity_id: 'b', revision: 2, type_url: null, command_id: 'in/0/10998', chunk: 0 }]);
  });

  it('has the deletions of before and those that were void, keys as old as they were then, and feeds where they stood', async () => {
    const at = `now() - interval '1 hour'`;
    await pool.query(`
      insert into deletion (generation, entity_type, entity_id, seq, due_at, void_through, chunk, void_chunk) values
        (1, 'carts', 'a', 100, ${at} + interval '5 minutes', 0, 101, 0),
        (1, 'carts', 'e1', 100, ${at} - interval '5 minutes', 40, 300, 250),
        (1, 'carts', 'e2', 100, ${at} + interval '9 minutes', 40, 11500, 260),
        (1, 'carts', 'e3', 100, ${at} + interval '9 minutes', 0, 11500, 0),
        (1, 'carts', 'e4', 100, ${at} - interval '9 minutes', 0, 0, 0),
        (1, 'carts', 'e115', 50, ${at} + interval '9 minutes', 0, 0, 0);
      insert into idempotency_key (generation, shard, key, command_id, at) values
        (1, 0, 'k1', 'in/0/1', ${at} - interval '1 minute'), (1, 0, 'k2', 'in/0/11500', now());
      insert into feed (generation, name, source, entity_type, shard, state, position, through, cursor) values
        (1, 'live', 'event-sourced', 'carts', 0, 'live', 7, 0, ''), (1, 'behind', 'event-sourced', 'carts', 0, 'catching-up', 70, 0, ''),
        (1, 'left', 'event-sourced', 'carts', 0, 'away', 11500, 0, ''), (1, 'values', 'value', 'boxes', 0, 'away', 70, 0, '');
    `);
    await beginCopy(pool, options());
    expect(
      await rows(`select entity_id, seq, void_through, round(extract(epoch from due_at - now()) / 60)::int as minutes
                  from deletion where generation = 2 order by 1`),
    ).toEqual([
      { entity_id: 'a', seq: 100, void_through: 0, minutes: 5 },
      { entity_id: 'e1', seq: 100, void_through: 40, minutes: -5 },
      { entity_id: 'e2', seq: 40, void_through: 40, minutes: 0 },
      { entity_id: 'e4', seq: 100, void_through: 0, minutes: -9 },
    ]);
    expect(
      await rows(
        "select convert_from(key, 'UTF8') as key, round(extract(epoch from now() - at) / 60)::int as minutes from idempotency_key where generation = 2",
      ),
    ).toEqual([{ key: 'k1', minutes: 1 }]);
    expect(await rows('select name, state, position from feed where generation = 2 order by 1')).toEqual([
      { name: 'behind', state: 'catching-up', position: 70 },
      { name: 'left', state: 'live', position: START },
      { name: 'live', state: 'live', position: 7 },
      { name: 'values', state: 'away', position: -1 },
    ]);
  });
});
