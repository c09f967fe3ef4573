import type pg from 'pg';
import { asBuffer } from '../bytes.ts';
import type { Chunk, JournalValue } from '../model/chunk.ts';
import { writeControl } from './control.ts';
import { writeFeeds } from './feeds.ts';
import { positionsToJson } from './positions.ts';

/**
 * One statement, so one transaction and one round trip. `moved` is the guard of everything else: a shard whose epoch is
 * not ours any more, or whose `applied` is not where the chunk starts, moves nothing and writes nothing.
 */
const APPEND = `
with given as (
  select * from unnest($2::int[], $3::bigint[], $4::jsonb[], $5::jsonb[], $6::bigint[], $7::bigint[], $8::bigint[], $39::int[],
                       $44::bytea[], $45::text[], $47::bytea[])
    as c(shard, epoch, applied_from, applied_to, number, shard_seq, emitted, inputs, input_order, parked, records)
), moved as (
  update shard s
  set applied = c.applied_to, chunk = c.number, shard_seq = c.shard_seq, emitted = greatest(s.emitted, c.emitted),
      records = s.records + c.inputs
  from given c
  where s.generation = $1 and s.shard = c.shard and s.epoch = c.epoch and s.applied = c.applied_from
  returning s.shard, s.epoch, c.emitted, c.number
), chunks as (
  insert into chunk (generation, shard, chunk, positions, shard_seq, records, input_order, parked, function)
  select $1, c.shard, c.number, c.applied_to, c.shard_seq, c.inputs, c.input_order, c.parked::int[], $46
  from given c join moved m using (shard)
), kept as (
  insert into input (generation, shard, chunk, records)
  select $1, c.shard, c.number, c.records from given c join moved m using (shard) where c.records is not null
), events as (
  insert into event (generation, entity_type, entity_id, seq, shard, shard_seq, epoch, type_url, payload, command_id)
  select $1, e.entity_type, e.entity_id, e.seq, e.shard, e.shard_seq, m.epoch, e.type_url, e.payload, e.command_id
  from unnest($9::int[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::text[], $15::bytea[], $16::text[])
    as e(shard, entity_type, entity_id, seq, shard_seq, type_url, payload, command_id)
  join moved m using (shard)
), snapshots as (
  insert into snapshot as t (generation, entity_type, entity_id, seq, type_url, payload)
  select $1, s.entity_type, s.entity_id, s.seq, s.type_url, s.payload
  from unnest($17::int[], $18::text[], $19::text[], $20::bigint[], $21::text[], $22::bytea[])
    as s(shard, entity_type, entity_id, seq, type_url, payload)
  join moved m using (shard)
  on conflict (generation, entity_type, entity_id) do update
    set seq = excluded.seq, type_url = excluded.type_url, payload = excluded.payload, at = now()
), vals as (
  insert into value as t (generation, entity_type, entity_id, revision, shard, epoch, type_url, payload, command_id, chunk)
  select $1, v.entity_type, v.entity_id, v.revision, v.shard, m.epoch, v.type_url, v.payload, v.command_id, m.number
  from unnest($23::int[], $24::text[], $25::text[], $26::bigint[], $27::text[], $28::bytea[], $29::text[])
    as v(shard, entity_type, entity_id, revision, type_url, payload, command_id)
  join moved m using (shard)
  on conflict (generation, entity_type, entity_id) do update
    set revision = excluded.revision, shard = excluded.shard, epoch = excluded.epoch, type_url = excluded.type_url,
        payload = excluded.payload, command_id = excluded.command_id, chunk = excluded.chunk, at = now()
), revisions as (
  insert into value_revision (generation, entity_type, entity_id, revision, shard, chunk, type_url, payload, command_id)
  select $1, v.entity_type, v.entity_id, v.revision, v.shard, m.number, v.type_url, v.payload, v.command_id
  from unnest($48::int[], $49::text[], $50::text[], $51::bigint[], $52::text[], $53::bytea[], $54::text[])
    as v(shard, entity_type, entity_id, revision, type_url, payload, command_id)
  join moved m using (shard)
), deletions as (
  insert into deletion as t (generation, entity_type, entity_id, seq, due_at, chunk)
  select $1, d.entity_type, d.entity_id, d.seq, now() + d.after_ms * interval '1 millisecond', m.number
  from unnest($30::int[], $31::text[], $32::text[], $33::bigint[], $34::float8[])
    as d(shard, entity_type, entity_id, seq, after_ms)
  join moved m using (shard)
  on conflict (generation, entity_type, entity_id) do update
    set void_through = case when t.due_at <= now() then t.seq else t.void_through end,
        void_chunk = case when t.due_at <= now() then t.chunk else t.void_chunk end,
        seq = excluded.seq, due_at = excluded.due_at, chunk = excluded.chunk
), queued as (
  insert into outbox (generation, shard, chunk, positions, records, inputs)
  select $1, o.shard, o.chunk, o.positions, o.records, o.inputs
  from unnest($35::int[], $36::bigint[], $37::jsonb[], $38::bytea[], $39::int[]) as o(shard, chunk, positions, records, inputs)
  join moved m using (shard)
), keys as (
  insert into idempotency_key as t (generation, shard, key, command_id)
  select $1, k.shard, k.key, k.command_id
  from unnest($41::int[], $42::bytea[], $43::text[]) as k(shard, key, command_id)
  join moved m using (shard)
  on conflict (generation, shard, key) do update set command_id = excluded.command_id, at = now()
), done as (
  delete from outbox o using moved m where o.generation = $1 and o.shard = m.shard and o.chunk <= m.emitted - $40::bigint
)
select shard from moved`;

/** A chunk, and what of it the journal holds as bytes. */
export interface EncodedChunk {
  readonly chunk: Chunk;
  /** Its outputs; empty when it has none. */
  readonly outbox: Uint8Array;
  /** In which order its inputs were applied; absent: they are of one topic. */
  readonly inputOrder?: Uint8Array | undefined;
  /** Its inputs, where they are kept. */
  readonly inputs?: Uint8Array | undefined;
}

/** What goes for all chunks of an engine. */
export interface AppendOptions {
  /** Chunks that Kafka is known to have stay in the outbox until so many more have followed them, per shard. */
  readonly outboxRetention: number;
  /** Every change of a value is kept, not only the last one of each. */
  readonly keepValues?: boolean;
  /** Digest of the function's version that decides. */
  readonly functionDigest?: string;
}

/**
 * Journals chunks, at most one a shard, in one Postgres transaction.
 * Returns the shards that moved; a shard that is missing from the answer is fenced, and nothing of its chunk was
 * written. Any error means that the outcome is unknown.
 */
export async function appendChunks(
  pool: pg.Pool,
  generation: number,
  chunks: readonly EncodedChunk[],
  { outboxRetention, keepValues = false, functionDigest }: AppendOptions,
): Promise<Set<number>> {
  const heads = table(7);
  const events = table(8);
  const snapshots = table(6);
  const values = table(7);
  const revisions = table(7);
  const deletions = table(5);
  const outbox = table(5);
  const keys = table(3);
  const history = table(3);
  for (const { chunk, outbox: records, inputOrder, inputs } of chunks) {
    const { shard } = chunk;
    const to = positionsToJson(chunk.to);
    push(heads, [
      shard,
      chunk.epoch,
      positionsToJson(chunk.from),
      to,
      chunk.number,
      chunk.firstShardSeq + chunk.events.length - 1,
      chunk.emittedThrough,
    ]);
    let shardSeq = chunk.firstShardSeq;
    for (const e of chunk.events) {
      push(events, [shard, e.entityType, e.entityId, e.seq, shardSeq++, e.typeUrl, asBuffer(e.payload), e.commandId]);
    }
    for (const s of chunk.snapshots) {
      push(snapshots, [shard, s.entityType, s.entityId, s.seq, s.typeUrl, asBuffer(s.payload)]);
    }
    for (const v of chunk.values) push(values, valueRow(shard, v));
    if (keepValues) for (const v of chunk.revisions) push(revisions, valueRow(shard, v));
    for (const d of chunk.deletions) push(deletions, [shard, d.entityType, d.entityId, d.seq, d.cleanupAfterMs]);
    for (const k of chunk.keys) push(keys, [shard, Buffer.from(k.idempotencyKey, 'base64'), k.commandId]);
    push(outbox, [shard, chunk.number, to, asBuffer(records), chunk.inputs.length]);
    push(history, [
      inputOrder === undefined ? null : asBuffer(inputOrder),
      chunk.parked === undefined ? null : `{${chunk.parked.join(',')}}`,
      inputs === undefined ? null : asBuffer(inputs),
    ]);
  }
  const append = {
    name: 'append-chunks',
    text: APPEND,
    values: [
      generation,
      ...heads,
      ...events,
      ...snapshots,
      ...values,
      ...deletions,
      ...outbox,
      outboxRetention,
      ...keys,
      history[0],
      history[1],
      functionDigest ?? null,
      history[2],
      ...revisions,
    ],
  };
  const control = chunks.flatMap(({ chunk }) =>
    chunk.control === undefined ? [] : [{ shard: chunk.shard, control: chunk.control }],
  );
  const moves = chunks.flatMap(({ chunk: { shard, feedMove } }) =>
    feedMove === undefined ? [] : [{ shard, ...feedMove }],
  );
  if (control.length + moves.length === 0) return movedOf(await pool.query<{ shard: number }>(append));
  return inTransaction(pool, async (client) => {
    const moved = movedOf(await client.query<{ shard: number }>(append));
    const isOurs = ({ shard }: { readonly shard: number }) => moved.has(shard);
    if (control.length > 0) await writeControl(client, generation, control.filter(isOurs));
    if (moves.length > 0) await writeFeeds(client, generation, moves.filter(isOurs));
    return moved;
  });
}

function valueRow(shard: number, v: JournalValue): readonly unknown[] {
  const payload = v.payload === undefined ? null : asBuffer(v.payload);
  return [shard, v.entityType, v.entityId, v.revision, v.typeUrl ?? null, payload, v.commandId];
}

function movedOf({ rows }: { readonly rows: readonly { readonly shard: number }[] }): Set<number> {
  return new Set(rows.map(({ shard }) => shard));
}

async function inTransaction<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  // The statement that was on its way tells of a lost connection; the event alone would end the process.
  const ignore = () => undefined;
  client.on('error', ignore);
  let broken = true;
  try {
    await client.query('begin');
    const result = await work(client);
    await client.query('commit');
    broken = false;
    return result;
  } finally {
    client.off('error', ignore);
    // One that failed is closed, which ends its transaction.
    client.release(broken);
  }
}

type Column = unknown[];

function table(columns: number): Column[] {
  return Array.from({ length: columns }, () => []);
}

function push(columns: readonly Column[], row: readonly unknown[]): void {
  for (let i = 0; i < row.length; i++) columns[i]?.push(row[i]);
}
