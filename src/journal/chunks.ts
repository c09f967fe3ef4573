import type pg from 'pg';
import type { Positions } from '../model/record.ts';
import { positionsFromJson, positionsToJson } from './positions.ts';

/** A chunk as history knows it. */
export interface HistoryChunk {
  readonly chunk: number;
  /** Next offset by topic, after it. */
  readonly positions: Positions;
  /** Input records in it. */
  readonly records: number;
  /** codec/input-order.ts; undefined: its records are of one topic. */
  readonly inputOrder: Buffer | undefined;
  /** Places, from 0, of records whose commands were parked. */
  readonly parked: readonly number[];
  /** codec/inputs.ts; undefined: the journal did not keep them. */
  readonly inputs: Buffer | undefined;
  readonly at: Date;
}

interface Row {
  chunk: number;
  positions: Record<string, string>;
  records: number;
  input_order: Buffer | null;
  parked: number[] | null;
  inputs: Buffer | null;
  at: Date;
}

const COLUMNS = 'c.chunk, c.positions, c.records, c.input_order, c.parked, c.at';

/** The shard's chunks after `after`, in order, `limit` at most. */
export async function readChunks(
  pool: pg.Pool,
  wanted: { readonly generation: number; readonly shard: number; readonly after: number; readonly limit: number },
): Promise<HistoryChunk[]> {
  const { rows } = await pool.query<Row>(
    `select ${COLUMNS}, i.records as inputs
     from chunk c left join input i using (generation, shard, chunk)
     where c.generation = $1 and c.shard = $2 and c.chunk > $3 order by c.chunk limit $4`,
    [wanted.generation, wanted.shard, wanted.after, wanted.limit],
  );
  return rows.map(asChunk);
}

/** Number of the shard's last chunk that leads no further than `positions` on any topic; 0: there is none. */
export async function lastChunkWithin(
  pool: pg.Pool,
  wanted: { readonly generation: number; readonly shard: number; readonly positions: Positions },
): Promise<number> {
  const { rows } = await pool.query<{ chunk: number }>(
    `select c.chunk - 1 as chunk from chunk c
     where c.generation = $1 and c.shard = $2 and exists (
       select 1 from jsonb_each_text(c.positions) p
       where p.value::bigint > coalesce(($3::jsonb ->> p.key)::bigint, -1))
     order by c.chunk limit 1`,
    [wanted.generation, wanted.shard, positionsToJson(wanted.positions)],
  );
  if (rows[0] !== undefined) return rows[0].chunk;
  const last = await pool.query<{ chunk: number | null }>(
    'select max(chunk) as chunk from chunk where generation = $1 and shard = $2',
    [wanted.generation, wanted.shard],
  );
  return last.rows[0]?.chunk ?? 0;
}

/** Where the shard's input stood after the chunk; undefined: history does not know. */
export async function positionsAfter(
  pool: pg.Pool,
  wanted: { readonly generation: number; readonly shard: number; readonly chunk: number },
): Promise<Positions | undefined> {
  const { rows } = await pool.query<{ positions: Record<string, string> }>(
    'select positions from chunk where generation = $1 and shard = $2 and chunk = $3',
    [wanted.generation, wanted.shard, wanted.chunk],
  );
  return rows[0] && positionsFromJson(rows[0].positions);
}

/**
 * Where the input of shard `s` of generation `g` (null: the deployment's first) stood before its first chunk. `counted_from` says so until
 * the generation serves, and from then on where that began; the other is noted then (switch.ts).
 */
const BEGAN = `(s.counted_from || coalesce(g.options -> 'began' -> s.shard::text, '{}'))`;

/** How far history reaches, by shard. */
export interface HistoryReach {
  readonly shard: number;
  /** Chunks that the shard has journaled in all. */
  readonly chunk: number;
  /** Of the first chunk that history knows; undefined: it knows none. */
  readonly first: number | undefined;
  /** Where the shard's input stood before its first chunk, as far as that is known: {topic: offset}. */
  readonly start: Positions;
  readonly applied: Positions;
  /** Its last chunk before it took over from another generation; 0: it has not, or has always served. */
  readonly takenOver: number;
}

export async function readReach(pool: Pick<pg.ClientBase, 'query'>, generation: number): Promise<HistoryReach[]> {
  const { rows } = await pool.query<{
    shard: number;
    chunk: number;
    first: number | null;
    began: Record<string, string>;
    applied: Record<string, string>;
    taken_over: number;
  }>(
    `select s.shard, s.chunk, ${BEGAN} as began, s.applied, s.held_chunk as taken_over,
            (select min(c.chunk) from chunk c where c.generation = s.generation and c.shard = s.shard) as first
     from shard s left join generation g using (generation) where s.generation = $1 order by s.shard`,
    [generation],
  );
  return rows.map((row) => ({
    shard: row.shard,
    chunk: row.chunk,
    first: row.first ?? undefined,
    start: positionsFromJson(row.began),
    applied: positionsFromJson(row.applied),
    takenOver: row.taken_over,
  }));
}

/** The last chunk of each shard that was journaled before a time: shard → chunk. */
export async function chunksBefore(pool: pg.Pool, generation: number, time: Date): Promise<Map<number, number>> {
  const { rows } = await pool.query<{ shard: number; chunk: number }>(
    'select shard, max(chunk) as chunk from chunk where generation = $1 and at < $2 group by shard',
    [generation, time],
  );
  return new Map(rows.map(({ shard, chunk }) => [shard, chunk]));
}

function asChunk(row: Row): HistoryChunk {
  return {
    chunk: row.chunk,
    positions: positionsFromJson(row.positions),
    records: row.records,
    inputOrder: row.input_order ?? undefined,
    parked: row.parked ?? [],
    inputs: row.inputs ?? undefined,
    at: row.at,
  };
}
