import type pg from 'pg';
import type { Change, FeedKey, FeedMove, FeedPosition } from '../model/feed.ts';

/** Bytes of payloads that one read brings, except that one change always comes. */
const READ_BYTES = 1024 * 1024;
/** Values that one read brings at most. */
const VALUES = 500;

const SETTLE = `
with mine as (
  select s.shard, s.shard_seq, s.chunk from shard s
  join unnest($2::int[], $3::bigint[]) as o(shard, epoch) on o.shard = s.shard and o.epoch = s.epoch
  where s.generation = $1 for update of s
), present as (
  select p.*, m.shard, m.chunk, case p.source when 'value' then m.chunk else m.shard_seq end as head
  from unnest($4::text[], $5::text[], $6::text[]) as p(name, source, entity_type) cross join mine m
), gone as (
  update feed f
  set state = 'away', through = 0, cursor = '',
      position = case when f.state <> 'live' then f.position when f.source = 'value' then m.chunk else m.shard_seq end
  from mine m
  where f.generation = $1 and f.shard = m.shard and f.state <> 'away' and not exists (
    select 1 from present p where p.name = f.name and p.source = f.source and p.entity_type = f.entity_type
  )
)
insert into feed as f (generation, name, source, entity_type, shard, state, position, through, cursor)
select $1, p.name, p.source, p.entity_type, p.shard, case when p.head = 0 then 'live' else 'catching-up' end,
  case p.source when 'value' then -1 else 0 end, p.chunk, ''
from present p
on conflict (generation, name, source, entity_type, shard) do update
  set state = case when f.state <> 'away' then f.state
                   when f.position = (select p.head from present p where p.shard = f.shard and p.name = f.name
                                      and p.source = f.source and p.entity_type = f.entity_type) then 'live'
                   else 'catching-up' end,
      through = case when f.state = 'away' then excluded.through else f.through end
returning name, source, entity_type as "entityType", shard, state, position, through, cursor`;

/**
 * Where the feeds of shards that were just opened stand, where their epochs are still ours. One that the journal does not
 * know starts at the beginning; one that the function has no more is away from here on, and goes on from here when it comes
 * back. Nothing may be journaled for the shards before.
 */
export async function settleFeeds(
  pool: pg.Pool,
  generation: number,
  shards: readonly { readonly shard: number; readonly epoch: number }[],
  feeds: readonly FeedKey[],
): Promise<(FeedKey & FeedPosition & { readonly shard: number })[]> {
  const result = await pool.query<FeedKey & FeedPosition & { readonly shard: number }>({
    name: 'settle-feeds',
    text: SETTLE,
    values: [
      generation,
      shards.map(({ shard }) => shard),
      shards.map(({ epoch }) => epoch),
      feeds.map(({ name }) => name),
      feeds.map(({ source }) => source),
      feeds.map(({ entityType }) => entityType),
    ],
  });
  return result.rows;
}

/** Moves feeds. Call it in the transaction of the chunks that have the commands, and for those alone whose shard moved. */
export async function writeFeeds(
  client: Pick<pg.ClientBase, 'query'>,
  generation: number,
  moves: readonly (FeedMove & { readonly shard: number })[],
): Promise<void> {
  await client.query({
    name: 'write-feeds',
    text: `update feed f
       set state = m.state, position = m.position, through = m.through, cursor = m.cursor
       from unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::text[])
         as m(shard, name, source, entity_type, state, position, through, cursor)
       where f.generation = $1 and f.shard = m.shard and f.name = m.name and f.source = m.source and f.entity_type = m.entity_type`,
    values: [
      generation,
      moves.map(({ shard }) => shard),
      moves.map(({ name }) => name),
      moves.map(({ source }) => source),
      moves.map(({ entityType }) => entityType),
      moves.map(({ state }) => state),
      moves.map(({ position }) => position),
      moves.map((move) => (move.state === 'live' ? 0 : move.through)),
      moves.map((move) => (move.state === 'live' ? '' : move.cursor)),
    ],
  });
}

/** What a read of the journal for a feed brought; `isWhole`: there was no more. */
export interface ReadChanges {
  readonly changes: readonly (Change & { readonly shardSeq: number })[];
  readonly isWhole: boolean;
}

interface ChangeRow {
  entity_id: string;
  number: number;
  shard_seq: number;
  command_id: string;
  type_url: string | null;
  payload: Buffer | null;
  /** Rows that there were before the limit on bytes. */
  found: number;
}

const EVENTS = `
select e.entity_id, e.seq as number, e.shard_seq, e.command_id, e.type_url, e.payload
from event e
left join voided d on d.generation = e.generation and d.entity_type = e.entity_type and d.entity_id = e.entity_id
where e.generation = $1 and e.shard = $2 and e.entity_type = $3 and e.shard_seq > $4 and e.shard_seq <= $5
  and e.seq > coalesce(d.seq, 0)`;

const CHANGED_VALUES = `
select v.entity_id, v.revision as number, 0::bigint as shard_seq, v.command_id, v.type_url, v.payload
from value v
where v.generation = $1 and v.shard = $2 and v.entity_type = $3 and v.chunk > $4 and v.chunk <= $5 and v.entity_id > $6
order by v.entity_id limit ${VALUES}`;

/** As many of the rows of `query`, in the order of `column`, as there is room for. */
function within(query: string, column: string): string {
  return `select * from (
      select *, count(*) over () as found,
        coalesce(sum(octet_length(payload)) over (order by ${column}) - octet_length(payload), 0) as before
      from (${query}) changes
    ) counted
    where before < ${READ_BYTES} order by ${column}`;
}

/**
 * Events of a shard and an entity type after one shard_seq and up to another, in order; those of a deleted entity whose time
 * for clean-up has come are left out.
 */
export async function readFedEvents(
  pool: pg.Pool,
  generation: number,
  wanted: { readonly shard: number; readonly entityType: string; readonly after: number; readonly through: number },
): Promise<ReadChanges> {
  const { shard, entityType, after, through } = wanted;
  const { rows } = await pool.query<ChangeRow>({
    name: 'read-fed-events',
    text: within(EVENTS, 'shard_seq'),
    values: [generation, shard, entityType, after, through],
  });
  return { changes: rows.map(changeOf), isWhole: rows.length === (rows[0]?.found ?? 0) };
}

/**
 * Values of a shard and an entity type that were last written by chunks after one and up to another, deleted ones too, of
 * entities after `cursor`, in the order of Postgres.
 */
export async function readFedValues(
  pool: pg.Pool,
  generation: number,
  wanted: {
    readonly shard: number;
    readonly entityType: string;
    readonly after: number;
    readonly through: number;
    readonly cursor: string;
  },
): Promise<ReadChanges> {
  const { shard, entityType, after, through, cursor } = wanted;
  const { rows } = await pool.query<ChangeRow>({
    name: 'read-fed-values',
    text: within(CHANGED_VALUES, 'entity_id'),
    values: [generation, shard, entityType, after, through, cursor],
  });
  const found = rows[0]?.found ?? 0;
  return { changes: rows.map(changeOf), isWhole: rows.length === found && found < VALUES };
}

function changeOf(row: ChangeRow): Change & { readonly shardSeq: number } {
  const { entity_id: entityId, number, shard_seq: shardSeq, command_id: commandId, type_url: typeUrl, payload } = row;
  const change = { entityId, number, shardSeq, commandId };
  return typeUrl === null || payload === null ? change : { ...change, typeUrl, payload };
}
