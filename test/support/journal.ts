import type pg from 'pg';
import { migrate } from '../../src/journal/migrate.ts';
import { createPool } from '../../src/journal/pool.ts';
import { createDatabase } from './postgres.ts';
import type { Scope } from './scope.ts';

const SCHEMA = 'journal';

/** Connections to an empty journal in a database of its own; they end with the scope. */
export async function createJournal(t: Scope): Promise<pg.Pool> {
  const url = await createDatabase(t);
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
