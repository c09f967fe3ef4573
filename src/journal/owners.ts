import type pg from 'pg';

/** Epoch and owners of every shard that was ever opened, in order; see `open.ts`. */
export async function readOwners(
  pool: pg.Pool,
  generation: number,
): Promise<{ readonly shard: number; readonly epoch: number; readonly owners: string[] }[]> {
  const result = await pool.query<{ shard: number; epoch: number; owners: string[] }>(
    'select shard, epoch, owners from shard where generation = $1 order by shard',
    [generation],
  );
  return result.rows;
}
