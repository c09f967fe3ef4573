import type pg from 'pg';
import type { Positions } from '../model/record.ts';
import { positionsFromJson } from './positions.ts';

/** The outputs of one journaled chunk, encoded (codec/outbox.ts). */
export interface OutboxRow {
  readonly shard: number;
  readonly chunk: number;
  readonly positions: Positions;
  readonly records: Uint8Array;
}

/** Every outbox row of the shard, oldest first. */
export async function readOutbox(pool: pg.Pool, generation: number, shard: number): Promise<OutboxRow[]> {
  const result = await pool.query<{ shard: number; chunk: number; positions: Record<string, string>; records: Buffer }>(
    'select shard, chunk, positions, records from outbox where generation = $1 and shard = $2 order by chunk',
    [generation, shard],
  );
  return result.rows.map((row) => ({
    shard: row.shard,
    chunk: row.chunk,
    positions: positionsFromJson(row.positions),
    records: row.records,
  }));
}
