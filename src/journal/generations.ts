import type pg from 'pg';
import { StateferryError } from '../errors.ts';
import type { Positions } from '../model/record.ts';
import { positionsToJson } from './positions.ts';

/**
 * Two ways to make history again:
 * - isolated: every entity gets the commands that history gave it, derived ones too;
 * - cascade: only what came from outside is given again; what entities send each other is made anew.
 */
export type GenerationMode = 'isolated' | 'cascade';

/**
 * copying: it is given the state that it begins with (copied-state.ts). running, paused, complete: it is being made. live,
 * retired: it serves, or did.
 */
export type GenerationState = 'copying' | 'running' | 'paused' | 'complete' | 'live' | 'retired' | 'discarded';

/** A generation beside the first one. */
export interface Generation {
  readonly generation: number;
  readonly name: string;
  /** The generation whose history it is made of. */
  readonly source: number;
  readonly mode: GenerationMode;
  readonly state: GenerationState;
  /** Where its function is; undefined: where the configuration says. */
  readonly functionUrl: string | undefined;
  readonly options: GenerationOptions;
  /** Last chunk of each of the source's shards that is given; undefined: all that comes. */
  readonly goal: ReadonlyMap<number, number> | undefined;
  readonly createdAt: Date;
}

/** As it was asked for. */
export interface GenerationOptions {
  /** Where in history it began, in the words of who asked. */
  readonly from: string;
  /** live: entities began with the state that the source's had there; absent: they were empty. */
  readonly state?: 'live';
  /** Services whose commands alone are given; absent: all. */
  readonly components?: readonly string[];
  /** Input records a second, of one process, at most; absent: as fast as it goes. */
  readonly perSecond?: number;
  /** Of one that serves or has served: where the input of each shard stood before its first chunk, by shard and topic (switch.ts). */
  readonly began?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

interface Row {
  generation: number;
  name: string;
  source: number;
  mode: GenerationMode;
  state: GenerationState;
  function_url: string | null;
  options: GenerationOptions;
  goal: Record<string, number> | null;
  created_at: Date;
}

/**
 * Makes a generation, its shards standing where history is to begin.
 * @throws StateferryError CONFIG_INVALID when there is one of that name.
 */
export async function createGeneration(
  db: Pick<pg.ClientBase, 'query'>,
  wanted: Pick<Generation, 'name' | 'source' | 'mode' | 'functionUrl' | 'options' | 'state'> & {
    readonly starts: ReadonlyMap<number, Positions>;
  },
): Promise<Generation> {
  const shards = [...wanted.starts];
  const { rows } = await db.query<Row>(
    `with made as (
       insert into generation (generation, name, source, mode, state, function_url, options)
       select greatest((select max(generation) from generation), (select live_generation from deployment), $2) + 1,
              $1, $2, $3, $8, $4, $5
       on conflict (name) do nothing returning *
     ), placed as (
       insert into shard (generation, shard, applied, counted_from)
       select made.generation, s.shard, s.applied, s.applied
       from made, unnest($6::int[], $7::jsonb[]) as s(shard, applied)
     )
     select * from made`,
    [
      wanted.name,
      wanted.source,
      wanted.mode,
      wanted.functionUrl ?? null,
      JSON.stringify(wanted.options),
      shards.map(([shard]) => shard),
      shards.map(([, positions]) => positionsToJson(positions)),
      wanted.state,
    ],
  );
  if (rows[0] !== undefined) return asGeneration(rows[0]);
  throw new StateferryError(
    'CONFIG_INVALID',
    `there is a generation "${wanted.name}" already: choose another name, or discard that one (\`stateferry reprocess discard ${wanted.name}\`).`,
  );
}

/** All generations but the first one, unless that has been replaced; the newest first. */
export async function readGenerations(pool: pg.Pool): Promise<Generation[]> {
  const { rows } = await pool.query<Row>('select * from generation order by generation desc');
  return rows.map(asGeneration);
}

/** @throws StateferryError CONFIG_INVALID when there is none of that name. */
export async function findGeneration(pool: pg.Pool, name: string): Promise<Generation> {
  const all = await readGenerations(pool);
  const found = all.find((generation) => generation.name === name);
  if (found !== undefined) return found;
  const names = all.map((generation) => generation.name);
  throw new StateferryError(
    'CONFIG_INVALID',
    `there is no generation "${name}"${names.length === 0 ? ': `stateferry reprocess start` makes one' : `, only ${names.join(', ')}`}.`,
  );
}

/** Moves a generation from one of `from` to `to`. False: it was in none of them. */
export async function setGenerationState(
  pool: pg.Pool,
  generation: number,
  from: readonly GenerationState[],
  to: GenerationState,
): Promise<boolean> {
  const { rowCount } = await pool.query(
    'update generation set state = $3, changed_at = now() where generation = $1 and state = any($2)',
    [generation, from, to],
  );
  return rowCount === 1;
}

/**
 * Somebody works on the generation: it is running, and is given what its source has journaled by now, or, to follow it,
 * all that comes. What is under way already keeps its goal. Answers the generation as it is then.
 * @throws StateferryError OPERATION_REFUSED for one that is no longer in the making.
 */
export async function workOnGeneration(
  pool: pg.Pool,
  name: string,
  options: { readonly follow: boolean },
): Promise<Generation> {
  const found = await findGeneration(pool, name);
  const { rows } = await pool.query<Row>(
    `update generation g
     set state = 'running', changed_at = now(),
         goal = case when $2 then null
                     when g.state in ('running', 'paused') and g.goal is not null then g.goal
                     else (select jsonb_object_agg(s.shard, s.chunk) from shard s where s.generation = g.source) end
     where g.generation = $1 and g.state in ('running', 'paused', 'complete')
     returning *`,
    [found.generation, options.follow],
  );
  if (rows[0] !== undefined) return asGeneration(rows[0]);
  if (found.state === 'copying') {
    throw new StateferryError(
      'OPERATION_REFUSED',
      `generation "${name}" does not have all of the state yet that it begins with: the \`stateferry reprocess start\` that began it goes on with that when it is given again.`,
    );
  }
  throw new StateferryError(
    'OPERATION_REFUSED',
    `generation "${name}" is ${found.state}: there is nothing to be made of it any more. Start another one.`,
  );
}

const TABLES = [
  'event',
  'snapshot',
  'value',
  'value_revision',
  'deletion',
  'outbox',
  'held_output',
  'emission',
  'chunk',
  'input',
  'removed',
  'idempotency_key',
  'entity_control',
  'parked',
  'feed',
  'shard',
] as const;

/** Removes everything of a generation, its name too. */
export async function removeGeneration(pool: pg.Pool, generation: number): Promise<void> {
  // The shards first: whoever still makes it is fenced by that.
  for (const table of [...TABLES].reverse())
    await pool.query(`delete from ${table} where generation = $1`, [generation]);
  await pool.query('delete from generation where generation = $1', [generation]);
}

function asGeneration(row: Row): Generation {
  return {
    generation: row.generation,
    name: row.name,
    source: row.source,
    mode: row.mode,
    state: row.state,
    functionUrl: row.function_url ?? undefined,
    options: row.options,
    goal:
      row.goal === null ? undefined : new Map(Object.entries(row.goal).map(([shard, chunk]) => [Number(shard), chunk])),
    createdAt: row.created_at,
  };
}
