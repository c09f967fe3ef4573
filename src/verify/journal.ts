import type pg from 'pg';
import { streamRows } from '../journal/cursor.ts';
import { positionsFromJson } from '../journal/positions.ts';
import type { Payload } from '../model/payload.ts';
import type { Positions } from '../model/record.ts';

const FETCH_ROWS = 2_000;
/** Outbox rows may hold 4 MiB each. */
const FETCH_OUTBOX_ROWS = 20;

/** One shard's row. */
export interface ShardRow {
  readonly shard: number;
  readonly epoch: number;
  readonly applied: Positions;
  readonly countedFrom: Positions;
  readonly records: number;
  readonly chunk: number;
  readonly emitted: number;
  readonly shardSeq: number;
  /** Up to this epoch and this chunk, another generation served and this one's outputs were held back; 0: none did. */
  readonly heldEpoch: number;
  readonly heldChunk: number;
}

/** A journaled chunk that is still in the outbox. */
export interface ChunkRow {
  readonly shard: number;
  readonly chunk: number;
  readonly positions: Positions;
  /** Input records of it; undefined: it was journaled before they were counted. */
  readonly inputs: number | undefined;
}

export interface OutboxChunk extends ChunkRow {
  readonly records: Uint8Array;
}

export interface EventRow {
  readonly entityType: string;
  readonly entityId: string;
  readonly seq: number;
  readonly shard: number;
  readonly shardSeq: number;
  readonly epoch: number;
  readonly commandId: string;
}

/** An event in the order of its entity. */
export interface EntityEventRow extends EventRow {
  /** Events of the entity up to this one were removed by retention. */
  readonly removedThrough: number;
}

/** Events of a shard that retention has removed. */
export interface RemovedEvents {
  /** How many. */
  readonly events: number;
  /** The last of them, by its number in the shard. */
  readonly through: number;
}

export interface EventWithPayload extends EventRow {
  readonly typeUrl: string;
  readonly payload: Buffer;
}

export interface ValueRow {
  readonly entityType: string;
  readonly entityId: string;
  readonly revision: number;
  readonly shard: number;
  readonly epoch: number;
  readonly commandId: string;
  /** Null: deleted. */
  readonly typeUrl: string | null;
  readonly payload: Buffer | null;
}

/** Where a feed stands in a shard. */
export interface FeedRow {
  readonly name: string;
  readonly source: 'event-sourced' | 'value';
  readonly entityType: string;
  readonly shard: number;
  readonly position: number;
  readonly through: number;
}

export interface SampledEntity {
  readonly entityType: string;
  readonly entityId: string;
  /** Sequence of the last event in its snapshot. */
  readonly seq: number;
}

/** The journal as it was at one instant, whatever is written meanwhile: one read-only transaction. */
export interface JournalView {
  readonly deployment: { readonly name: string; readonly shards: number; readonly generation: number };
  shards(): Promise<ShardRow[]>;
  /** By shard and chunk, without the outputs; those that were not held back. */
  chunks(): Promise<ChunkRow[]>;
  /** By shard and chunk. */
  outbox(): AsyncGenerator<OutboxChunk>;
  countEvents(): Promise<number>;
  /** By shard and number in the shard, without payloads. */
  eventsByShard(): AsyncGenerator<EventRow>;
  /** By entity and sequence, without payloads. */
  eventsByEntity(): AsyncGenerator<EntityEventRow>;
  /** By shard: what retention has removed. */
  removedEvents(): Promise<Map<number, RemovedEvents>>;
  /** By shard and number in the shard. */
  events(): AsyncGenerator<EventWithPayload>;
  values(): AsyncGenerator<ValueRow>;
  feeds(): Promise<FeedRow[]>;
  /** Commands that wait in the journal for an operator. */
  parked(): AsyncGenerator<{ readonly commandId: string }>;
  /** Snapshots whose sequence is beyond the entity's last event, or whose entity has no events. */
  strangeSnapshots(): Promise<{ entityType: string; entityId: string; seq: number; last: number }[]>;
  /** Whether the entity has an event of this command, or had one that retention may have removed. */
  hasEventOf(entityTypes: readonly string[], entityId: string, commandId: string): Promise<boolean>;
  /** Of the command's `index`th event of the entity, from 1 on; 0: of its value. Undefined: there is none. */
  payloadOf(
    entityTypes: readonly string[],
    entityId: string,
    commandId: string,
    index: number,
  ): Promise<Payload | undefined>;
  /**
   * Entities with a snapshot that counts and with all the events below it: half of them those with most events, the others spread
   * by a hash.
   */
  sample(size: number): Promise<SampledEntity[]>;
  /** Of entities with all the events below it; and of those of which retention has removed some. */
  countSnapshots(): Promise<{ readonly whole: number; readonly cut: number }>;
  /** The pool's shape, for the journal's own queries of one entity. */
  readonly pool: Pick<pg.ClientBase, 'query'>;
  close(): Promise<void>;
}

/** Opens the view. The deployment must be there. */
export async function viewJournal(pool: pg.Pool): Promise<JournalView | undefined> {
  const client = await pool.connect();
  const rows = async <T extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<T[]> =>
    (await client.query<T>(sql, [...values])).rows;

  const stream = <T extends pg.QueryResultRow>(sql: string, values: readonly unknown[], size = FETCH_ROWS) =>
    streamRows<T>(client, sql, values, size);

  const EVENT_COLUMNS =
    'entity_type as "entityType", entity_id as "entityId", seq, shard, shard_seq as "shardSeq", epoch, command_id as "commandId"';
  const SNAPSHOTS = `from snapshot s
    left join voided d on d.generation = s.generation and d.entity_type = s.entity_type and d.entity_id = s.entity_id
    where s.generation = $1 and s.seq > coalesce(d.seq, 0)`;
  const SERVED =
    'from outbox o join shard s using (generation, shard) where generation = $1 and o.chunk > s.held_chunk';
  const WHOLE = 'and s.removed_through <= coalesce(d.seq, 0)';
  let generation = 1;

  try {
    await client.query('begin transaction isolation level repeatable read read only');
    const [found] = await rows<{ name: string; shards: number; generation: number }>(
      'select name, shards, live_generation as generation from deployment',
    );
    if (found === undefined) {
      await client.query('rollback');
      client.release();
      return undefined;
    }
    generation = found.generation;
    return {
      deployment: found,
      pool: client,
      async shards() {
        type Row = Omit<ShardRow, 'applied' | 'countedFrom'> &
          Record<'applied' | 'countedFrom', Record<string, string>>;
        const list = await rows<Row>(
          `select shard, epoch, applied, counted_from as "countedFrom", records, chunk, emitted, shard_seq as "shardSeq",
             held_epoch as "heldEpoch", held_chunk as "heldChunk"
           from shard where generation = $1 order by shard`,
          [generation],
        );
        return list.map((row) => ({
          ...row,
          applied: positionsFromJson(row.applied),
          countedFrom: positionsFromJson(row.countedFrom),
        }));
      },
      async chunks() {
        const list = await rows<{
          shard: number;
          chunk: number;
          positions: Record<string, string>;
          inputs: number | null;
        }>(`select shard, o.chunk, o.positions, o.inputs ${SERVED} order by shard, o.chunk`, [generation]);
        return list.map((row) => ({
          ...row,
          positions: positionsFromJson(row.positions),
          inputs: row.inputs ?? undefined,
        }));
      },
      async *outbox() {
        const list = stream<{
          shard: number;
          chunk: number;
          positions: Record<string, string>;
          inputs: number | null;
          records: Buffer;
        }>(
          `select shard, o.chunk, o.positions, o.inputs, o.records ${SERVED} order by shard, o.chunk`,
          [generation],
          FETCH_OUTBOX_ROWS,
        );
        for await (const row of list) {
          yield { ...row, positions: positionsFromJson(row.positions), inputs: row.inputs ?? undefined };
        }
      },
      async countEvents() {
        const [row] = await rows<{ count: number }>('select count(*) as count from event where generation = $1', [
          generation,
        ]);
        return row?.count ?? 0;
      },
      eventsByShard: () =>
        stream<EventRow>(
          `select ${EVENT_COLUMNS} from event where generation = $1 order by generation, shard, shard_seq`,
          [generation],
        ),
      eventsByEntity: () =>
        stream<EntityEventRow>(
          `select entity_type as "entityType", entity_id as "entityId", e.seq, shard, shard_seq as "shardSeq", epoch,
             command_id as "commandId", coalesce(s.removed_through, 0) as "removedThrough"
           from event e left join snapshot s using (generation, entity_type, entity_id)
           where generation = $1 order by generation, entity_type, entity_id, e.seq`,
          [generation],
        ),
      async removedEvents() {
        const list = await rows<RemovedEvents & { shard: number }>(
          `select shard, sum(rows)::bigint as events, max(through) as through from removed
           where generation = $1 and kind = 'events' group by shard`,
          [generation],
        );
        return new Map(list.map(({ shard, events, through }) => [shard, { events, through }]));
      },
      events: () =>
        stream<EventWithPayload>(
          `select ${EVENT_COLUMNS}, type_url as "typeUrl", payload
           from event where generation = $1 order by generation, shard, shard_seq`,
          [generation],
          FETCH_ROWS / 4,
        ),
      values: () =>
        stream<ValueRow>(
          `select entity_type as "entityType", entity_id as "entityId", revision, shard, epoch, command_id as "commandId",
             type_url as "typeUrl", payload
           from value where generation = $1`,
          [generation],
          FETCH_ROWS / 4,
        ),
      feeds: () =>
        rows<FeedRow>(
          `select name, source, entity_type as "entityType", shard, position, through
           from feed where generation = $1 order by name, source, entity_type, shard`,
          [generation],
        ),
      parked: () =>
        stream<{ commandId: string }>('select command_id as "commandId" from parked where generation = $1', [
          generation,
        ]),
      strangeSnapshots: () =>
        rows(
          `select s.entity_type as "entityType", s.entity_id as "entityId", s.seq, coalesce(e.seq, 0) as last
           from snapshot s left join lateral (
             select seq from event e
             where e.generation = s.generation and e.entity_type = s.entity_type and e.entity_id = s.entity_id
             order by e.seq desc limit 1
           ) e on true
           where s.generation = $1 and s.seq > coalesce(e.seq, 0)
           order by s.entity_type, s.entity_id limit 100`,
          [generation],
        ),
      async hasEventOf(entityTypes, entityId, commandId) {
        const found = await rows(
          `select 1 from unnest($2::text[]) as k(entity_type)
           where exists (select 1 from event e where e.generation = $1 and e.entity_type = k.entity_type and e.entity_id = $3
                         and e.command_id = $4)
              or exists (select 1 from snapshot s where s.generation = $1 and s.entity_type = k.entity_type and s.entity_id = $3
                         and s.removed_through > 0) limit 1`,
          [generation, entityTypes, entityId, commandId],
        );
        return found.length > 0;
      },
      async payloadOf(entityTypes, entityId, commandId, index) {
        const [found] = await rows<Payload>(
          `select i.type_url as "typeUrl", i.payload as value
           from unnest($2::text[]) as k(entity_type) join ${index === 0 ? 'value' : 'event'} i
             on i.generation = $1 and i.entity_type = k.entity_type and i.entity_id = $3 and i.command_id = $4
           ${index === 0 ? '' : 'order by i.seq'} offset $5 limit 1`,
          [generation, entityTypes, entityId, commandId, Math.max(0, index - 1)],
        );
        return found;
      },
      sample: (size) =>
        rows<SampledEntity>(
          `with long as (
             select s.entity_type, s.entity_id, s.seq ${SNAPSHOTS} ${WHOLE} order by s.seq desc, s.entity_type, s.entity_id limit $2
           ), spread as (
             select s.entity_type, s.entity_id, s.seq ${SNAPSHOTS} ${WHOLE}
               and not exists (select 1 from long l where l.entity_type = s.entity_type and l.entity_id = s.entity_id)
             order by md5(s.entity_type || '/' || s.entity_id) limit $3
           )
           select entity_type as "entityType", entity_id as "entityId", seq
           from (select * from long union all select * from spread) both_halves`,
          [generation, Math.ceil(size / 2), Math.floor(size / 2)],
        ),
      async countSnapshots() {
        const [row] = await rows<{ all: number; whole: number }>(
          `select count(*) as all, count(*) filter (where true ${WHOLE}) as whole ${SNAPSHOTS}`,
          [generation],
        );
        return { whole: row?.whole ?? 0, cut: (row?.all ?? 0) - (row?.whole ?? 0) };
      },
      async close() {
        // A client that is destroyed ends its transaction too, which is all that there is to end.
        await client.query('rollback').catch(() => undefined);
        client.release();
      },
    };
  } catch (error) {
    client.release(true);
    throw error;
  }
}
