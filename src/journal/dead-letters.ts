import type pg from 'pg';
import { asBuffer } from '../bytes.ts';

/** Where a dead letter stands, and when it was written (milliseconds since the epoch): together they name it for ever. */
export interface LetterPlace {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly written: number;
}

/** What somebody has made of a dead letter. */
export interface LetterMark {
  readonly place: LetterPlace;
  /** retrying: it is to be put back, and that is not in the journal yet. */
  readonly state: 'retrying' | 'retried' | 'dropped';
  readonly by: string;
  readonly at: Date;
}

/** Every mark of a dead-letter topic. */
export async function loadMarks(pool: pg.Pool, topic: string): Promise<LetterMark[]> {
  const result = await pool.query<{
    partition: number;
    offset: string | number;
    written: number;
    state: LetterMark['state'];
    marked_by: string;
    marked_at: Date;
  }>('select partition, "offset", written, state, marked_by, marked_at from dead_letter where topic = $1', [topic]);
  return result.rows.map(({ partition, offset, written, state, marked_by, marked_at }) => ({
    place: { topic, partition, offset: BigInt(offset), written },
    state,
    by: marked_by,
    at: marked_at,
  }));
}

/**
 * Marks a letter as dropped. False: it has a mark already, which stays.
 */
export async function markDropped(pool: pg.Pool, place: LetterPlace, by: string): Promise<boolean> {
  const result = await pool.query(
    `insert into dead_letter (topic, partition, "offset", written, state, marked_by)
     values ($1, $2, $3, $4, 'dropped', $5) on conflict do nothing`,
    [place.topic, place.partition, place.offset.toString(), place.written, by],
  );
  return result.rowCount === 1;
}

/**
 * Marks a letter and asks the owner of the shard to put it back, in one statement: there is never one without the other.
 * Answers the number of the request; undefined: the letter has a mark already, and `again` was not asked for.
 */
export async function requestRetry(
  pool: pg.Pool,
  generation: number,
  asked: {
    readonly place: LetterPlace;
    readonly shard: number;
    /** stateferry.internal.Outbox with one record, for the command topic. */
    readonly record: Uint8Array;
    readonly by: string;
    readonly reason: string;
    /** Also where the letter has a mark. */
    readonly again: boolean;
  },
): Promise<number | undefined> {
  const { place } = asked;
  const result = await pool.query<{ operation: number }>(
    `with asked as (
       select nextval(pg_get_serial_sequence('operation', 'id')) as id
     ), marked as (
       insert into dead_letter as l (topic, partition, "offset", written, state, operation, marked_by)
       select $1, $2, $3, $4, 'retrying', id, $5 from asked
       on conflict (topic, partition, "offset", written) do update
         set state = excluded.state, operation = excluded.operation, marked_by = excluded.marked_by, marked_at = now()
         where $6
       returning operation
     )
     insert into operation (id, generation, shard, kind, record, reason, asked_by)
     overriding system value
     select operation, $7, $8, 'retry', $9, $10, $5 from marked
     returning id as operation`,
    [
      place.topic,
      place.partition,
      place.offset.toString(),
      place.written,
      asked.by,
      asked.again,
      generation,
      asked.shard,
      asBuffer(asked.record),
      asked.reason,
    ],
  );
  return result.rows[0]?.operation;
}
