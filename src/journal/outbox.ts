import type pg from 'pg';
import type { Positions } from '../model/record.ts';
import { positionsFromJson } from './positions.ts';

/** The outputs of one journaled chunk, encoded (codec/outbox.ts). */
export interface OutboxRow {
  readonly shard: number;
  readonly chunk: number;
  readonly positions: Positions;
  readonly records: Uint8Array;
  /** When it was journaled, in ms since the epoch, by Postgres. */
  readonly at: number;
}

/** A row of the table as Postgres gives it. */
export interface OutboxTableRow {
  readonly shard: number;
  readonly chunk: number;
  readonly positions: Record<string, string>;
  readonly records: Buffer;
  readonly at: Date;
}

/** What the row says. */
export function asOutboxRow({ shard, chunk, positions, records, at }: OutboxTableRow): OutboxRow {
  return { shard, chunk, positions: positionsFromJson(positions), records, at: at.getTime() };
}

/** More chunks of one shard than a transaction holds: what is older than so many emitted ones was emitted before the last transaction. */
export const DOUBTED_CHUNKS = 1_000;

/**
 * The shard's outbox rows of the chunks after `after`, oldest first. What a generation did before it took over is not among them: it is not to be
 * published.
 */
export async function readOutbox(
  pool: pg.Pool,
  generation: number,
  shard: number,
  after: number,
): Promise<OutboxRow[]> {
  const { rows } = await pool.query<OutboxTableRow>(
    `select shard, o.chunk, o.positions, o.records, o.at from outbox o join shard s using (generation, shard)
     where generation = $1 and shard = $2 and o.chunk > $3 and o.chunk > s.held_chunk order by o.chunk`,
    [generation, shard, after],
  );
  return rows.map(asOutboxRow);
}
