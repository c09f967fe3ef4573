import type pg from 'pg';

/** Rows that one statement deletes at most, so that none holds its locks for long. */
const PRUNE_ROWS = 10_000;
const PRUNE_EVERY_MAX_MS = 60_000;

/** A key of one shard, as `idempotency_key` has it. */
export interface ShardKey {
  readonly shard: number;
  /** SHA-256 in base64. */
  readonly idempotencyKey: string;
}

/** Which of the keys took effect within the window; the answer is in the order of `keys`. */
export async function findIdempotencyKeys(
  pool: pg.Pool,
  generation: number,
  windowMs: number,
  keys: readonly ShardKey[],
): Promise<boolean[]> {
  const result = await pool.query<{ n: number }>({
    name: 'find-idempotency-keys',
    text: `select asked.n - 1 as n
           from unnest($2::int[], $3::bytea[]) with ordinality as asked(shard, key, n)
           join idempotency_key k on k.generation = $1 and k.shard = asked.shard and k.key = asked.key
           where k.at > now() - $4::float8 * interval '1 millisecond'`,
    values: [
      generation,
      keys.map(({ shard }) => shard),
      keys.map(({ idempotencyKey }) => Buffer.from(idempotencyKey, 'base64')),
      windowMs,
    ],
  });
  const found = new Array<boolean>(keys.length).fill(false);
  for (const { n } of result.rows) found[n] = true;
  return found;
}

/** Deletes keys whose window has passed, some at a time, until there are none. Any process may do it. */
export async function pruneIdempotencyKeys(pool: pg.Pool, generation: number, windowMs: number): Promise<void> {
  let deleted: number | null;
  do {
    ({ rowCount: deleted } = await pool.query(
      `delete from idempotency_key where (generation, shard, key) in (
         select generation, shard, key from idempotency_key
         where generation = $1 and at <= now() - $2::float8 * interval '1 millisecond'
         order by at limit $3
       )`,
      [generation, windowMs, PRUNE_ROWS],
    ));
  } while (deleted === PRUNE_ROWS);
}

/** Prunes from time to time, until the answer is called. What goes wrong is told; the next time may do better. */
export function keepPruned(options: {
  pool: pg.Pool;
  generation: number;
  windowMs: number;
  onError: (error: unknown) => void;
}): () => void {
  const { pool, generation, windowMs, onError } = options;
  let running = false;
  const timer = setInterval(
    () => {
      if (running) return;
      running = true;
      pruneIdempotencyKeys(pool, generation, windowMs)
        .catch(onError)
        .finally(() => {
          running = false;
        });
    },
    Math.min(windowMs, PRUNE_EVERY_MAX_MS),
  );
  return () => clearInterval(timer);
}
