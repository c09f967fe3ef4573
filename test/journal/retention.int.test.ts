import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type pg from 'pg';
import { beforeEach, describe, expect, it } from 'vitest';
import { retention } from '../../src/commands/retention.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { loadHeads, loadTails } from '../../src/journal/load.ts';
import { lockRetention } from '../../src/journal/retention.ts';
import { applyRetention, forecastRetention } from '../../src/retention.ts';
import { checkSequences } from '../../src/verify/check-sequences.ts';
import { viewJournal } from '../../src/verify/journal.ts';
import { startCli } from '../support/cli-process.ts';
import { compiled } from '../support/compiled.ts';
import { createJournal, SCHEMA } from '../support/journal.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope } from '../support/scope.ts';

type Rules = Config['journal']['retention'];

const file = fileScope();
const url = await createDatabase(file);
const pool = await createJournal(file, url);
const DAY = 86_400_000;
const EVENT_BYTES = 10;
const ALL: Rules = [{ what: 'events', maxAgeMs: DAY }];
const steps = { begin: () => undefined, count: () => undefined, say: () => undefined };

/** Ten old chunks and two of now, each with an event of each entity; all of one shard. `a` has a snapshot, `b` has none. */
beforeEach(async () => {
  const tables =
    'deployment, function_version, generation, shard, event, snapshot, chunk, outbox, input, feed, removed, deletion';
  await pool.query(`truncate ${tables} cascade`);
  await pool.query("insert into deployment (name, shards) values ('d', 1)");
  await pool.query(
    `insert into function_version values ('v', 'f', 'kalix', 'sdk', '', '[{"kind":"event-sourced","service":"shop.Carts","entityType":"carts"},{"kind":"event-sourced","service":"shop.Users","entityType":"users"}]')`,
  );
  await pool.query(
    `insert into shard (generation, shard, epoch, applied, counted_from, chunk, emitted, shard_seq, records)
     values (1, 0, 1, '{"in":"12"}', '{"in":"0"}', 12, 12, 24, 12)`,
  );
  await pool.query(
    `insert into chunk (generation, shard, chunk, positions, shard_seq, records, at)
     select 1, 0, n, jsonb_build_object('in', n::text), n * 2, 1, now() - case when n <= 10 then interval '2 days' else interval '0' end
     from generate_series(1, 12) n`,
  );
  await pool.query(
    `insert into event (generation, entity_type, entity_id, seq, shard, shard_seq, epoch, type_url, payload, command_id)
     select 1, 'carts', e.id, n, 0, n * 2 - e.place, 1, 't/x', decode(repeat('aa', ${EVENT_BYTES}), 'hex'), 'in/0/' || n - 1
     from generate_series(1, 12) n cross join (values ('a', 1), ('b', 0)) as e(id, place)`,
  );
  await pool.query(
    `insert into snapshot (generation, entity_type, entity_id, seq, type_url, payload) values (1, 'carts', 'a', 11, 't/s', '')`,
  );
});

const forecast = async (rules: Rules = ALL) => {
  const client = await pool.connect();
  try {
    return await forecastRetention(client, 1, rules);
  } finally {
    client.release();
  }
};

async function apply(rules: Rules = ALL) {
  const removed: Record<string, number> = {};
  const isFree = await applyRetention(pool, {
    generation: 1,
    rules,
    onRemoved({ kind, entityType }, { rows }) {
      const name = `${kind} ${entityType}`.trim();
      removed[name] = (removed[name] ?? 0) + rows;
    },
    signal: new AbortController().signal,
  });
  return { isFree, removed };
}

const seqsOf = async (entityId: string) =>
  (
    await pool.query<{ seq: number }>(
      "select seq from event where entity_type = 'carts' and entity_id = $1 order by 1",
      [entityId],
    )
  ).rows.map(({ seq }) => seq);

async function faults(): Promise<string[]> {
  const view = await viewJournal(pool as pg.Pool);
  if (view === undefined) throw new Error('there is no deployment');
  try {
    const shards = new Map((await view.shards()).map((row) => [row.shard, row]));
    return (await checkSequences(view, { shards, steps })).findings.map(({ what, where }) => `${what}: ${where}`);
  } finally {
    await view.close();
  }
}

describe('events', () => {
  it('go below the snapshot where they are old enough, and what stays of them is what was foretold', async () => {
    const { forecasts } = await forecast();
    expect(forecasts).toEqual([
      {
        kind: 'events',
        entityType: 'carts',
        removable: { rows: 10, bytes: 10 * EVENT_BYTES },
        heldBack: [{ why: 'its entity has no snapshot', rows: 10, bytes: 10 * EVENT_BYTES }],
      },
    ]);
    expect(await seqsOf('a')).toHaveLength(12);
    expect(await apply()).toEqual({ isFree: true, removed: { 'events carts': 10 } });
    expect(await seqsOf('a')).toEqual([11, 12]);
    expect(await seqsOf('b')).toHaveLength(12);
    expect(await apply()).toEqual({ isFree: true, removed: {} });
    expect((await forecast()).removed).toMatchObject([
      { shard: 0, kind: 'events', entityType: 'carts', through: 19, rows: 10, bytes: 10 * EVENT_BYTES },
    ]);
  });

  it('the snapshot’s own one stays, so that the entity still has its head', async () => {
    await pool.query("update chunk set at = now() - interval '2 days'");
    await pool.query("update snapshot set seq = 12 where entity_id = 'a'");
    await apply();
    expect(await seqsOf('a')).toEqual([12]);
    const key = { entityType: 'carts', entityId: 'a' };
    const [head] = await loadHeads(pool, 1, [key]);
    expect(head).toMatchObject({ seq: 12, snapshot: { seq: 12 }, removedThrough: 11 });
    expect(await loadTails(pool, 1, [{ key, after: 12, through: 12 }])).toEqual([[]]);
  });

  it('of a command stay together', async () => {
    await pool.query("update event set command_id = 'in/0/8' where entity_id = 'a' and seq between 9 and 11");
    const { forecasts } = await forecast();
    expect(forecasts[0]).toMatchObject({
      removable: { rows: 8 },
      heldBack: expect.arrayContaining([
        expect.objectContaining({ rows: 2, why: 'it is of a command whose last events stay' }),
      ]),
    });
    expect((await apply()).removed).toEqual({ 'events carts': 8 });
    expect(await seqsOf('a')).toEqual([9, 10, 11, 12]);
  });

  it('go by size, the newest bytes of the shard are kept', async () => {
    // Of the 24 events of 10 bytes the newest 8 are kept.
    expect((await apply([{ what: 'events', component: 'carts', maxBytesPerShard: 85 }])).removed).toEqual({
      'events carts': 8,
    });
    expect(await seqsOf('a')).toEqual([9, 10, 11, 12]);
  });

  it('are kept for a component that no entry names, and a rule by service is for its type', async () => {
    expect((await apply([{ what: 'events', component: 'users', maxAgeMs: DAY }])).removed).toEqual({});
    expect((await apply([{ what: 'events', component: 'shop.Carts', maxAgeMs: DAY }])).removed).toEqual({
      'events carts': 10,
    });
  });

  it('are refused for a component that there never was', async () => {
    await expect(apply([{ what: 'events', component: 'cart', maxAgeMs: DAY }])).rejects.toThrow(
      /names the component "cart", and the function never had one with events of that name: it has carts, users/,
    );
  });

  it('wait for a feed that has not been given them, and it is said', async () => {
    await pool.query("insert into feed values (1, 'watch', 'event-sourced', 'carts', 0, 'catching-up', 6, 0, '')");
    await pool.query("insert into feed values (1, 'other', 'event-sourced', 'users', 0, 'away', 0, 0, '')");
    const { forecasts } = await forecast();
    expect(forecasts[0]).toMatchObject({
      removable: { rows: 3 },
      heldBack: expect.arrayContaining([
        expect.objectContaining({ rows: 7, why: 'the feed "watch" has not been given it yet' }),
      ]),
    });
    await apply();
    expect(await seqsOf('a')).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12]);
    await pool.query("update feed set state = 'live', position = 24");
    await apply();
    expect(await seqsOf('a')).toEqual([11, 12]);
  });

  it('wait for the outbox and for a generation that is compared with them', async () => {
    await pool.query("insert into outbox (generation, shard, chunk, positions, records) values (1, 0, 8, '{}', '')");
    await pool.query(
      `insert into generation (generation, name, source, mode, state, options) values (2, 'g2', 1, 'isolated', 'complete', '{}')`,
    );
    await pool.query(
      `insert into shard (generation, shard, applied, counted_from) values (2, 0, '{"in":"12"}', '{"in":"3"}')`,
    );
    const { forecasts } = await forecast();
    expect(forecasts[0]).toMatchObject({
      removable: { rows: 3 },
      heldBack: expect.arrayContaining([
        expect.objectContaining({ rows: 3, why: expect.stringMatching(/^the outbox has the outputs/) }),
        expect.objectContaining({ rows: 4, why: expect.stringMatching(/^generation "g2" is compared with it/) }),
      ]),
    });
    await apply();
    expect(await seqsOf('a')).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  it('are known as removed, and others that are missing are still damage', async () => {
    expect(await faults()).toEqual([]);
    await apply();
    expect(await faults()).toEqual([]);
    await pool.query("delete from event where entity_id = 'b' and seq = 2");
    expect(await faults()).toEqual([
      'the event sequence has a gap: carts "b"',
      'the events that are not there are not those that retention has removed: shard 0, up to event 19',
    ]);
    await pool.query("delete from event where entity_id = 'a' and seq = 12");
    expect(await faults()).toContain("the shard's sequence has a gap: shard 0");
  });
});

describe('inputs and outputs', () => {
  beforeEach(async () => {
    await pool.query(
      `insert into input select 1, 0, n, decode(repeat('bb', 100), 'hex'), now() from generate_series(1, 12) n`,
    );
    await pool.query(
      `insert into outbox (generation, shard, chunk, positions, records)
       select 1, 0, n, '{}', decode(repeat('cc', 50), 'hex') from generate_series(3, 12) n`,
    );
  });
  const chunksOf = async (table: 'input' | 'outbox') =>
    (await pool.query<{ chunk: number }>(`select chunk from ${table} order by chunk`)).rows.map(({ chunk }) => chunk);

  it('go by age and by size, outputs only when Kafka is known to have them', async () => {
    await pool.query('update shard set emitted = 6');
    const rules: Rules = [
      { what: 'inputs', maxBytesPerShard: 350 },
      { what: 'outputs', maxAgeMs: DAY },
    ];
    expect((await forecast(rules)).forecasts).toEqual([
      {
        kind: 'outputs',
        entityType: '',
        removable: { rows: 4, bytes: 200 },
        heldBack: [{ why: 'Kafka is not known to have it yet', rows: 4, bytes: 200 }],
      },
      { kind: 'inputs', entityType: '', removable: { rows: 9, bytes: 900 }, heldBack: [] },
    ]);
    expect((await apply(rules)).removed).toEqual({ inputs: 9, outputs: 4 });
    expect(await chunksOf('input')).toEqual([10, 11, 12]);
    expect(await chunksOf('outbox')).toEqual([7, 8, 9, 10, 11, 12]);
  });

  it('changes of values go by age and by size, and the present ones stay', async () => {
    await pool.query(`
      insert into value (generation, entity_type, entity_id, revision, shard, epoch, type_url, payload, command_id, chunk)
        values (1, 'boxes', 'b', 12, 0, 1, 't', 'now', 'in/0/11', 12);
      insert into value_revision (generation, entity_type, entity_id, revision, shard, chunk, type_url, payload, command_id)
        select 1, 'boxes', 'b', n, 0, n, case when n % 2 = 0 then 't' end, case when n % 2 = 0 then decode(repeat('dd', 20), 'hex') end, 'in/0/' || n
        from generate_series(1, 12) n;
    `);
    const rules: Rules = [{ what: 'values', maxBytesPerShard: 50 }];
    expect((await forecast(rules)).forecasts).toEqual([
      { kind: 'values', entityType: '', removable: { rows: 8, bytes: 80 }, heldBack: [] },
    ]);
    expect((await apply(rules)).removed).toEqual({ values: 8 });
    const kept = await pool.query<{ revision: number }>('select revision from value_revision order by 1');
    expect(kept.rows.map(({ revision }) => revision)).toEqual([9, 10, 11, 12]);
    expect((await apply([{ what: 'values', maxAgeMs: DAY }])).removed).toEqual({ values: 2 });
    expect((await pool.query('select revision from value')).rows).toEqual([{ revision: 12 }]);
    expect((await forecast(rules)).removed).toMatchObject([{ kind: 'values', rows: 10, through: 10 }]);
  });

  it('inputs wait for the generation that is to be promoted again, from where it stands', async () => {
    await pool.query(
      `insert into generation (generation, name, source, mode, state, options) values (2, 'g2', 1, 'cascade', 'retired', '{}')`,
    );
    await pool.query(`insert into shard (generation, shard, applied, counted_from) values (2, 0, '{"in":"5"}', '{}')`);
    const rules: Rules = [{ what: 'inputs', maxAgeMs: DAY }];
    expect((await forecast(rules)).forecasts[0]?.heldBack).toEqual([
      { why: expect.stringMatching(/^generation "g2" needs it to be promoted again/), rows: 5, bytes: 500 },
    ]);
    await apply(rules);
    expect(await chunksOf('input')).toEqual([6, 7, 8, 9, 10, 11, 12]);
  });
});

it('one process at a time removes something', async () => {
  const other = await pool.connect();
  try {
    expect(await lockRetention(other)).toBe(true);
    expect(await apply()).toEqual({ isFree: false, removed: {} });
    expect(await seqsOf('a')).toHaveLength(12);
  } finally {
    other.release(true);
  }
});

it('a removal that is stopped has noted what it has removed, and gives its lock back', async () => {
  const stop = new AbortController();
  const ended = applyRetention(pool, {
    generation: 1,
    rules: ALL,
    onRemoved: () => stop.abort(),
    signal: stop.signal,
  });
  await expect(ended).rejects.toThrow(/aborted/);
  expect(await faults()).toEqual([]);
  await expect.poll(async () => (await apply()).isFree).toBe(true);
});

describe('the command', () => {
  const rules: Rules = [...ALL, { what: 'outputs', maxAgeMs: DAY }];
  beforeEach(async () => {
    await pool.query(
      `insert into outbox (generation, shard, chunk, positions, records)
       select 1, 0, n, '{}', decode(repeat('cc', 50), 'hex') from generate_series(1, 12) n`,
    );
  });

  /** What it prints and ends with; it is stopped with `stop`. */
  async function run(dryRun: boolean, stop = new AbortController()) {
    const { config } = loadConfig({
      argvFlags: {},
      env: {
        KAFKA_BROKERS: '127.0.0.1:1',
        DATABASE_URL: url,
        STATEFERRY_POSTGRES_SCHEMA: SCHEMA,
        STATEFERRY_DEPLOYMENT_NAME: 'd',
      },
      cwd: '/',
      readFile: () => undefined,
    });
    const out: string[] = [];
    const err: string[] = [];
    const io = {
      out: { write: (text: string) => void out.push(text) },
      err: { write: (text: string) => void err.push(text) },
      signal: stop.signal,
    };
    const journal = { ...config.journal, retention: rules };
    const code = await retention({ ...config, journal }, { dryRun, json: false }, io);
    // Where it takes long, there are lines about how far it is, too.
    return { code, out: out.join(''), err: /^Stopped: .*$/m.exec(err.join(''))?.[0] };
  }
  const left = async () => [
    ...(await seqsOf('a')),
    ...(await pool.query<{ chunk: number }>('select chunk from outbox order by 1')).rows.map(({ chunk }) => chunk),
  ];

  /** Stops it when it waits for rows of a table that are locked here, and lets it have them. */
  async function stopAt(table: 'outbox' | 'event', dryRun = false) {
    const client = await pool.connect();
    try {
      const stop = new AbortController();
      await client.query(`begin; lock table ${table} in ${dryRun ? 'access exclusive' : 'exclusive'} mode`);
      const ended = run(dryRun, stop);
      const waiting = 'select 1 from pg_locks where not granted and relation = $1::regclass';
      await expect.poll(async () => (await pool.query(waiting, [table])).rowCount).toBe(1);
      stop.abort();
      // What is only counted is cancelled, and does not wait for this.
      if (dryRun) return await ended;
      await client.query('commit');
      return await ended;
    } finally {
      await client.query('rollback');
      client.release();
    }
  }

  it('that is stopped at its work says what it has removed, and the next one comes to the end that one would have', async () => {
    expect(await stopAt('outbox')).toEqual({
      code: 1,
      out: '',
      err: 'Stopped: 10 outputs removed. The same command goes on there.',
    });
    expect(await left()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 11, 12]);
    expect(await faults()).toEqual([]);

    expect(await run(false)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/events +carts +10 +100\n/),
    });
    expect(await left()).toEqual([11, 12, 11, 12]);
    expect(await faults()).toEqual([]);
    expect((await forecast(rules)).removed).toMatchObject([
      { kind: 'events', entityType: 'carts', rows: 10, through: 19 },
      { kind: 'outputs', rows: 10, through: 10 },
    ]);
  });

  it('that is killed at its work has noted what it has removed, and another one removes the rest', async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'stateferry-retention-'));
    file.onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const env = {
      KAFKA_BROKERS: '127.0.0.1:1',
      DATABASE_URL: url,
      STATEFERRY_POSTGRES_SCHEMA: SCHEMA,
      STATEFERRY_DEPLOYMENT_NAME: 'd',
      STATEFERRY_JOURNAL_RETENTION: JSON.stringify(rules),
    };
    const program = await compiled(file);
    const start = () => startCli(t, { compiled: program, argv: ['journal', 'retention'], cwd: folder, env });
    const client = await pool.connect();
    const locks = async (which: string) => (await pool.query(`select 1 from pg_locks where ${which}`)).rowCount;
    try {
      await client.query('begin; lock table event in exclusive mode');
      const killed = start();
      const waiting = "not granted and relation = 'event'::regclass";
      await expect.poll(() => locks(waiting), { timeout: 20_000 }).toBe(1);
      killed.kill('SIGKILL');
      await killed.exited;
      expect(await left()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 11, 12]);
      await client.query('commit');
    } finally {
      await client.query('rollback');
      client.release();
    }
    // The database ends what it was at, as a whole or not at all, and gives its lock back.
    await expect.poll(() => locks("locktype = 'advisory'"), { timeout: 20_000 }).toBe(0);
    expect(await faults()).toEqual([]);

    const next = start();
    expect(await next.exited).toBe(0);
    expect(next.output()).toMatch(/WHAT +COMPONENT +GONE +BYTES\n/);
    expect(next.output()).toMatch(/Removed so far: 10 events of carts up to event 19 of shard 0/);
    expect(next.output()).toMatch(/Removed so far: 10 outputs up to chunk 10 of shard 0/);
    expect(await left()).toEqual([11, 12, 11, 12]);
    expect(await faults()).toEqual([]);
  });

  it('that is stopped before has removed nothing, and what it counts is cancelled', async () => {
    const nothing = { code: 1, out: '', err: 'Stopped: nothing removed. The same command goes on there.' };
    expect(await stopAt('event', true)).toEqual(nothing);
    const stopped = new AbortController();
    stopped.abort();
    expect(await run(false, stopped)).toEqual(nothing);
    expect(await left()).toHaveLength(24);
  });
});
