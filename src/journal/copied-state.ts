import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { StateferryError } from '../errors.ts';
import type { Positions } from '../model/record.ts';
import { createGeneration, type Generation, setGenerationState } from './generations.ts';
import { positionsToJson } from './positions.ts';
import { lockRetention, unlockRetention } from './retention.ts';

/** Rows that one statement looks at, and events that one copies. */
const PAGE = 5_000;
/** How often it is looked whether retention has come to its end. */
const LOOK_MS = 100;

/** Where in the history of a shard something begins: behind this chunk, which led to these positions. */
export interface ShardStart {
  readonly chunk: number;
  readonly positions: Positions;
}

export interface CopyOptions {
  readonly wanted: Pick<Generation, 'name' | 'source' | 'mode' | 'functionUrl' | 'options'>;
  readonly starts: ReadonlyMap<number, ShardStart>;
  /** Entity types whose state has to be known; undefined: all. */
  readonly entityTypes: readonly string[] | undefined;
  /** So many rows more of a table were looked at. */
  readonly onRows: (what: string, rows: number) => void;
  readonly signal: AbortSignal;
}

/** The source's chunk behind which each shard begins; shards that begin where history does have none, and nothing to copy. */
const BEGAN = `began as (
  select c.shard, c.chunk, c.shard_seq, c.at
  from chunk c join unnest($2::int[], $3::bigint[]) as w(shard, chunk) using (shard, chunk) where c.generation = $1
)`;

/**
 * Makes a generation with the state that the entities of its source had where it begins: values, snapshots, deletions, keys and
 * feeds, in one transaction, since they change. It is `copying` then, and wants its events: `copyEvents`.
 * @throws StateferryError OPERATION_REFUSED where the state of then is not known any more, with how many entities and one of them;
 * CONFIG_INVALID when there is a generation of that name; the signal's reason. Nothing is made then.
 */
export async function beginCopy(pool: pg.Pool, options: CopyOptions): Promise<Generation> {
  const { wanted, starts, signal } = options;
  const client = await pool.connect();
  // The statement that was on its way tells of a lost connection.
  const ignore = () => undefined;
  client.on('error', ignore);
  let broken = true;
  try {
    // What retention removes is neither here nor there while it is at it.
    while (!(await lockRetention(client))) await delay(LOOK_MS, undefined, { signal });
    await client.query('begin transaction isolation level repeatable read');
    await client.query('set local statement_timeout = 0');
    const places = [...starts];
    const began = [wanted.source, places.map(([shard]) => shard), places.map(([, { chunk }]) => chunk)] as const;
    await refuseUnknown(client, began, options.entityTypes);
    const made = await createGeneration(client, {
      ...wanted,
      state: 'copying',
      starts: new Map(places.map(([shard, { positions }]) => [shard, positions])),
    });
    await client.query(
      `with ${BEGAN}
       insert into chunk (generation, shard, chunk, positions, shard_seq, records, at)
       select $4, b.shard, 0, p.positions, b.shard_seq, 0, b.at
       from began b join unnest($2::int[], $5::jsonb[]) as p(shard, positions) using (shard)`,
      [...began, made.generation, places.map(([, { positions }]) => positionsToJson(positions))],
    );
    for (const copy of COPIES) {
      for (let after: readonly unknown[] | undefined = copy.from; after !== undefined; ) {
        signal.throwIfAborted();
        const page: Page = await copyPage(client, copy, began, made.generation, after);
        options.onRows(copy.table, page.rows);
        after = page.last;
      }
    }
    for (const statement of [FEEDS, REMOVED]) await client.query(statement, [...began, made.generation]);
    await client.query('commit');
    await unlockRetention(client);
    broken = false;
    return made;
  } finally {
    client.off('error', ignore);
    // One that is closed ends its transaction, and gives its lock back.
    client.release(broken);
  }
}

/** Refuses a state that the journal does not know any more. */
async function refuseUnknown(
  client: pg.ClientBase,
  began: readonly unknown[],
  entityTypes: readonly string[] | undefined,
): Promise<void> {
  const wanted = '($4::text[] is null or entity_type = any($4))';
  const find = async (from: string) => {
    const { rows } = await client.query<{ count: number; type: string; id: string }>(
      `with ${BEGAN} select entity_type as type, entity_id as id, count(*) over () as count from ${from} and ${wanted}
       order by entity_type, entity_id limit 1`,
      [...began, entityTypes ?? null],
    );
    return rows[0];
  };
  const out =
    'Begin later (--from), give the commands of other components alone (--component), or begin with entities that are empty (without --state).';
  // A first revision that is of later was nothing then.
  const changed = await find(
    `value v join began b using (shard) where v.generation = $1 and v.chunk > b.chunk and v.revision > 1 and not exists (
       select 1 from value_revision later
       left join value_revision earlier on earlier.generation = later.generation and earlier.entity_type = later.entity_type
         and earlier.entity_id = later.entity_id and earlier.revision = later.revision - 1
       where later.generation = v.generation and later.entity_type = v.entity_type and later.entity_id = v.entity_id
         and later.chunk > b.chunk and (later.revision = 1 or earlier.chunk <= b.chunk)
     )`,
  );
  if (changed !== undefined) {
    throw new StateferryError(
      'OPERATION_REFUSED',
      `${changed.count} values have changed since where the generation is to begin, such as "${changed.id}" of ${changed.type}, and the journal does not have what they were then (it would with journal.keepValues). ${out}`,
    );
  }
  const removed = await find(
    `(select s.entity_type, s.entity_id, s.removed_through, e.shard_seq, e.shard
      from snapshot s join event e using (generation, entity_type, entity_id, seq) where s.generation = $1) s
     join began b using (shard) where s.removed_through > 0 and s.shard_seq > b.shard_seq`,
  );
  if (removed === undefined) return;
  throw new StateferryError(
    'OPERATION_REFUSED',
    `retention has removed events of ${removed.count} entities, such as "${removed.id}" of ${removed.type}, of which their state where the generation is to begin is made: ` +
      `their snapshots are of later. ${out}`,
  );
}

/** A table whose rows are copied, some at a time, in the order of a key. */
interface Copy {
  readonly table: string;
  /** Columns of the primary key behind the generation, with their types. */
  readonly key: readonly (readonly [name: string, type: string])[];
  /** Less than any key. */
  readonly from: readonly unknown[];
  readonly columns: string;
  /** Columns of the copies of `page`, and where they come from. */
  readonly select: string;
}

const ENTITY = [
  ['entity_type', 'text'],
  ['entity_id', 'text'],
] as const;

/** Chunks have other numbers in the new generation: what is copied is of its chunk 0. Epochs begin anew, too. */
const COPIES: readonly Copy[] = [
  {
    table: 'value',
    key: ENTITY,
    from: ['', ''],
    columns: 'entity_type, entity_id, revision, shard, epoch, type_url, payload, command_id, at, chunk',
    select: `v.entity_type, v.entity_id, v.revision, v.shard, 0, v.type_url, v.payload, v.command_id, v.at, 0
      from page p join began b using (shard) cross join lateral (
        select p.entity_type, p.entity_id, p.revision, p.shard, p.type_url, p.payload, p.command_id, p.at where p.chunk <= b.chunk
        union all (
          select r.entity_type, r.entity_id, r.revision, r.shard, r.type_url, r.payload, r.command_id, r.at from value_revision r
          where r.generation = $1 and r.entity_type = p.entity_type and r.entity_id = p.entity_id
            and r.chunk <= b.chunk and p.chunk > b.chunk
          order by r.revision desc limit 1
        )
      ) v`,
  },
  {
    table: 'snapshot',
    key: ENTITY,
    from: ['', ''],
    columns: 'entity_type, entity_id, seq, type_url, payload, at, removed_through',
    select: `p.entity_type, p.entity_id, p.seq, p.type_url, p.payload, p.at, p.removed_through
      from page p join event e using (generation, entity_type, entity_id, seq) join began b on b.shard = e.shard
      where e.shard_seq <= b.shard_seq`,
  },
  {
    // What was due then is due now, and what was due later is due as much later than now. Of two deletions, the first may be all that there was.
    table: 'deletion',
    key: ENTITY,
    from: ['', ''],
    columns: 'entity_type, entity_id, seq, due_at, void_through',
    select: `p.entity_type, p.entity_id, case when d.last then p.seq else p.void_through end,
        case when d.last then now() + (p.due_at - b.at) else now() end, case when d.first then p.void_through else 0 end
      from page p
      cross join lateral (
        select e.shard from event e
        where e.generation = p.generation and e.entity_type = p.entity_type and e.entity_id = p.entity_id limit 1
      ) home
      join began b on b.shard = home.shard
      left join event at_seq on at_seq.generation = p.generation and at_seq.entity_type = p.entity_type
        and at_seq.entity_id = p.entity_id and at_seq.seq = p.seq
      left join event at_void on at_void.generation = p.generation and at_void.entity_type = p.entity_type
        and at_void.entity_id = p.entity_id and at_void.seq = p.void_through
      cross join lateral (
        select case when p.chunk > 0 then p.chunk <= b.chunk else coalesce(at_seq.shard_seq, 0) <= b.shard_seq end as last,
          p.void_through > 0 and case when p.void_chunk > 0 then p.void_chunk <= b.chunk
            else coalesce(at_void.shard_seq, 0) <= b.shard_seq end as first
      ) d
      where d.last or d.first`,
  },
  {
    // A key is of its chunk's transaction, and so of its time. It counts as long from now on as it did then.
    table: 'idempotency_key',
    key: [
      ['shard', 'int'],
      ['key', 'bytea'],
    ],
    from: [-1, Buffer.alloc(0)],
    columns: 'shard, key, command_id, at',
    select:
      'p.shard, p.key, p.command_id, now() - (b.at - p.at) from page p join began b using (shard) where p.at <= b.at',
  },
];

interface Page {
  readonly rows: number;
  /** Key of the last row that was looked at; undefined: there are no more. */
  readonly last: readonly unknown[] | undefined;
}

async function copyPage(
  client: pg.ClientBase,
  { table, key, columns, select }: Copy,
  began: readonly unknown[],
  made: number,
  after: readonly unknown[],
): Promise<Page> {
  const names = key.map(([name]) => name);
  const given = key.map(([, type], i) => `$${5 + i}::${type}`);
  const { rows } = await client.query<Record<string, unknown> & { looked: number }>(
    `with ${BEGAN}, page as (
       select * from ${table} where generation = $1 and (${names.join(', ')}) > (${given.join(', ')})
       order by ${names.join(', ')} limit ${PAGE}
     ), copied as (
       insert into ${table} (generation, ${columns}) select $4, ${select}
     )
     select ${names.join(', ')}, (select count(*) from page) as looked from page
     order by ${names.map((name) => `${name} desc`).join(', ')} limit 1`,
    [...began, made, ...after],
  );
  const [last] = rows;
  return { rows: last?.looked ?? 0, last: last?.looked === PAGE ? names.map((name) => last[name]) : undefined };
}

/** A feed that has been given all up to the beginning is live there; of one that has not, what it wants goes on from where it stood. */
const FEEDS = `
with ${BEGAN}
insert into feed (generation, name, source, entity_type, shard, state, position, through, cursor)
select $4, f.name, f.source, f.entity_type, f.shard,
  case when f.state = 'live' or f.position >= case f.source when 'value' then b.chunk else b.shard_seq end then 'live' else f.state end,
  case f.source when 'value' then -1 else least(f.position, b.shard_seq) end, 0, ''
from feed f join began b using (shard) where f.generation = $1`;

const REMOVED = `
with ${BEGAN}
insert into removed (generation, shard, kind, entity_type, through, rows, bytes, at)
select $4, r.shard, r.kind, r.entity_type, r.through, r.rows, r.bytes, r.at
from removed r join began b using (shard) where r.generation = $1 and r.kind = 'events'`;

/** Copies the next events of a shard, in a transaction that notes how far it is. */
const EVENTS = `
with held as (
  select s.shard, s.shard_seq as after, least(s.shard_seq + ${PAGE}, c.shard_seq) as through, g.source
  from shard s join generation g using (generation) join chunk c using (generation, shard)
  where s.generation = $1 and c.chunk = 0 and g.state = 'copying' and s.shard_seq < c.shard_seq
  order by s.shard limit 1 for update of s
), copied as (
  insert into event (generation, entity_type, entity_id, seq, shard, shard_seq, epoch, type_url, payload, command_id, at)
  select $1, e.entity_type, e.entity_id, e.seq, e.shard, e.shard_seq, 0, e.type_url, e.payload, e.command_id, e.at
  from held h join event e on e.generation = h.source and e.shard = h.shard and e.shard_seq > h.after and e.shard_seq <= h.through
), moved as (
  update shard s set shard_seq = h.through from held h where s.generation = $1 and s.shard = h.shard
)
select through - after as rows from held`;

/**
 * Copies what a generation that is `copying` still lacks of its events, and makes it `running`. Others may do the same meanwhile, and
 * whoever comes after one that was killed goes on where it was.
 * @throws StateferryError OPERATION_REFUSED when it is discarded meanwhile; the signal's reason.
 */
export async function copyEvents(
  pool: pg.Pool,
  { generation, name }: Generation,
  { onRows, signal }: Pick<CopyOptions, 'onRows' | 'signal'>,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const { rows } = await pool.query<{ rows: number }>({ name: 'copy-events', text: EVENTS, values: [generation] });
    if (rows[0] !== undefined) {
      onRows('events', rows[0].rows);
      continue;
    }
    // Nothing was found where another one has just copied the last of a shard, too.
    const { rows: lacking } = await pool.query(
      `select 1 from shard s join chunk c using (generation, shard) join generation g using (generation)
       where s.generation = $1 and c.chunk = 0 and s.shard_seq < c.shard_seq and g.state = 'copying' limit 1`,
      [generation],
    );
    if (lacking.length === 0) break;
  }
  if (await setGenerationState(pool, generation, ['copying'], 'running')) return;
  const { rows } = await pool.query("select 1 from generation where generation = $1 and state <> 'discarded'", [
    generation,
  ]);
  if (rows.length > 0) return;
  throw new StateferryError('OPERATION_REFUSED', `generation "${name}" was discarded while its events were copied.`);
}
