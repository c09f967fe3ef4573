import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import type { Scope } from './scope.ts';

/** Makes an empty database that nobody else has, drops it when the scope ends, and resolves to its URL. */
export async function createDatabase(t: Scope): Promise<string> {
  const database = `test_${randomBytes(8).toString('hex')}`;
  await administer(`CREATE DATABASE ${database}`);
  t.onTestFinished(() => administer(`DROP DATABASE ${database} WITH (FORCE)`));
  const url = new URL(inject('databaseUrl'));
  url.pathname = `/${database}`;
  return url.href;
}

async function administer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: inject('databaseUrl') });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
