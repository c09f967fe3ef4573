import pg from 'pg';

/** One row of the journal's events. */
export interface EventRow {
  readonly entityType: string;
  readonly entityId: string;
  readonly seq: number;
  readonly shard: number;
  readonly shardSeq: number;
  readonly typeUrl: string;
  readonly payload: Buffer;
}

export interface SnapshotRow {
  readonly entityType: string;
  readonly entityId: string;
  readonly seq: number;
  readonly typeUrl: string;
  readonly payload: Buffer;
}

/** Next offset by topic. */
export type Offsets = Readonly<Record<string, number>>;

export interface ShardRow {
  readonly shard: number;
  readonly shardSeq: number;
  readonly applied: Offsets;
}

export interface OutboxRow {
  readonly shard: number;
  readonly chunk: number;
  readonly positions: Offsets;
}

/** What the journal holds of the generation that serves, as SQL shows it. */
export interface Journal {
  /** By entity and sequence. */
  readonly events: readonly EventRow[];
  readonly snapshots: readonly SnapshotRow[];
  readonly shards: readonly ShardRow[];
  readonly outbox: readonly OutboxRow[];
}

/** A connection of the demo's own to the journal's schema. */
export interface JournalReader {
  countEvents(): Promise<number>;
  shards(): Promise<ShardRow[]>;
  outbox(): Promise<OutboxRow[]>;
  read(): Promise<Journal>;
  /** Up to where a generation was given a topic that it is made of: next offset by shard. */
  goalOf(generation: string, topic: string): Promise<Map<number, bigint>>;
  close(): Promise<void>;
}

export async function openJournal(options: { readonly url: string; readonly schema: string }): Promise<JournalReader> {
  const client = new pg.Client({ connectionString: options.url });
  // A server that goes away under us: the query that finds it gone tells.
  client.on('error', () => undefined);
  await client.connect();
  const schema = client.escapeIdentifier(options.schema);
  const rows = async <T extends pg.QueryResultRow>(sql: string): Promise<T[]> => (await client.query<T>(sql)).rows;
  const live = `generation = (select live_generation from ${schema}.deployment)`;
  const shards = async () =>
    (
      await rows<{ shard: number; shardSeq: number; applied: Record<string, string> }>(
        `select shard, shard_seq::int as "shardSeq", applied from ${schema}.shard where ${live} order by shard`,
      )
    ).map((row) => ({ ...row, applied: offsetsOf(row.applied) }));
  const outbox = async () =>
    (
      await rows<{ shard: number; chunk: number; positions: Record<string, string> }>(
        `select shard, chunk::int, positions from ${schema}.outbox where ${live} order by shard, chunk`,
      )
    ).map((row) => ({ ...row, positions: offsetsOf(row.positions) }));
  return {
    async countEvents() {
      const [row] = await rows<{ count: number }>(`select count(*)::int as count from ${schema}.event where ${live}`);
      return row?.count ?? 0;
    },
    shards,
    outbox,
    read: async () => ({
      events: await rows<EventRow>(
        `select entity_type as "entityType", entity_id as "entityId", seq::int, shard, shard_seq::int as "shardSeq",
           type_url as "typeUrl", payload
         from ${schema}.event where ${live} order by entity_type, entity_id, event.seq`,
      ),
      snapshots: await rows<SnapshotRow>(
        `select entity_type as "entityType", entity_id as "entityId", seq::int, type_url as "typeUrl", payload
         from ${schema}.snapshot where ${live} order by entity_type, entity_id`,
      ),
      shards: await shards(),
      outbox: await outbox(),
    }),
    async goalOf(generation, topic) {
      const found = await client.query<{ shard: number; next: string | null }>(
        `select c.shard, c.positions ->> $2 as next
         from ${schema}.generation g join ${schema}.chunk c
           on c.generation = g.source and c.chunk = (g.goal ->> c.shard::text)::bigint
         where g.name = $1`,
        [generation, topic],
      );
      return new Map(found.rows.map(({ shard, next }) => [shard, BigInt(next ?? 0)]));
    },
    close: () => client.end(),
  };
}

function offsetsOf(json: Readonly<Record<string, string>>): Offsets {
  return Object.fromEntries(Object.entries(json).map(([topic, offset]) => [topic, Number(offset)]));
}
