import type pg from 'pg';
import { migrate } from '../../src/journal/migrate.ts';
import { createPool } from '../../src/journal/pool.ts';
import { createDatabase } from './postgres.ts';
import type { Scope } from './scope.ts';

/** The schema of the journals that are made here. */
export const SCHEMA = 'journal';

/** Connections to an empty journal in a database of its own, or in the empty one that is given by its URL; they end with the scope. */
export async function createJournal(t: Scope, given?: string): Promise<pg.Pool> {
  const url = given ?? (await createDatabase(t));
  await migrate({ url, schema: SCHEMA });
  const pool = createPool({
    url,
    schema: SCHEMA,
    size: 4,
    statementTimeoutMs: 10_000,
    applicationName: 'test',
    onIdleError: (error) => {
      throw error;
    },
  });
  t.onTestFinished(() => pool.end());
  return pool;
}
