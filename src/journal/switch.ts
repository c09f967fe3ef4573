import type pg from 'pg';
import type { Positions } from '../model/record.ts';
import { endEmission, holdOutputs, noteEmission } from './held-outputs.ts';
import { positionsFromJson, positionsToJson } from './positions.ts';

/** Keeps input from outside away from the generation that serves, for so long; false: it is not this one any more. */
export async function holdInput(pool: pg.Pool, generation: number, ms: number): Promise<boolean> {
  const { rowCount } = await pool.query(
    `update deployment set held_until = now() + $2 * interval '1 millisecond' where live_generation = $1`,
    [generation, ms],
  );
  return rowCount === 1;
}

/** Lets input in again. */
export async function releaseInput(pool: pg.Pool): Promise<void> {
  await pool.query('update deployment set held_until = null');
}

/** Entities of the generation that operators or failure policies keep from their commands. */
export async function countPausedEntities(pool: pg.Pool, generation: number): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'select count(*) as count from entity_control where generation = $1',
    [generation],
  );
  return rows[0]?.count ?? 0;
}

/**
 * Puts one generation in the place of another, in one transaction. Nothing happens, and the answer is false, unless the
 * one that serves still stands exactly where `rest` says, and the other one has applied exactly as much.
 *
 * From its commit on, processes of the old one can journal nothing (its epochs have grown) and open nothing
 * (openShards, `whileLive`). Whoever opens a shard of the new one fences their transactional ids first.
 */
export async function switchGenerations(
  pool: pg.Pool,
  options: {
    readonly from: number;
    readonly to: number;
    /** Name of the one that served, where it has none yet, and where its function is. */
    readonly retiredName: string;
    readonly retiredUrl: string;
    readonly rest: ReadonlyMap<number, Positions>;
    /** The command topic of the generation that is to serve: its own no longer. */
    readonly madeCommands: string;
    /** Where what differs of its outputs of the past is to be published; undefined: nowhere. */
    readonly emitTo: string | undefined;
  },
): Promise<boolean> {
  const { from, to, rest, madeCommands, emitTo } = options;
  const client = await pool.connect();
  let done = false;
  try {
    await client.query('begin');
    const live = await client.query('select 1 from deployment where live_generation = $1 for update', [from]);
    const { rows } = await client.query<{
      generation: number;
      shard: number;
      applied: Record<string, string>;
      counted_from: Record<string, string>;
      owners: string[];
    }>(
      'select generation, shard, applied, counted_from, owners from shard where generation = any($1) order by generation, shard for update',
      [[from, to]],
    );
    const of = (generation: number) => rows.filter((row) => row.generation === generation);
    const made = new Map(of(to).map((row) => [row.shard, row]));
    const stands = of(from).every(({ shard, applied }) => {
      const expected = positionsToJson(rest.get(shard) ?? {});
      const reached = positionsFromJson(made.get(shard)?.applied ?? {});
      const alike = Object.fromEntries(Object.keys(applied).map((topic) => [topic, reached[topic] ?? -1n]));
      return positionsToJson(positionsFromJson(applied)) === expected && positionsToJson(alike) === expected;
    });
    const isFree = of(to).every(({ owners }) => owners.length === 0);
    if (live.rowCount !== 1 || rows.length === 0 || !stands || !isFree) return false;
    // What is not published of the one that served is not published any more.
    await endEmission(client, from);
    if (emitTo !== undefined) {
      await holdOutputs(client, to, [...made.keys()]);
      const ranges = new Map(
        of(to).map((row) => {
          const range = { from: positionsFromJson(row.counted_from), to: rest.get(row.shard) ?? {} };
          return [row.shard, range] as const;
        }),
      );
      await noteEmission(client, { generation: to, source: from, topic: emitTo, ranges });
    }
    for (const { shard, applied, owners } of of(from)) {
      const own = made.get(shard)?.applied[madeCommands];
      const after = { ...applied, ...(own !== undefined && { [madeCommands]: own }) };
      await client.query(
        `update shard set epoch = epoch + 1, owners = '{}', applied = $3, released = $3, released_epoch = epoch + 1,
                emitted = chunk where generation = $1 and shard = $2`,
        [from, shard, JSON.stringify(after)],
      );
      // Counted anew: what it has applied so far, it has not applied as the one that serves.
      await client.query(
        `update shard set epoch = epoch + 1, owners = $4, applied = $3, released = null, counted_from = $3, records = 0,
                emitted = chunk, held_epoch = epoch, held_chunk = chunk where generation = $1 and shard = $2`,
        [to, shard, JSON.stringify(applied), owners],
      );
    }
    await client.query('update deployment set live_generation = $1, held_until = null', [to]);
    // Where its history begins, which `counted_from` says no longer; of one that serves again it is noted already.
    const began = Object.fromEntries([...made.values()].map((row) => [row.shard, row.counted_from]));
    await client.query(
      `update generation set state = 'live', goal = null, changed_at = now(), options = jsonb_build_object('began', $2::jsonb) || options
       where generation = $1`,
      [to, JSON.stringify(began)],
    );
    await client.query(
      `insert into generation (generation, name, source, mode, state, function_url, options)
       values ($1, $3, $2, 'cascade', 'retired', $4, '{"from": "its own beginning"}')
       on conflict (generation) do update set state = 'retired', source = excluded.source, goal = null, changed_at = now()`,
      [from, to, options.retiredName, options.retiredUrl],
    );
    await client.query('commit');
    done = true;
    return true;
  } finally {
    // One whose outcome is not known is closed, which ends its transaction.
    if (!done) await client.query('rollback').catch(() => undefined);
    client.release(!done);
  }
}

/** Whether the generation serves or has served: the first one, and one that was promoted. */
export async function hasServed(pool: pg.Pool, generation: number): Promise<boolean> {
  const { rows } = await pool.query(
    'select 1 where $1 = 1 union all select 1 from shard where generation = $1 and held_epoch > 0 limit 1',
    [generation],
  );
  return rows.length > 0;
}

/** Removes what a generation kept back while it was made, some at a time. */
export async function dropHeldOutputs(pool: pg.Pool, generation: number): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query(
      `delete from outbox where ctid in (
         select o.ctid from outbox o join shard s using (generation, shard)
         where o.generation = $1 and o.chunk <= s.emitted and s.records = 0 limit 500)`,
      [generation],
    );
    if (rowCount === 0) return;
  }
}
