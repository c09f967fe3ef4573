import type pg from 'pg';
import { ORIGIN_HEADER } from '../codec/header-names.ts';
import { positionsAfter, readReach } from '../journal/chunks.ts';
import type { Generation } from '../journal/generations.ts';
import type { Positions } from '../model/record.ts';
import { rootOf } from '../verify/identity.ts';
import { topicRecord } from './diff-items.ts';
import type { DiffOptions } from './diff-options.ts';

/** The part of the source's history that was given. */
export interface Range {
  /** Of the source's shards: input and events between these. */
  readonly shards: ReadonlyMap<
    number,
    {
      readonly from: Positions;
      readonly to: Positions;
      readonly firstSeq: number;
      readonly lastSeq: number;
      readonly goal: number;
    }
  >;
  /** Commands that entities were sent, and that were not given. */
  readonly later: ReadonlySet<string>;
}

/** Which part of the source's history the generation was given. */
export async function rangeOf({ pool, client, logs, generation, topics, signal }: DiffOptions): Promise<Range> {
  const { source, goal } = generation;
  const shards = new Map<number, { from: Positions; to: Positions; firstSeq: number; lastSeq: number; goal: number }>();
  for (const { shard, start } of await readReach(pool, generation.generation)) {
    const chunk = goal?.get(shard) ?? 0;
    const to = (await positionsAfter(pool, { generation: source, shard, chunk })) ?? start;
    const { rows } = await client.query<{ first: number | null; last: number | null }>(
      `select (select max(shard_seq) from chunk c where c.generation = $1 and c.shard = $2 and not exists (
                 select 1 from jsonb_each_text(c.positions) p
                 where p.value::bigint > coalesce(($4::jsonb ->> p.key)::bigint, -1))) as first,
              (select shard_seq from chunk c where c.generation = $1 and c.shard = $2 and c.chunk = $3) as last`,
      [source, shard, chunk, JSON.stringify(Object.fromEntries(Object.entries(start).map(([t, o]) => [t, String(o)])))],
    );
    shards.set(shard, { from: start, to, firstSeq: rows[0]?.first ?? 0, lastSeq: rows[0]?.last ?? 0, goal: chunk });
  }
  const later = new Set<string>();
  const ends = (await logs.ranges([topics.commands])).get(topics.commands);
  for (const [shard, range] of shards) {
    const from = await laterFrom(client, generation, shard, range.to[topics.commands], topics.commands);
    const to = ends?.get(shard)?.stable ?? from;
    for await (const records of logs.read({ topic: topics.commands, partition: shard, from, to }, signal)) {
      for (const record of records) {
        const { headers } = topicRecord(record).record;
        const origin = headers.find(([name]) => name === ORIGIN_HEADER)?.[1];
        if (origin !== undefined) later.add(Buffer.from(origin as Uint8Array).toString());
      }
    }
  }
  return { shards, later };
}

/** From where on the source's command topic holds what the made generation does not know of. */
async function laterFrom(
  client: pg.ClientBase,
  { mode, source }: Generation,
  shard: number,
  given: bigint | undefined,
  commands: string,
): Promise<bigint> {
  if (mode === 'isolated') return given ?? 0n;
  const { rows } = await client.query<{ applied: Record<string, string> }>(
    'select applied from shard where generation = $1 and shard = $2',
    [source, shard],
  );
  return BigInt(rows[0]?.applied[commands] ?? 0);
}

/** Whether what follows from the command was given to the made generation, too. */
export function isGiven(commandId: string, { shards, later }: Range): boolean {
  const root = rootOf(commandId);
  if (root === undefined) return false;
  const range = shards.get(root.partition);
  const from = range?.from[root.topic] ?? 0n;
  const to = range?.to[root.topic] ?? -1n;
  if (root.offset < from || root.offset >= to) return false;
  if (later.size === 0) return true;
  for (let id = commandId; ; id = id.slice(0, id.lastIndexOf('#'))) {
    if (later.has(id)) return false;
    if (!id.includes('#')) return true;
  }
}
