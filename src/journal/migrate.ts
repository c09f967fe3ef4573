import { readdirSync } from 'node:fs';
import path from 'node:path';
import { runner } from 'node-pg-migrate';
import type pg from 'pg';
import { StateferryError } from '../errors.ts';
import { packagePath } from '../package-path.ts';
import { clientOf, type PostgresServer } from './connection.ts';
import { orDenied } from './denied.ts';

const TABLE = 'migration';

/**
 * Brings the journal's schema up to this version: forward only, all pending files of schemas/journal in one
 * transaction, one process at a time (others wait on the library's advisory lock).
 * @throws StateferryError JOURNAL_NEWER when the schema has migrations that this version does not know, JOURNAL_DENIED
 * when the role may not make it what it has to be.
 */
export async function migrate(options: PostgresServer & { schema: string }): Promise<void> {
  const client = new (clientOf(options))({ connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    await orDenied(async () => {
      // A role that may not change the schema can work with one that is ready.
      if (await isUpToDate(client, options.schema)) return;
      await runner({
        dbClient: client,
        dir: packagePath('schemas/journal'),
        direction: 'up',
        schema: options.schema,
        // Postgres asks for the right to create it even where it is there.
        createSchema: !(await hasSchema(client, options.schema)),
        migrationsSchema: options.schema,
        migrationsTable: TABLE,
        advisoryLockMode: 'wait',
        singleTransaction: true,
        log: () => {},
      });
    });
  } finally {
    await client.end();
  }
}

async function hasSchema(client: pg.Client, schema: string): Promise<boolean> {
  const found = await client.query('select 1 from pg_namespace where nspname = $1', [schema]);
  return found.rowCount === 1;
}

/** Whether all the migrations that this version knows are applied. Throws JOURNAL_NEWER where there are others. */
async function isUpToDate(client: pg.Client, schema: string): Promise<boolean> {
  const exists = await client.query('select 1 from pg_tables where schemaname = $1 and tablename = $2', [
    schema,
    TABLE,
  ]);
  if (exists.rowCount === 0) return false;
  const known = readdirSync(packagePath('schemas/journal')).map((file) => path.parse(file).name);
  const found = await client.query<{ name: string }>(
    `select name from ${client.escapeIdentifier(schema)}.${TABLE} order by name`,
  );
  const applied = found.rows.map((row) => row.name);
  const unknown = applied.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new StateferryError(
      'JOURNAL_NEWER',
      `the journal in schema "${schema}" has migrations that this version does not know: ${unknown.join(', ')}. ` +
        'Run the version of Stateferry that wrote them, or point postgres.schema at an empty schema.',
    );
  }
  return known.every((name) => applied.includes(name));
}
