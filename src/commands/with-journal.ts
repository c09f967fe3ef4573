import { hostname, userInfo } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Config } from '../config/config.ts';
import { messageOf, StateferryError } from '../errors.ts';
import { type FoundDeployment, findDeployment, outcomes } from '../journal/operations.ts';
import { createPool } from '../journal/pool.ts';
import { postgresServer } from '../postgres-connection.ts';

const CONNECTIONS = 2;
/** How often it is looked whether a request is done. */
const LOOK_MS = 100;

/** A journal, and the deployment that it is of. */
export interface Journal extends FoundDeployment {
  readonly pool: pg.Pool;
}

/**
 * Uses the journal that the configuration names, for a command that does not run the deployment.
 * @throws StateferryError POSTGRES_UNAVAILABLE, or what `findDeployment` throws.
 */
export async function withJournal<T>(
  config: Config,
  use: (journal: Journal) => Promise<T>,
  /** How long a statement may take; absent: as configured for a process that runs. */
  statementTimeoutMs: number = config.postgres.statementTimeoutMs,
): Promise<T> {
  const pool = createPool({
    ...postgresServer(config),
    schema: config.postgres.schema,
    size: CONNECTIONS,
    statementTimeoutMs,
    applicationName: `stateferry ${config.deployment.name}`,
    onIdleError: () => undefined,
  });
  try {
    try {
      const client = await pool.connect();
      client.release();
    } catch (cause) {
      const sentence = `Postgres cannot be reached: ${messageOf(cause)}. Check postgres.url.`;
      throw new StateferryError('POSTGRES_UNAVAILABLE', sentence, { cause });
    }
    return await use({ pool, ...(await findDeployment(pool, config.deployment.name)) });
  } finally {
    await pool.end();
  }
}

/** Who asks, where nobody says. */
export function thisUser(): string {
  return `${userInfo().username}@${hostname()}`;
}

/** What came of requests, by number, as far as they are done within the time. */
export async function awaitOutcomes(
  pool: pg.Pool,
  ids: readonly number[],
  options: { readonly waitMs: number; readonly signal: AbortSignal },
): Promise<ReadonlyMap<number, string>> {
  const until = Date.now() + options.waitMs;
  for (;;) {
    const done = await outcomes(pool, ids);
    if (done.size === ids.length || Date.now() >= until || options.signal.aborted) return done;
    await delay(LOOK_MS, undefined, { signal: options.signal }).catch(() => undefined);
  }
}
