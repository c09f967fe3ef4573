import type pg from 'pg';
import { asBuffer } from '../bytes.ts';
import type { ControlWrites, LoadedControl, Operation, ParkedCommand, Place } from '../model/control.ts';
import type { EntityKey } from '../model/entity.ts';

/** Operations that one look takes up at most, and bytes of the records that they hold, except that one always comes. */
const OPERATIONS = 200;
const OPERATION_BYTES = 4 * 1024 * 1024;
/** Parked commands that one read brings at most, and their bytes, except that one always comes. */
const PARKED = 500;
const PARKED_BYTES = 2 * 1024 * 1024;

const WRITE = `
with parking as (
  insert into parked (generation, shard, chunk, ordinal, entity_type, entity_id, command_id, record)
  select $1, p.* from unnest($2::int[], $3::bigint[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bytea[]) p
), leaving as (
  delete from parked p using unnest($9::int[], $10::bigint[], $11::int[]) as u(shard, chunk, ordinal)
  where p.generation = $1 and p.shard = u.shard and p.chunk = u.chunk and p.ordinal = u.ordinal
), controlled as (
  insert into entity_control as c (generation, shard, entity_type, entity_id, state, reason, asked_by, since, released_chunk, released_ordinal)
  select $1, e.shard, e.entity_type, e.entity_id, e.state, e.reason, e.asked_by, to_timestamp(e.since / 1000), e.released_chunk, e.released_ordinal
  from unnest($12::int[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::float8[], $19::bigint[], $20::int[])
    as e(shard, entity_type, entity_id, state, reason, asked_by, since, released_chunk, released_ordinal)
  on conflict (generation, entity_type, entity_id) do update
    set state = excluded.state, reason = excluded.reason, asked_by = excluded.asked_by, since = excluded.since,
        released_chunk = excluded.released_chunk, released_ordinal = excluded.released_ordinal
), freed as (
  delete from entity_control c using unnest($21::text[], $22::text[]) as f(entity_type, entity_id)
  where c.generation = $1 and c.entity_type = f.entity_type and c.entity_id = f.entity_id
), done as (
  update operation o set done_at = now(), outcome = d.outcome, record = null
  from unnest($23::bigint[], $24::text[]) as d(id, outcome)
  where o.id = d.id and o.done_at is null
)
update dead_letter l set state = 'retried', marked_at = now() where l.operation = any($23::bigint[])`;

/**
 * Writes what chunks bring besides their commands' effects. Call it in the transaction of those chunks, and for those
 * alone whose shard moved: that is what makes it happen once.
 */
export async function writeControl(
  client: Pick<pg.ClientBase, 'query'>,
  generation: number,
  writes: readonly { readonly shard: number; readonly control: ControlWrites }[],
): Promise<void> {
  const parked = columns(
    writes.flatMap(({ shard, control }) =>
      control.parked.map(({ key, place, commandId, record }) => [
        shard,
        place.chunk,
        place.ordinal,
        key.entityType,
        key.entityId,
        commandId,
        asBuffer(record),
      ]),
    ),
    7,
  );
  const unparked = columns(
    writes.flatMap(({ shard, control }) => control.unparked.map(({ chunk, ordinal }) => [shard, chunk, ordinal])),
    3,
  );
  const controls = columns(
    writes.flatMap(({ shard, control }) =>
      control.controls.map(({ key, state, reason, by, since, released }) => [
        shard,
        key.entityType,
        key.entityId,
        state,
        reason,
        by,
        since,
        released?.chunk ?? null,
        released?.ordinal ?? null,
      ]),
    ),
    9,
  );
  const freed = columns(
    writes.flatMap(({ control }) => control.freed.map(({ entityType, entityId }) => [entityType, entityId])),
    2,
  );
  const done = columns(
    writes.flatMap(({ control }) => control.done.map(({ id, outcome }) => [id, outcome])),
    2,
  );
  await client.query({
    name: 'write-control',
    text: WRITE,
    values: [generation, ...parked, ...unparked, ...controls, ...freed, ...done],
  });
}

/** Entities of these shards whose commands do not go their usual way. */
export async function loadControls(
  pool: pg.Pool,
  generation: number,
  shards: readonly number[],
): Promise<(LoadedControl & { readonly shard: number })[]> {
  const result = await pool.query<{
    shard: number;
    entity_type: string;
    entity_id: string;
    state: 'paused' | 'resuming';
    reason: string;
    asked_by: string;
    since: Date;
    released_chunk: number | null;
    released_ordinal: number | null;
    parked: number;
    first_chunk: number | null;
    first_ordinal: number | null;
  }>(
    `select c.shard, c.entity_type, c.entity_id, c.state, c.reason, c.asked_by, c.since, c.released_chunk, c.released_ordinal,
       (select count(*) from parked p
        where p.generation = c.generation and p.entity_type = c.entity_type and p.entity_id = c.entity_id) as parked,
       first.chunk as first_chunk, first.ordinal as first_ordinal
     from entity_control c
     left join lateral (
       select p.chunk, p.ordinal from parked p
       where p.generation = c.generation and p.entity_type = c.entity_type and p.entity_id = c.entity_id
       order by p.chunk, p.ordinal limit 1
     ) first on true
     where c.generation = $1 and c.shard = any($2)`,
    [generation, shards],
  );
  return result.rows.map((row) => ({
    shard: row.shard,
    key: { entityType: row.entity_type, entityId: row.entity_id },
    state: row.state,
    reason: row.reason,
    by: row.asked_by,
    since: row.since.getTime(),
    released: placeOf(row.released_chunk, row.released_ordinal),
    parked: row.parked,
    first: placeOf(row.first_chunk, row.first_ordinal),
  }));
}

/** The first parked commands of an entity, in order; `limit` of them at most. */
export async function loadParked(
  pool: pg.Pool,
  generation: number,
  key: EntityKey,
  limit = PARKED,
): Promise<ParkedCommand[]> {
  const result = await pool.query<{ chunk: number; ordinal: number; command_id: string; record: Buffer }>({
    name: 'load-parked',
    text: `select chunk, ordinal, command_id, record from (
         select *, sum(octet_length(record)) over (order by chunk, ordinal) - octet_length(record) as before from (
           select chunk, ordinal, command_id, record from parked
           where generation = $1 and entity_type = $2 and entity_id = $3 order by chunk, ordinal limit $4
         ) first
       ) counted
       where before < $5 order by chunk, ordinal`,
    values: [generation, key.entityType, key.entityId, limit, PARKED_BYTES],
  });
  return result.rows.map((row) => ({
    key,
    place: { chunk: row.chunk, ordinal: row.ordinal },
    commandId: row.command_id,
    record: row.record,
  }));
}

/** What operators ask of these shards and is not done, oldest first; not more than can be dealt with at once. */
export async function loadOperations(
  pool: pg.Pool,
  generation: number,
  shards: readonly number[],
): Promise<Operation[]> {
  const result = await pool.query<{
    id: number;
    shard: number;
    kind: Operation['kind'];
    entity_type: string | null;
    entity_id: string | null;
    record: Buffer | null;
    reason: string;
    asked_by: string;
  }>({
    name: 'load-operations',
    text: `select id, shard, kind, entity_type, entity_id, record, reason, asked_by from (
         select *, coalesce(sum(octet_length(record)) over (order by id) - octet_length(record), 0) as before from (
           select * from operation where generation = $1 and shard = any($2) and done_at is null order by id limit $3
         ) first
       ) counted
       where before < $4 order by id`,
    values: [generation, shards, OPERATIONS, OPERATION_BYTES],
  });
  return result.rows.map(({ id, shard, kind, entity_type, entity_id, record, reason, asked_by }) => {
    const common = { id, shard, reason, by: asked_by };
    switch (kind) {
      case 'retry':
        return { ...common, kind, record: record ?? new Uint8Array() };
      case 'shard-resume':
      case 'shard-skip':
        return { ...common, kind };
      default:
        return { ...common, kind, key: { entityType: entity_type ?? '', entityId: entity_id ?? '' } };
    }
  });
}

function placeOf(chunk: number | null, ordinal: number | null): Place | undefined {
  return chunk === null || ordinal === null ? undefined : { chunk, ordinal };
}

function columns(rows: readonly (readonly unknown[])[], count: number): unknown[][] {
  return Array.from({ length: count }, (_, i) => rows.map((row) => row[i]));
}
