import type { History, KnownComponent } from './scope.ts';

/** What the journal has of a component. */
export interface ComponentStats {
  readonly component: KnownComponent;
  readonly entities: number;
  readonly events: number;
  /** Of events' payloads, and of values. */
  readonly bytes: number;
  readonly first: Date | undefined;
  readonly last: Date | undefined;
  /** Undefined: there are no events. */
  readonly eventsPerEntity: { readonly mean: number; readonly max: number } | undefined;
  /** Events that retention has removed. */
  readonly removed: number;
  readonly snapshots: number;
  readonly snapshotBytes: number;
  /** Values that are not deleted. */
  readonly values: number;
  /** Event sourced entities that asked for it, and values that are deleted. */
  readonly deletions: number;
}

/** A table, in bytes with its indexes and what is stored beside it; rows as the database estimates them. */
export interface TableSize {
  readonly name: string;
  readonly bytes: number;
  /** Undefined: the database has not looked yet. */
  readonly rows: number | undefined;
}

/** The oldest row of a table that is kept for a time only; undefined where there is none. */
export interface Kept {
  readonly chunks: number;
  readonly oldest: Date | undefined;
}

export interface JournalStats {
  readonly components: readonly ComponentStats[];
  readonly tables: readonly TableSize[];
  readonly chunks: Kept;
  readonly outbox: Kept;
  readonly inputs: Kept;
}

interface Sums {
  entities: number;
  events: number;
  bytes: number;
  first: Date | undefined;
  last: Date | undefined;
  max: number;
}

/**
 * Counts what a generation of the journal has. All events are read, a shard at a time; `onShard` is told after each how
 * many events were counted so far.
 */
export async function countJournal(
  history: History,
  onShard: (shard: number, events: number) => void,
): Promise<JournalStats> {
  const { db, generation } = history;
  const byType = new Map<string, Sums>();
  const { rows: shards } = await db.query<{ shard: number }>(
    'select shard from shard where generation = $1 order by shard',
    [generation],
  );
  let counted = 0;
  for (const { shard } of shards) {
    const { rows } = await db.query<Sums & { entity_type: string }>(
      `select entity_type, count(*) as entities, sum(events)::float8 as events, sum(bytes)::float8 as bytes,
         min(first) as first, max(last) as last, max(events) as max
       from (
         select entity_type, entity_id, count(*) as events, sum(octet_length(payload)) as bytes, min(at) as first, max(at) as last
         from event where generation = $1 and shard = $2 group by entity_type, entity_id
       ) entity group by entity_type`,
      [generation, shard],
    );
    for (const { entity_type: entityType, ...sums } of rows) {
      counted += sums.events;
      byType.set(entityType, add(byType.get(entityType), sums));
    }
    onShard(shard, counted);
  }
  const grouped = async <T extends object>(sql: string): Promise<Map<string, T>> => {
    const { rows } = await db.query<T & { entity_type: string }>(sql, [generation]);
    return new Map(rows.map((row) => [row.entity_type, row]));
  };
  const snapshots = await grouped<{ count: number; bytes: number }>(
    `select entity_type, count(*) as count, sum(octet_length(payload))::float8 as bytes
     from snapshot where generation = $1 group by entity_type`,
  );
  const values = await grouped<{ count: number; deleted: number; bytes: number; first: Date; last: Date }>(
    `select entity_type, count(*) as count, count(*) filter (where type_url is null) as deleted,
       coalesce(sum(octet_length(payload)), 0)::float8 as bytes, min(at) as first, max(at) as last
     from value where generation = $1 group by entity_type`,
  );
  const deletions = await grouped<{ count: number }>(
    'select entity_type, count(*) as count from deletion where generation = $1 group by entity_type',
  );
  const removed = await grouped<{ count: number }>(
    `select entity_type, sum(rows)::float8 as count from removed where generation = $1 and kind = 'events' group by entity_type`,
  );
  return {
    components: history.components.map((component) => {
      const { entityType } = component;
      const events = byType.get(entityType);
      const value = values.get(entityType);
      return {
        component,
        entities: (events?.entities ?? 0) + (value?.count ?? 0),
        events: events?.events ?? 0,
        bytes: (events?.bytes ?? 0) + (value?.bytes ?? 0),
        first: earlier(events?.first, value?.first),
        last: later(events?.last, value?.last),
        eventsPerEntity: events && { mean: events.events / events.entities, max: events.max },
        removed: removed.get(entityType)?.count ?? 0,
        snapshots: snapshots.get(entityType)?.count ?? 0,
        snapshotBytes: snapshots.get(entityType)?.bytes ?? 0,
        values: (value?.count ?? 0) - (value?.deleted ?? 0),
        deletions: (deletions.get(entityType)?.count ?? 0) + (value?.deleted ?? 0),
      };
    }),
    tables: await tableSizes(history),
    chunks: await kept(history, 'chunk'),
    outbox: await kept(history, 'outbox'),
    inputs: await kept(history, 'input'),
  };
}

async function tableSizes({ db }: History): Promise<TableSize[]> {
  const { rows } = await db.query<{ name: string; bytes: number; rows: number }>(
    `select c.relname as name, pg_total_relation_size(c.oid) as bytes, c.reltuples::float8 as rows
     from pg_class c
     where c.relkind = 'r' and c.relnamespace = (select relnamespace from pg_class where oid = to_regclass('event'))
     order by 2 desc`,
  );
  return rows.map((row) => ({ ...row, rows: row.rows < 0 ? undefined : row.rows }));
}

async function kept({ db, generation }: History, table: 'chunk' | 'outbox' | 'input'): Promise<Kept> {
  // The oldest of each shard is the first of its primary key; the times of all others need not be looked at.
  const { rows } = await db.query<{ chunks: number; oldest: Date | null }>(
    `select (select count(*) from ${table} where generation = $1) as chunks,
       (select min(o.at) from shard s cross join lateral (
          select at from ${table} t where t.generation = $1 and t.shard = s.shard order by t.chunk limit 1
        ) o where s.generation = $1) as oldest`,
    [generation],
  );
  return { chunks: rows[0]?.chunks ?? 0, oldest: rows[0]?.oldest ?? undefined };
}

function add(before: Sums | undefined, more: Sums): Sums {
  if (before === undefined) return { ...more };
  return {
    entities: before.entities + more.entities,
    events: before.events + more.events,
    bytes: before.bytes + more.bytes,
    first: earlier(before.first, more.first),
    last: later(before.last, more.last),
    max: Math.max(before.max, more.max),
  };
}

function earlier(one: Date | undefined, other: Date | undefined): Date | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one <= other ? one : other;
}

function later(one: Date | undefined, other: Date | undefined): Date | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return one >= other ? one : other;
}
