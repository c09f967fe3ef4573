import type pg from 'pg';
import { StateferryError } from '../errors.ts';
import type { Positions } from '../model/record.ts';
import { positionsFromJson, positionsToJson } from './positions.ts';

/** What the journal knows of a shard at the moment of its opening. */
export interface OpenedShard {
  readonly shard: number;
  readonly epoch: number;
  /** Transactional ids other than ours that may still have a transaction open. */
  readonly others: readonly string[];
  /** Our id was among the owners: this process had opened the shard before, and did not release it cleanly. */
  readonly unreleased: boolean;
  readonly applied: Positions;
  /** What the last owner's transactions had committed, when it released the shard cleanly. */
  readonly released: Positions | undefined;
  readonly chunk: number;
  readonly emitted: number;
  /** Where that chunk led; undefined: there is none, or the journal has forgotten. */
  readonly emittedTo: Positions | undefined;
  readonly shardSeq: number;
}

interface Row {
  shard: number;
  epoch: number;
  owners: string[];
  applied: Record<string, string>;
  released: Record<string, string> | null;
  released_epoch: number | null;
  chunk: number;
  emitted: number;
  emitted_to: Record<string, string> | null;
  shard_seq: number;
}

/**
 * Step 1 of opening, atomic per shard: the epoch grows, our transactional id joins the owners, and the row is read.
 * From its commit on, no earlier owner can journal here.
 * @throws StateferryError SHARD_FENCED where the generation has to be live and is not.
 */
export async function openShards(
  pool: pg.Pool,
  options: {
    generation: number;
    shards: readonly number[];
    transactionalId: string;
    /** Only while the generation serves: one that was replaced must not be gone on with. */
    whileLive: boolean;
  },
): Promise<OpenedShard[]> {
  const result = await pool.query<Row>(
    `with live as (select live_generation from deployment where live_generation = $1 for share)
     insert into shard as s (generation, shard, epoch, owners)
     select $1, n, 1, array[$3] from unnest($2::int[]) n
     where not $4 or exists (select 1 from live) order by n
     on conflict (generation, shard) do update
       set epoch = s.epoch + 1, owners = array_append(s.owners, $3)
     returning shard, epoch, owners, applied, released, released_epoch, chunk, emitted, shard_seq,
       (select c.positions from chunk c where c.generation = s.generation and c.shard = s.shard and c.chunk = s.emitted) as emitted_to`,
    [options.generation, options.shards, options.transactionalId, options.whileLive],
  );
  if (result.rows.length === 0 && options.shards.length > 0) {
    throw new StateferryError('SHARD_FENCED', `generation ${options.generation} has been replaced by another one`);
  }
  return result.rows.map((row) => ({
    shard: row.shard,
    epoch: row.epoch,
    others: row.owners.filter((owner) => owner !== options.transactionalId),
    // An id that is there twice was there before.
    unreleased: row.owners.filter((owner) => owner === options.transactionalId).length > 1,
    applied: positionsFromJson(row.applied),
    released: row.released_epoch === row.epoch - 1 ? positionsFromJson(row.released) : undefined,
    chunk: row.chunk,
    emitted: row.emitted,
    emittedTo: row.emitted_to === null ? undefined : positionsFromJson(row.emitted_to),
    shardSeq: row.shard_seq,
  }));
}

/** The shards among `shards` that some other id still holds: opened and neither released nor known to be fenced. With these ids. */
export async function heldShards(
  pool: pg.Pool,
  options: { generation: number; shards: readonly number[]; transactionalId: string },
): Promise<{ readonly shard: number; readonly owners: readonly string[] }[]> {
  const result = await pool.query<{ shard: number; owners: string[] }>(
    `select shard, array_remove(owners, $3) as owners from shard
     where generation = $1 and shard = any($2) and cardinality(array_remove(owners, $3)) > 0`,
    [options.generation, options.shards, options.transactionalId],
  );
  return result.rows;
}

/**
 * Step 4 of opening, where the epoch is still ours: the fenced ids leave the owners, and `applied` gains the start
 * positions of topics that are new to the shard. Returns the shards for which the epoch was still ours.
 */
export async function settleShards(
  pool: pg.Pool,
  options: {
    generation: number;
    shards: readonly { shard: number; epoch: number; fenced: readonly string[]; applied: Positions }[];
  },
): Promise<number[]> {
  const settled: number[] = [];
  for (const { shard, epoch, fenced, applied } of options.shards) {
    const result = await pool.query(
      `update shard
       set owners = array(select o from unnest(owners) o where o <> all($4::text[])), applied = $5,
           counted_from = $5::jsonb || counted_from
       where generation = $1 and shard = $2 and epoch = $3`,
      [options.generation, shard, epoch, fenced, positionsToJson(applied)],
    );
    if (result.rowCount === 1) settled.push(shard);
  }
  return settled;
}

/**
 * A clean release: everything of ours is emitted and nothing is open, so our id leaves the owners and the next owner
 * has nobody to fence. Does nothing where the epoch is no longer ours.
 */
export async function releaseShard(
  pool: pg.Pool,
  options: {
    generation: number;
    shard: number;
    epoch: number;
    transactionalId: string;
    committed: Positions;
    emitted: number;
    /** As `AppendOptions.outboxRetention`. */
    retention: number;
  },
): Promise<void> {
  await pool.query(
    `with mine as (
       update shard set owners = array_remove(owners, $4), released = $5, released_epoch = epoch, emitted = greatest(emitted, $6)
       where generation = $1 and shard = $2 and epoch = $3
       returning shard, emitted
     )
     delete from outbox o using mine where o.generation = $1 and o.shard = mine.shard and o.chunk <= mine.emitted - $7::bigint`,
    [
      options.generation,
      options.shard,
      options.epoch,
      options.transactionalId,
      positionsToJson(options.committed),
      options.emitted,
      options.retention,
    ],
  );
}
