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

/** What the journal holds, as SQL shows it. */
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
  close(): Promise<void>;
}

export async function openJournal(options: { readonly url: string; readonly schema: string }): Promise<JournalReader> {
  const client = new pg.Client({ connectionString: options.url });
  // A server that goes away under us: the query that finds it gone tells.
  client.on('error', () => undefined);
  await client.connect();
  const schema = client.escapeIdentifier(options.schema);
  const rows = async <T extends pg.QueryResultRow>(sql: string): Promise<T[]> => (await client.query<T>(sql)).rows;
  const shards = async () =>
    (
      await rows<{ shard: number; shardSeq: number; applied: Record<string, string> }>(
        `select shard, shard_seq::int as "shardSeq", applied from ${schema}.shard order by shard`,
      )
    ).map((row) => ({ ...row, applied: offsetsOf(row.applied) }));
  const outbox = async () =>
    (
      await rows<{ shard: number; chunk: number; positions: Record<string, string> }>(
        `select shard, chunk::int, positions from ${schema}.outbox order by shard, chunk`,
      )
    ).map((row) => ({ ...row, positions: offsetsOf(row.positions) }));
  return {
    async countEvents() {
      const [row] = await rows<{ count: number }>(`select count(*)::int as count from ${schema}.event`);
      return row?.count ?? 0;
    },
    shards,
    outbox,
    read: async () => ({
      events: await rows<EventRow>(
        `select entity_type as "entityType", entity_id as "entityId", seq::int, shard, shard_seq::int as "shardSeq",
           type_url as "typeUrl", payload
         from ${schema}.event order by entity_type, entity_id, event.seq`,
      ),
      snapshots: await rows<SnapshotRow>(
        `select entity_type as "entityType", entity_id as "entityId", seq::int, type_url as "typeUrl", payload
         from ${schema}.snapshot order by entity_type, entity_id`,
      ),
      shards: await shards(),
      outbox: await outbox(),
    }),
    close: () => client.end(),
  };
}

function offsetsOf(json: Readonly<Record<string, string>>): Offsets {
  return Object.fromEntries(Object.entries(json).map(([topic, offset]) => [topic, Number(offset)]));
}
