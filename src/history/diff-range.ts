import type pg from 'pg';
import { ORIGIN_HEADER } from '../codec/header-names.ts';
import { positionsAfter, readReach } from '../journal/chunks.ts';
import type { Generation } from '../journal/generations.ts';
import type { GivenRanges } from '../journal/held-outputs.ts';
import type { InputRecord, Positions } from '../model/record.ts';
import type { PartitionLogs } from '../topics/partition-log.ts';
import { parentOf, rootOf } from '../verify/identity.ts';
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
  /** Commands that were given, though the record that they come from stands before the input that was. */
  readonly earlier: ReadonlySet<string>;
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
        const origin = originOf(record);
        if (origin !== undefined) later.add(origin);
      }
    }
  }
  const isCut = generation.options.state !== undefined;
  const earlier = isCut ? await earlierGiven({ logs, commands: topics.commands, shards, signal }) : new Set<string>();
  return { shards, later, earlier };
}

/**
 * Commands that were on their way where a generation with the state of then began: they follow from records before, and are among the
 * input that an isolated one was given.
 */
export async function earlierGiven(given: {
  readonly logs: Pick<PartitionLogs, 'read'>;
  readonly commands: string;
  readonly shards: GivenRanges;
  readonly signal: AbortSignal;
}): Promise<Set<string>> {
  const { logs, commands, shards, signal } = given;
  const earlier = new Set<string>();
  for (const [shard, range] of shards) {
    const from = range.from[commands] ?? 0n;
    const to = range.to[commands] ?? from;
    for await (const records of logs.read({ topic: commands, partition: shard, from, to }, signal)) {
      for (const record of records) {
        const origin = originOf(record);
        const root = origin === undefined ? undefined : rootOf(origin);
        if (root === undefined) continue;
        if (root.offset < (shards.get(root.partition)?.from[root.topic] ?? 0n)) earlier.add(origin as string);
      }
    }
  }
  return earlier;
}

/** The command that a record of a command topic carries; undefined: it does not say. */
function originOf(record: InputRecord): string | undefined {
  const origin = topicRecord(record).record.headers.find(([name]) => name === ORIGIN_HEADER)?.[1];
  return origin === undefined ? undefined : Buffer.from(origin as Uint8Array).toString();
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

/** Whether an output of the source follows from what was given to the made generation, too: the command that caused it, or that it is. */
export function isGiven(
  { commandId, isCommand }: { readonly commandId: string; readonly isCommand: boolean },
  { shards, later, earlier }: Pick<Range, 'later' | 'earlier'> & { readonly shards: GivenRanges },
): boolean {
  const root = rootOf(commandId);
  if (root === undefined) return false;
  const range = shards.get(root.partition);
  const from = range?.from[root.topic] ?? 0n;
  const to = range?.to[root.topic] ?? -1n;
  // A command that was on its way was sent before; one that such a command sent was not.
  if (root.offset < from) return earlier.has(isCommand ? (parentOf(commandId) ?? commandId) : commandId);
  if (root.offset >= to) return false;
  if (later.size === 0) return true;
  for (let id = commandId; ; id = id.slice(0, id.lastIndexOf('#'))) {
    if (later.has(id)) return false;
    if (!id.includes('#')) return true;
  }
}
