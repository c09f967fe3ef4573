import type pg from 'pg';

/** What retention may remove: events below the newest snapshot of their entity; inputs, outputs and changes of values of whole chunks. */
export type RetentionKind = 'events' | 'inputs' | 'outputs' | 'values';

/** One connection, so that all is done under the lock that it holds. */
export type RetentionClient = Pick<pg.ClientBase, 'query'>;

/** A bound in a shard: what is up to it, a shard_seq of events or else a chunk, may go. */
export interface ShardBound {
  readonly shard: number;
  readonly through: number;
}

/** Snapshots that one look at entities covers. */
const ENTITIES_PAGE = 200;
/** Rows that a size is summed over with one statement. */
const SIZE_PAGE = 5_000;
/** Events, and chunks, that one statement removes at most, so that none takes long. */
const EVENTS_BATCH = 2_000;
const CHUNKS_BATCH = 100;

/** Where what is kept by chunk is, and what of a row takes the room. */
const TABLES = {
  inputs: { table: 'input', bytes: 'records' },
  outputs: { table: 'outbox', bytes: 'records' },
  values: { table: 'value_revision', bytes: 'payload' },
} as const;

/**
 * Takes the lock that lets one process at a time remove something; it is the connection's, until `unlockRetention` or its end.
 * False: another one has it.
 */
export async function lockRetention(client: RetentionClient): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>(
    "select pg_try_advisory_lock(hashtext('stateferry retention'), hashtext(current_schema)) as locked",
  );
  return rows[0]?.locked === true;
}

export async function unlockRetention(client: RetentionClient): Promise<void> {
  await client.query("select pg_advisory_unlock(hashtext('stateferry retention'), hashtext(current_schema))");
}

/** Entity types that have snapshots, and so something below them, one index probe each. */
export async function snapshotTypes(client: RetentionClient, generation: number): Promise<string[]> {
  const { rows } = await client.query<{ entity_type: string }>(
    `with recursive types as (
       (select entity_type from snapshot where generation = $1 order by entity_type limit 1)
       union all
       select (select s.entity_type from snapshot s where s.generation = $1 and s.entity_type > types.entity_type
               order by s.entity_type limit 1)
       from types where types.entity_type is not null
     )
     select entity_type from types where entity_type is not null`,
    [generation],
  );
  return rows.map((row) => row.entity_type);
}

/** Components with entities that some version of the function had, for those who name them by their service. */
export async function knownComponents(
  client: RetentionClient,
): Promise<{ readonly entityType: string; readonly service: string }[]> {
  const { rows } = await client.query<{ entityType: string; service: string }>(
    `select distinct c ->> 'entityType' as "entityType", c ->> 'service' as service
     from function_version v cross join jsonb_array_elements(v.components) c
     where c ->> 'kind' in ('event-sourced', 'replicated') order by 1, 2`,
  );
  return rows;
}

/**
 * The last of the rows of a shard that are older than the newest `maxBytes` of them: a shard_seq for events of an entity type,
 * a chunk for inputs and outputs. 0: all of them are fewer bytes. Pages of rows are summed from the newest on, `pause` after each.
 */
export async function boundBySize(
  client: RetentionClient,
  of: {
    readonly generation: number;
    readonly shard: number;
    readonly kind: RetentionKind;
    readonly entityType: string;
    readonly maxBytes: number;
  },
  pause: () => Promise<void>,
): Promise<number> {
  const { generation, shard, kind, entityType, maxBytes } = of;
  const [table, column, bytes, where] =
    kind === 'events'
      ? ['event', 'shard_seq', 'payload', 'and entity_type = $5']
      : [TABLES[kind].table, 'chunk', TABLES[kind].bytes, 'and $5 = $5'];
  let left = maxBytes;
  let before = Number.MAX_SAFE_INTEGER;
  for (;;) {
    const { rows } = await client.query<{ beyond: number | null; low: number | null; bytes: number; count: number }>(
      `select max(at) filter (where total > $4::bigint) as beyond, min(at) as low, coalesce(max(total), 0)::bigint as bytes, count(*) as count
       from (
         select ${column} as at, sum(octet_length(${bytes})) over (order by ${column} desc) as total from (
           select ${column}, ${bytes} from ${table}
           where generation = $1 and shard = $2 and ${column} < $3 ${where} order by ${column} desc limit ${SIZE_PAGE}
         ) page
       ) summed`,
      [generation, shard, before, left, entityType],
    );
    const [row] = rows;
    if (row === undefined || row.low === null) return 0;
    if (row.beyond !== null) return row.beyond;
    if (row.count < SIZE_PAGE) return 0;
    left -= row.bytes;
    before = row.low;
    await pause();
  }
}

/** Events of one entity that may go: those after `from`, which went before, up to `through`. */
export interface EntityCut {
  readonly entityId: string;
  readonly from: number;
  readonly through: number;
  /** Of payloads. */
  readonly bytes: number;
}

/**
 * What may go of the entities of a type, some entities at a time: events below the snapshot and up to their shard's bound, but no
 * command's in part, since the numbers of its events in it are told from where they begin. Of one entity `perEntity` events at most.
 */
export async function cutsOf(
  client: RetentionClient,
  wanted: {
    readonly generation: number;
    readonly entityType: string;
    readonly bounds: readonly ShardBound[];
    /** Entities after this one. */
    readonly after: string;
    readonly perEntity?: number;
  },
): Promise<{
  readonly cuts: EntityCut[];
  /** The last entity that was looked at; undefined: there was none. */
  readonly last: string | undefined;
}> {
  const { generation, entityType, bounds, after, perEntity = Number.MAX_SAFE_INTEGER } = wanted;
  const { rows } = await client.query<{ entity_id: string; from: number; through: number | null; bytes: number }>(
    `with page as (
       select entity_id, seq, removed_through from snapshot
       where generation = $1 and entity_type = $2 and entity_id > $3 order by entity_id limit ${ENTITIES_PAGE}
     )
     select p.entity_id, p.removed_through as from, c.through, c.bytes
     from page p cross join lateral (
       select max(w.seq) filter (where w.ends) as through, max(w.total) filter (where w.ends)::bigint as bytes
       from (
         select e.seq, sum(octet_length(e.payload)) over (order by e.seq) as total,
           not exists (select 1 from event n where n.generation = $1 and n.entity_type = $2 and n.entity_id = p.entity_id
                       and n.seq = e.seq + 1 and n.command_id = e.command_id) as ends
         from event e join unnest($4::int[], $5::bigint[]) as b(shard, through) on b.shard = e.shard
         where e.generation = $1 and e.entity_type = $2 and e.entity_id = p.entity_id
           and e.seq > p.removed_through and e.seq < p.seq and e.shard_seq <= b.through
         order by e.seq limit $6
       ) w
     ) c
     order by p.entity_id`,
    [generation, entityType, after, bounds.map(({ shard }) => shard), bounds.map(({ through }) => through), perEntity],
  );
  return {
    cuts: rows.flatMap(({ entity_id: entityId, from, through, bytes }) =>
      through === null ? [] : [{ entityId, from, through, bytes }],
    ),
    last: rows.at(-1)?.entity_id,
  };
}

/** What was removed. */
export interface Removal {
  readonly rows: number;
  readonly bytes: number;
}

const NOTE = `
insert into removed as r (generation, shard, kind, entity_type, through, rows, bytes)
select $1, g.shard, $2, $3, max(g.at), count(*), sum(g.bytes) from gone g group by g.shard
on conflict (generation, shard, kind, entity_type) do update
  set through = greatest(r.through, excluded.through), rows = r.rows + excluded.rows, bytes = r.bytes + excluded.bytes, at = now()`;

/**
 * Removes events, and notes it, in one transaction. An entity whose snapshot is not what it was any more, or of which others
 * have removed something, is left as it is.
 */
export async function removeEvents(
  client: RetentionClient,
  generation: number,
  entityType: string,
  cuts: readonly EntityCut[],
): Promise<Removal> {
  const { rows } = await client.query<Removal>(
    `with given as (
       select * from unnest($4::text[], $5::bigint[], $6::bigint[]) as g(entity_id, low, through)
     ), marked as (
       update snapshot s set removed_through = g.through from given g
       where s.generation = $1 and s.entity_type = $3 and s.entity_id = g.entity_id
         and s.removed_through = g.low and s.seq > g.through
       returning g.*
     ), gone as (
       delete from event e using marked m
       where e.generation = $1 and e.entity_type = $3 and e.entity_id = m.entity_id and e.seq > m.low and e.seq <= m.through
       returning e.shard, e.shard_seq as at, octet_length(e.payload) as bytes
     ), noted as (${NOTE})
     select count(*) as rows, coalesce(sum(bytes), 0)::bigint as bytes from gone`,
    [
      generation,
      'events',
      entityType,
      cuts.map(({ entityId }) => entityId),
      cuts.map(({ from }) => from),
      cuts.map(({ through }) => through),
    ],
  );
  return rows[0] ?? { rows: 0, bytes: 0 };
}

/** Cuts in portions that one statement removes. */
export function* portionsOf(cuts: readonly EntityCut[]): Generator<EntityCut[]> {
  let portion: EntityCut[] = [];
  let events = 0;
  for (const cut of cuts) {
    portion.push(cut);
    events += cut.through - cut.from;
    if (events < EVENTS_BATCH) continue;
    yield portion;
    portion = [];
    events = 0;
  }
  if (portion.length > 0) yield portion;
}

/** Events of one entity that one look brings at most, so that a portion stays one. */
export const EVENTS_PER_ENTITY = EVENTS_BATCH;

/** Removes the first chunks' inputs or outputs of a shard, up to a bound, and notes it; some at a time: `rows` 0 when there are none. */
export async function removeChunks(
  client: RetentionClient,
  generation: number,
  kind: Exclude<RetentionKind, 'events'>,
  { shard, through }: ShardBound,
): Promise<Removal> {
  const { table, bytes } = TABLES[kind];
  const { rows } = await client.query<Removal>(
    `with gone as (
       delete from ${table} where generation = $1 and shard = $4 and chunk in (
         select chunk from ${table} where generation = $1 and shard = $4 and chunk <= $5 order by chunk limit ${CHUNKS_BATCH}
       ) returning shard, chunk as at, coalesce(octet_length(${bytes}), 0) as bytes
     ), noted as (${NOTE})
     select count(*) as rows, coalesce(sum(bytes), 0)::bigint as bytes from gone`,
    [generation, kind, '', shard, through],
  );
  return rows[0] ?? { rows: 0, bytes: 0 };
}

/** What retention has removed of a generation so far. */
export interface RemovedSoFar {
  readonly shard: number;
  readonly kind: RetentionKind;
  /** Empty for inputs and outputs. */
  readonly entityType: string;
  /** shard_seq of the last event, or the last chunk. */
  readonly through: number;
  readonly rows: number;
  readonly bytes: number;
  readonly at: Date;
}

export async function readRemoved(client: RetentionClient, generation: number): Promise<RemovedSoFar[]> {
  const { rows } = await client.query<RemovedSoFar>(
    `select shard, kind, entity_type as "entityType", through, rows, bytes, at from removed
     where generation = $1 order by kind, entity_type, shard`,
    [generation],
  );
  return rows;
}

/** The event of an entity up to which retention has removed all of them; 0: none. */
export async function removedThrough(
  client: RetentionClient,
  generation: number,
  key: { readonly entityType: string; readonly entityId: string },
): Promise<number> {
  const { rows } = await client.query<{ through: number }>(
    'select removed_through as through from snapshot where generation = $1 and entity_type = $2 and entity_id = $3',
    [generation, key.entityType, key.entityId],
  );
  return rows[0]?.through ?? 0;
}

/** Rows of a shard up to a bound, by what holds them back. */
export interface Counted extends Removal {
  /** Number of the first hold that holds them; null: none. */
  readonly hold: number | null;
}

/**
 * Counts events of a shard and type up to a bound by what holds them back: -2 they have no snapshot, -1 they are not below it,
 * else the first of the holds that they are beyond; null: nothing.
 */
export async function countEvents(
  client: RetentionClient,
  of: {
    readonly generation: number;
    readonly entityType: string;
    readonly bound: ShardBound;
    readonly holds: readonly number[];
  },
): Promise<Counted[]> {
  const { generation, entityType, bound, holds } = of;
  const { rows } = await client.query<Counted>(
    `select h.hold, count(*) as rows, sum(octet_length(e.payload))::bigint as bytes
     from event e
     left join snapshot s on s.generation = e.generation and s.entity_type = e.entity_type and s.entity_id = e.entity_id
     cross join lateral (
       select case when s.seq is null then -2 when e.seq >= s.seq then -1
         else (select min(n)::int - 1 from unnest($5::bigint[]) with ordinality as o(through, n) where e.shard_seq > o.through) end as hold
     ) h
     where e.generation = $1 and e.shard = $2 and e.entity_type = $3 and e.shard_seq <= $4
     group by h.hold`,
    [generation, bound.shard, entityType, bound.through, holds],
  );
  return rows;
}

/** Counts chunks' inputs or outputs of a shard up to a bound by the first of the holds that they are beyond; null: none. */
export async function countChunks(
  client: RetentionClient,
  of: {
    readonly generation: number;
    readonly kind: Exclude<RetentionKind, 'events'>;
    readonly bound: ShardBound;
    readonly holds: readonly number[];
  },
): Promise<Counted[]> {
  const { generation, kind, bound, holds } = of;
  const { table, bytes } = TABLES[kind];
  const { rows } = await client.query<Counted>(
    `select h.hold, count(*) as rows, coalesce(sum(octet_length(t.${bytes})), 0)::bigint as bytes
     from ${table} t cross join lateral (
       select (select min(n)::int - 1 from unnest($4::bigint[]) with ordinality as o(through, n) where t.chunk > o.through) as hold
     ) h
     where t.generation = $1 and t.shard = $2 and t.chunk <= $3
     group by h.hold`,
    [generation, bound.shard, bound.through, holds],
  );
  return rows;
}
