import { chunksBeyond } from './find-chunks.ts';
import { positionsFromJson } from './positions.ts';
import type { RetentionClient, RetentionKind } from './retention.ts';

/** Something that needs what retention would remove: in its shard, all beyond a bound. */
export interface Hold {
  readonly kind: RetentionKind;
  readonly shard: number;
  /** Of events; undefined: all types. */
  readonly entityType: string | undefined;
  /** A shard_seq of events, a chunk of inputs and outputs: what is up to it may go. */
  readonly through: number;
  /** Who needs it and what ends that, as a sentence without a full stop. */
  readonly why: string;
}

/** A shard, as far as retention has to know it. */
export interface RetainedShard {
  readonly shard: number;
  readonly chunk: number;
  readonly emitted: number;
  readonly shardSeq: number;
}

export async function retainedShards(client: RetentionClient, generation: number): Promise<RetainedShard[]> {
  const { rows } = await client.query<RetainedShard>(
    'select shard, chunk, emitted, shard_seq as "shardSeq" from shard where generation = $1 order by shard',
    [generation],
  );
  return rows;
}

/** All that needs rows of the generation at present. */
export async function readHolds(
  client: RetentionClient,
  generation: number,
  shards: readonly RetainedShard[],
): Promise<Hold[]> {
  return [
    ...(await ofOutbox(client, generation, shards)),
    ...(await ofFeeds(client, generation)),
    ...(await ofGenerations(client, generation)),
  ];
}

/** What is not in Kafka yet; and events whose outputs the outbox has, which `verify` holds against them. */
async function ofOutbox(
  client: RetentionClient,
  generation: number,
  shards: readonly RetainedShard[],
): Promise<Hold[]> {
  const { rows } = await client.query<{ shard: number; before: number | null }>(
    `select o.shard, (
         select c.shard_seq from chunk c where c.generation = $1 and c.shard = o.shard and c.chunk = o.chunk - 1
       ) as before
     from (select shard, min(chunk) as chunk from outbox where generation = $1 group by shard) o`,
    [generation],
  );
  return [
    ...shards.map(
      ({ shard, emitted }): Hold => ({
        kind: 'outputs',
        shard,
        entityType: undefined,
        through: emitted,
        why: 'Kafka is not known to have it yet',
      }),
    ),
    ...rows.map(
      ({ shard, before }): Hold => ({
        kind: 'events',
        shard,
        entityType: undefined,
        through: before ?? 0,
        why: 'the outbox has the outputs of its chunk, which verify compares with it (journal.outboxRetentionChunks)',
      }),
    ),
  ];
}

/** Feeds that have not been given all events. */
async function ofFeeds(client: RetentionClient, generation: number): Promise<Hold[]> {
  const { rows } = await client.query<{
    name: string;
    entity_type: string;
    shard: number;
    state: string;
    position: number;
  }>(
    `select name, entity_type, shard, state, position from feed
     where generation = $1 and source = 'event-sourced' and state <> 'live'`,
    [generation],
  );
  return rows.map(({ name, entity_type: entityType, shard, state, position }) => ({
    kind: 'events',
    shard,
    entityType,
    through: position,
    why:
      state === 'away'
        ? `the feed "${name}", which the function has no more, would go on with it`
        : `the feed "${name}" has not been given it yet`,
  }));
}

/**
 * Generations that are made of this one: they need its input from where they stand, and events from where they began are compared
 * with theirs; all events while some of them are copied. One that served before needs the input, to be promoted again.
 */
async function ofGenerations(client: RetentionClient, generation: number): Promise<Hold[]> {
  const { rows } = await client.query<{
    name: string;
    state: string;
    shard: number;
    applied: Record<string, string>;
    counted_from: Record<string, string>;
  }>(
    `select g.name, g.state, s.shard, s.applied, s.counted_from
     from generation g join shard s using (generation)
     where g.source = $1 and g.generation <> $1 and g.state in ('copying', 'running', 'paused', 'complete', 'retired')
     order by g.generation, s.shard`,
    [generation],
  );
  const holds: Hold[] = [];
  for (const { name, state, shard, applied, counted_from: start } of rows) {
    const discard = `\`stateferry reprocess discard ${name}\``;
    const standing = await chunkAt(client, generation, shard, applied);
    if (standing !== undefined) {
      const what = state === 'retired' ? 'to be promoted again' : 'to be made';
      holds.push({
        kind: 'inputs',
        shard,
        entityType: undefined,
        through: standing.chunk,
        why: `generation "${name}" needs it ${what} (${discard})`,
      });
    }
    if (state === 'copying') {
      holds.push({
        kind: 'events',
        shard,
        entityType: undefined,
        through: 0,
        why: `generation "${name}" is given a copy of it (${discard})`,
      });
      continue;
    }
    const began = state === 'retired' ? undefined : await chunkAt(client, generation, shard, start);
    if (began === undefined) continue;
    holds.push({
      kind: 'events',
      shard,
      entityType: undefined,
      through: began.shardSeq,
      why: `generation "${name}" is compared with it (${discard})`,
    });
  }
  return holds;
}

/** The last chunk within the positions, and the shard's last event of then; undefined: all of them are. */
async function chunkAt(
  client: RetentionClient,
  generation: number,
  shard: number,
  positions: Record<string, string>,
): Promise<{ readonly chunk: number; readonly shardSeq: number } | undefined> {
  const { rows } = await client.query<{ applied: Record<string, string> }>(
    'select applied from shard where generation = $1 and shard = $2',
    [generation, shard],
  );
  const at = positionsFromJson(positions);
  // A topic that it knows nothing of is read from its beginning.
  const wanted = Object.keys(rows[0]?.applied ?? {}).map((topic) => ({ shard, topic, offset: at[topic] ?? 0n }));
  const beyond = await chunksBeyond({ db: client, generation }, wanted);
  const [first] = beyond.filter((chunk) => chunk !== undefined).sort((one, other) => one.chunk - other.chunk);
  return first && { chunk: first.chunk - 1, shardSeq: first.before?.shardSeq ?? 0 };
}
