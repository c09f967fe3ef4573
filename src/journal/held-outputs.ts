import type pg from 'pg';
import type { Positions } from '../model/record.ts';
import { positionsFromJson, positionsToJson } from './positions.ts';

type Client = Pick<pg.ClientBase, 'query'>;

/** Rows of the outbox that one statement copies or deletes: they may hold megabytes. */
const PAGE = 100;

/** What of a source's history a generation was given, by shard: input between these. */
export type GivenRanges = ReadonlyMap<number, { readonly from: Positions; readonly to: Positions }>;

/** A publication of what a generation would have put out of the past. */
export interface Emission {
  readonly generation: number;
  readonly source: number;
  readonly topic: string;
  readonly ranges: GivenRanges;
  /** Which outputs differ is known; else all of them are held. */
  readonly selected: boolean;
}

/** Outputs of one chunk. */
export interface HeldOutputs {
  readonly shard: number;
  readonly chunk: number;
  /** codec/outbox.ts */
  readonly records: Buffer;
}

const COPY = `
insert into held_output (generation, shard, chunk, records)
select o.generation, o.shard, o.chunk, o.records from outbox o
where o.generation = $1 and o.shard = $2 and octet_length(o.records) > 0
  and o.chunk > coalesce((select max(h.chunk) from held_output h where h.generation = $1 and h.shard = $2), 0)
order by o.chunk limit $3`;

/** Copies what the outbox of a generation that is made has and is not held yet. */
export async function holdOutputs(client: Client, generation: number, shards: readonly number[]): Promise<void> {
  for (const shard of shards) {
    for (;;) {
      const { rowCount } = await client.query(COPY, [generation, shard, PAGE]);
      if ((rowCount ?? 0) < PAGE) break;
    }
  }
}

/** Lets go what is held of a generation, some at a time. */
export async function dropHeld(client: Client, generation: number): Promise<void> {
  for (;;) {
    const { rowCount } = await client.query(
      `delete from held_output where (generation, shard, chunk) in (
         select generation, shard, chunk from held_output where generation = $1 limit ${PAGE})`,
      [generation],
    );
    if ((rowCount ?? 0) < PAGE) return;
  }
}

/** Notes a publication; to be called in the transaction that lets the generation serve. */
export async function noteEmission(client: Client, emission: Omit<Emission, 'selected'>): Promise<void> {
  const ranges = [...emission.ranges].map(([shard, { from, to }]) => [
    shard,
    { from: JSON.parse(positionsToJson(from)), to: JSON.parse(positionsToJson(to)) },
  ]);
  await client.query('insert into emission (generation, source, topic, ranges) values ($1, $2, $3, $4)', [
    emission.generation,
    emission.source,
    emission.topic,
    JSON.stringify(Object.fromEntries(ranges)),
  ]);
}

/** The publication that is not done yet; undefined: there is none. */
export async function readEmission(client: Client, generation: number): Promise<Emission | undefined> {
  const { rows } = await client.query<{
    generation: number;
    source: number;
    topic: string;
    ranges: Record<string, Record<'from' | 'to', Record<string, string>>>;
    selected: boolean;
  }>('select generation, source, topic, ranges, selected from emission where generation = $1', [generation]);
  const [row] = rows;
  if (row === undefined) return undefined;
  const ranges = new Map(
    Object.entries(row.ranges).map(([shard, { from, to }]) => [
      Number(shard),
      { from: positionsFromJson(from), to: positionsFromJson(to) },
    ]),
  );
  return { ...row, ranges };
}

/** Holds on to the outputs at these places, besides those that were named before: to be called in one transaction with `noteSelected`. */
export async function keepDiffering(
  client: Client,
  generation: number,
  places: readonly { readonly shard: number; readonly chunk: number; readonly ordinal: number }[],
): Promise<void> {
  await client.query(
    `update held_output h set differing = coalesce(h.differing, '{}') || p.ordinals
     from (select shard, chunk, array_agg(ordinal) as ordinals
           from unnest($2::int[], $3::bigint[], $4::int[]) as p(shard, chunk, ordinal) group by shard, chunk) p
     where h.generation = $1 and h.shard = p.shard and h.chunk = p.chunk`,
    [
      generation,
      places.map(({ shard }) => shard),
      places.map(({ chunk }) => chunk),
      places.map(({ ordinal }) => ordinal),
    ],
  );
}

/** Lets go all others. */
export async function noteSelected(client: Client, generation: number): Promise<void> {
  await client.query('delete from held_output where generation = $1 and differing is null', [generation]);
  await client.query('update emission set selected = true where generation = $1', [generation]);
}

/** Chunks of a shard after `after` with what differs of them, in order, `limit` at most. */
export async function readDiffering(
  client: Client,
  wanted: { readonly generation: number; readonly shard: number; readonly after: number; readonly limit: number },
): Promise<(HeldOutputs & { readonly differing: readonly number[] })[]> {
  const { rows } = await client.query<HeldOutputs & { differing: number[] }>(
    `select shard, chunk, records, array(select unnest(differing) order by 1) as differing from held_output
     where generation = $1 and shard = $2 and chunk > $3 order by chunk limit $4`,
    [wanted.generation, wanted.shard, wanted.after, wanted.limit],
  );
  return rows;
}

/** The publication is done, or given up. */
export async function endEmission(client: Client, generation: number): Promise<void> {
  await client.query('delete from emission where generation = $1', [generation]);
}
