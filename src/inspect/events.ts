import { chunksFrom } from '../journal/find-chunks.ts';
import type { Payload } from '../model/payload.ts';
import type { History } from './scope.ts';

/** An event as it is journaled. */
export interface JournaledEvent {
  readonly entityType: string;
  readonly entityId: string;
  readonly seq: number;
  readonly shard: number;
  readonly shardSeq: number;
  readonly payload: Payload;
  readonly commandId: string;
  readonly at: Date;
}

/** Which events are meant; absent: all of them. */
export interface EventFilter {
  readonly entityTypes?: readonly string[];
  readonly entityId?: string;
  /** Entities whose ids begin with this. */
  readonly entityPrefix?: string;
  readonly shard?: number;
  /** Of one entity: first and last sequence number. */
  readonly fromSeq?: number;
  readonly toSeq?: number;
  readonly from?: Date;
  readonly to?: Date;
  /** Of this command, and of all that derive from it. */
  readonly command?: string;
  /** Of the commands that came of these external records, and of all that derive from them. */
  readonly roots?: readonly string[];
  /** A type url, or a message's full name. */
  readonly type?: string;
}

/** Where a shard's events are looked at: those after the one and up to the other, by shard_seq. */
export interface ShardRange {
  readonly shard: number;
  readonly after: number;
  readonly through: number;
}

/** Rows that are asked for at a time, where nothing else is said. */
const PAGE = 500;
const ENTITIES_PAGE = 500;
/** Chunks are as old as their server's clock says, which may have been put back: so much more of them is looked at, in ms. */
const CLOCK_SLACK_MS = 60_000;

const COLUMNS = `entity_type as "entityType", entity_id as "entityId", seq, shard, shard_seq as "shardSeq", type_url as "typeUrl",
  payload as value, command_id as "commandId", at`;

type Row = Omit<JournaledEvent, 'payload'> & { readonly typeUrl: string; readonly value: Buffer };

/** Where each shard stands: up to which shard_seq there are events. */
export async function shardHeads({ db, generation }: History, shard?: number): Promise<ShardRange[]> {
  const { rows } = await db.query<{ shard: number; through: number }>(
    'select shard, shard_seq as through from shard where generation = $1 and ($2::int is null or shard = $2) order by shard',
    [generation, shard ?? null],
  );
  return rows.map((row) => ({ ...row, after: 0 }));
}

/** What of each shard a filter can be fulfilled in, by the times of the chunks: the table of events has no index for time. */
export async function shardRanges(history: History, { shard, from, to }: EventFilter): Promise<ShardRange[]> {
  const heads = await shardHeads(history, shard);
  if (from === undefined && to === undefined) return heads;
  const shards = heads.map((head) => head.shard);
  const reaching = async (time: Date | undefined, slack: number) =>
    time === undefined ? [] : chunksFrom(history, new Date(time.getTime() + slack), shards);
  const first = await reaching(from, -CLOCK_SLACK_MS);
  const beyond = await reaching(to, CLOCK_SLACK_MS);
  const { rows } = await history.db.query<{ shard: number }>(
    `select s.shard from shard s
     where s.generation = $1 and exists (select 1 from chunk c where c.generation = $1 and c.shard = s.shard)`,
    [history.generation],
  );
  const hasChunks = new Set(rows.map((row) => row.shard));
  return heads.map((head, i) => ({
    shard: head.shard,
    after:
      from !== undefined && first[i] === undefined && hasChunks.has(head.shard)
        ? head.through
        : (first[i]?.before?.shardSeq ?? 0),
    through: Math.min(head.through, beyond[i]?.before?.shardSeq ?? head.through),
  }));
}

/** Events shard by shard, in the order in which they were journaled there. */
export async function* eventsByShard(
  history: History,
  filter: EventFilter,
  ranges: readonly ShardRange[],
  pageSize = PAGE,
): AsyncGenerator<JournaledEvent[]> {
  for (const { shard, after, through } of ranges) {
    for (let at = after; at < through; ) {
      const query = conditions(history, filter);
      query.where('shard = ?', shard);
      query.where('shard_seq > ?', at);
      query.where('shard_seq <= ?', through);
      const page = await query.rows('order by shard_seq', pageSize);
      if (page.length > 0) yield page;
      at = page.length < pageSize ? through : (page.at(-1) as JournaledEvent).shardSeq;
    }
  }
}

/** Events entity by entity, in the order of their sequence; entities in the order of the database. */
export async function* eventsByEntity(
  history: History,
  filter: EventFilter,
  pageSize = PAGE,
): AsyncGenerator<JournaledEvent[]> {
  const { entityPrefix, ...others } = filter;
  const types = filter.entityTypes ?? history.components.map(({ entityType }) => entityType);
  for (const entityType of types) {
    const narrowed = { ...others, entityTypes: [entityType] };
    if (entityPrefix === undefined) yield* entityPages(history, narrowed, undefined, pageSize);
    else {
      for await (const ids of entityIds(history, 'event', { entityType, prefix: entityPrefix, after: undefined })) {
        yield* entityPages(history, narrowed, ids, pageSize);
      }
    }
  }
}

async function* entityPages(
  history: History,
  filter: EventFilter,
  ids: readonly string[] | undefined,
  pageSize: number,
): AsyncGenerator<JournaledEvent[]> {
  let after: JournaledEvent | undefined;
  do {
    const query = conditions(history, filter);
    if (ids !== undefined) query.where('entity_id = any(?)', ids);
    if (after !== undefined) query.where('(entity_id, seq) > (?, ?)', after.entityId, after.seq);
    const page = await query.rows('order by entity_type, entity_id, seq', pageSize);
    if (page.length > 0) yield page;
    after = page.length < pageSize ? undefined : page.at(-1);
  } while (after !== undefined);
}

/**
 * Ids of a component's entities in the order of the database, a page at a time: one probe of the primary key for each,
 * however many events it has.
 */
export async function* entityIds(
  { db, generation }: History,
  table: 'event' | 'value',
  { entityType, prefix, after }: { entityType: string; prefix: string; after: string | undefined },
): AsyncGenerator<string[]> {
  const next = (than: string, beyond: string) =>
    `select entity_id from ${table} where generation = $1 and entity_type = $2 and entity_id ${than} ${beyond} order by entity_id limit 1`;
  let last = after;
  for (;;) {
    const { rows } = await db.query<{ entity_id: string }>(
      `with recursive ids as (
         (${last === undefined ? next('>=', '$3') : next('>', '$3')})
         union all
         select (${next('>', 'ids.entity_id')}) from ids where ids.entity_id is not null
       )
       select entity_id from ids where entity_id is not null and starts_with(entity_id, $4) limit $5`,
      [generation, entityType, last ?? '', prefix, ENTITIES_PAGE],
    );
    if (rows.length > 0) yield rows.map((row) => row.entity_id);
    if (rows.length < ENTITIES_PAGE) return;
    last = rows.at(-1)?.entity_id;
  }
}

/** Events of one entity after one of them and up to another, in order. */
export async function* eventsOf(
  history: History,
  entity: { readonly entityType: string; readonly entityId: string },
  after: number,
  through: number,
): AsyncGenerator<JournaledEvent> {
  const filter = {
    entityTypes: [entity.entityType],
    entityId: entity.entityId,
    fromSeq: after + 1,
    toSeq: through,
  };
  for await (const page of eventsByEntity(history, filter)) yield* page;
}

/** A query of the events that a filter lets through. Each `?` of a condition stands for one of its values. */
function conditions({ db, generation }: History, filter: EventFilter) {
  const values: unknown[] = [];
  const terms: string[] = [];
  const where = (term: string, ...given: readonly unknown[]): void => {
    let n = 0;
    terms.push(
      term.replaceAll('?', () => {
        values.push(given[n++]);
        return `$${values.length}`;
      }),
    );
  };
  const maybe = (term: string, value: unknown): void => {
    if (value !== undefined) where(term, value);
  };
  where('generation = ?', generation);
  if (filter.entityTypes?.length === 1) where('entity_type = ?', filter.entityTypes[0]);
  else maybe('entity_type = any(?)', filter.entityTypes);
  maybe('entity_id = ?', filter.entityId);
  maybe('starts_with(entity_id, ?)', filter.entityPrefix);
  maybe('shard = ?', filter.shard);
  maybe('seq >= ?', filter.fromSeq);
  maybe('seq <= ?', filter.toSeq);
  maybe('at >= ?', filter.from);
  maybe('at <= ?', filter.to);
  const { command, type } = filter;
  if (command !== undefined) {
    where(`split_part(command_id, '#', 1) = split_part(?, '#', 1)`, command);
    where(`(command_id = ? or starts_with(command_id, ?))`, command, `${command}#`);
  }
  maybe(`split_part(command_id, '#', 1) = any(?)`, filter.roots);
  // A type url ends with the name of its type, behind a slash.
  if (type !== undefined) where(`(type_url = ? or right(type_url, ?) = ?)`, type, type.length + 1, `/${type}`);
  return {
    where,
    async rows(order: string, limit: number): Promise<JournaledEvent[]> {
      values.push(limit);
      const found = `select * from event where ${terms.join(' and ')}`;
      // Those of a command are few, and have an index of their own: the order must not make Postgres walk another one.
      const isFew = command !== undefined || filter.roots !== undefined;
      const result = await db.query<Row>(
        `select ${COLUMNS} from (${found}${isFew ? ' offset 0' : ''}) event ${order} limit $${values.length}`,
        values,
      );
      return result.rows.map(({ typeUrl, value, ...event }) => ({ ...event, payload: { typeUrl, value } }));
    },
  };
}
