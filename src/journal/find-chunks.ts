import type pg from 'pg';
import type { Positions } from '../model/record.ts';
import { positionsFromJson } from './positions.ts';

/** A generation of a journal, and what its queries are sent to. */
export interface ChunkHistory {
  readonly db: Pick<pg.ClientBase, 'query'>;
  readonly generation: number;
}

/** A chunk as the journal remembers it, and where its shard stood before. */
export interface FoundChunk {
  readonly shard: number;
  readonly chunk: number;
  readonly at: Date;
  /** Digest of the function's version; null: it was not known. */
  readonly function: string | null;
  /** Next offset per topic, after the chunk. */
  readonly positions: Positions;
  /** shard_seq of the shard's last event, after the chunk. */
  readonly shardSeq: number;
  readonly records: number;
  /** As codec/input-order.ts has it; null where the records are of one topic. */
  readonly inputOrder: Buffer | null;
  readonly parked: readonly number[] | null;
  /** After the chunk before it; undefined: the journal remembers none. */
  readonly before: { readonly positions: Positions; readonly shardSeq: number } | undefined;
}

const REACHED = {
  event: 'c.shard_seq >= f.wanted::bigint',
  time: 'c.at >= f.wanted::timestamptz',
  record: 'coalesce((c.positions ->> f.topic)::bigint, 0) > f.wanted::bigint',
  position: 'coalesce((c.positions ->> f.topic)::bigint, 0) > f.wanted::bigint',
};

/**
 * A binary search in the numbers of the chunks, since all of these only grow from chunk to chunk of a shard; the table
 * has no index for them. `high` is a chunk that reaches it, or the last one, of which the end has to make sure.
 */
const search = (reached: string) => `
with recursive find as (
  select w.n, w.shard, w.wanted, w.topic,
    (select chunk from chunk where generation = $1 and shard = w.shard order by chunk limit 1) as low,
    (select chunk from chunk where generation = $1 and shard = w.shard order by chunk desc limit 1) as high
  from unnest($2::int[], $3::text[], $4::text[]) with ordinality as w(shard, wanted, topic, n)
  union all
  select f.n, f.shard, f.wanted, f.topic,
    case when ${reached} then f.low else c.chunk + 1 end,
    case when ${reached} then (f.low + f.high) / 2 else f.high end
  from find f cross join lateral (
    select * from chunk
    where generation = $1 and shard = f.shard and chunk >= (f.low + f.high) / 2 order by chunk limit 1
  ) c
  where f.low < f.high
)
select f.n::int as n, c.shard, c.chunk, c.at, c.function, c.positions, c.shard_seq, c.records, c.input_order, c.parked,
  b.positions as positions_before, b.shard_seq as shard_seq_before
from find f
cross join lateral (
  select * from chunk where generation = $1 and shard = f.shard and chunk >= f.low order by chunk limit 1
) c
left join lateral (
  select positions, shard_seq from chunk
  where generation = $1 and shard = f.shard and chunk < c.chunk order by chunk desc limit 1
) b on true
where f.low >= f.high and ${reached}`;

interface Row {
  readonly n: number;
  readonly shard: number;
  readonly chunk: number;
  readonly at: Date;
  readonly function: string | null;
  readonly positions: Record<string, string>;
  readonly shard_seq: number;
  readonly records: number;
  readonly input_order: Buffer | null;
  readonly parked: number[] | null;
  readonly positions_before: Record<string, string> | null;
  readonly shard_seq_before: number | null;
}

type Found = (FoundChunk | undefined)[];

/** The chunks that have these events, in order; undefined where the journal does not reach back to it. */
export function chunksOfEvents(
  history: ChunkHistory,
  events: readonly { readonly shard: number; readonly shardSeq: number }[],
): Promise<Found> {
  return find(
    history,
    'event',
    events.map(({ shard, shardSeq }) => ({ shard, wanted: String(shardSeq) })),
  );
}

/** The first chunk that each shard journaled at this time or later; undefined where there is none. */
export function chunksFrom(history: ChunkHistory, at: Date, shards: readonly number[]): Promise<Found> {
  return find(
    history,
    'time',
    shards.map((shard) => ({ shard, wanted: at.toISOString() })),
  );
}

/** The chunks that applied these records, in order: each of the partition with the shard's number. */
export function chunksOfRecords(
  history: ChunkHistory,
  records: readonly { readonly topic: string; readonly partition: number; readonly offset: bigint }[],
): Promise<Found> {
  return find(
    history,
    'record',
    records.map(({ topic, partition, offset }) => ({ shard: partition, wanted: String(offset), topic })),
  );
}

/** The first remembered chunk of its shard that leads beyond a position of a topic, for each, in order; undefined where none does. */
export function chunksBeyond(
  history: ChunkHistory,
  positions: readonly { readonly shard: number; readonly topic: string; readonly offset: bigint }[],
): Promise<Found> {
  return find(
    history,
    'position',
    positions.map(({ shard, topic, offset }) => ({ shard, wanted: String(offset), topic })),
  );
}

/**
 * The first chunk of its shard that reaches what is wanted, for each, in order. Undefined where none does, and where the
 * journal does not reach back to the chunk that did.
 */
async function find(
  { db, generation }: ChunkHistory,
  by: keyof typeof REACHED,
  wanted: readonly { readonly shard: number; readonly wanted: string; readonly topic?: string }[],
): Promise<Found> {
  const found = new Array<FoundChunk | undefined>(wanted.length).fill(undefined);
  if (wanted.length === 0) return found;
  const { rows } = await db.query<Row>(search(REACHED[by]), [
    generation,
    wanted.map(({ shard }) => shard),
    wanted.map((one) => one.wanted),
    wanted.map(({ topic }) => topic ?? null),
  ]);
  for (const row of rows) {
    const chunk = foundOf(row);
    // The first that is remembered, of a journal that is older or a generation that began in the middle: it may have been any before it.
    if (chunk.before === undefined && row.chunk !== 1 && (by === 'event' || by === 'record')) continue;
    found[row.n - 1] = chunk;
  }
  return found;
}

/** Chunks by their numbers, in no order; those that the journal does not remember are missing. */
export async function chunksNumbered(
  history: ChunkHistory,
  places: readonly { readonly shard: number; readonly chunk: number }[],
): Promise<FoundChunk[]> {
  if (places.length === 0) return [];
  const { rows } = await history.db.query<Row>(
    `select 0 as n, c.shard, c.chunk, c.at, c.function, c.positions, c.shard_seq, c.records, c.input_order, c.parked,
       null::jsonb as positions_before, null::bigint as shard_seq_before
     from unnest($2::int[], $3::bigint[]) as p(shard, chunk)
     join chunk c on c.generation = $1 and c.shard = p.shard and c.chunk = p.chunk`,
    [history.generation, places.map(({ shard }) => shard), places.map(({ chunk }) => chunk)],
  );
  return rows.map(foundOf);
}

function foundOf(row: Row): FoundChunk {
  const { positions_before: positions, shard_seq_before: shardSeq } = row;
  return {
    shard: row.shard,
    chunk: row.chunk,
    at: row.at,
    function: row.function,
    positions: positionsFromJson(row.positions),
    shardSeq: row.shard_seq,
    records: row.records,
    inputOrder: row.input_order,
    parked: row.parked,
    before: positions === null || shardSeq === null ? undefined : { positions: positionsFromJson(positions), shardSeq },
  };
}
