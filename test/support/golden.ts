import { readFileSync } from 'node:fs';
import pg from 'pg';
import { migrate } from '../../src/journal/migrate.ts';
import { goldenFile, migrations } from '../journal/golden/migrations.ts';
import { createDatabase } from './postgres.ts';
import type { Scope } from './scope.ts';

/** The journals that a golden file holds; each is a schema. */
export const GOLDEN_SCHEMAS = ['office', 'tallies'] as const;

/** Loads the golden journals of a version, by default the newest, into a database of their own; brings nothing up. */
export async function loadGolden(t: Scope, name = migrations().at(-1)?.name ?? ''): Promise<string> {
  const url = await createDatabase(t);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(readFileSync(goldenFile(name), 'utf8'));
  } finally {
    await client.end();
  }
  return url;
}

/** Loads them and brings them up to this version. */
export async function loadGoldenUp(t: Scope, name?: string): Promise<string> {
  const url = await loadGolden(t, name);
  for (const schema of GOLDEN_SCHEMAS) await migrate({ url, schema });
  return url;
}

/** The journal's own tables, with their columns. */
export async function tablesOf(pool: pg.Pool): Promise<Map<string, string[]>> {
  const { rows } = await pool.query<{ table: string; columns: string[] }>(
    `select table_name::text as table, array_agg(column_name::text order by ordinal_position) as columns
     from information_schema.columns join information_schema.tables using (table_schema, table_name)
     where table_schema = current_schema and table_type = 'BASE TABLE' and table_name <> 'migration' group by table_name`,
  );
  return new Map(rows.map(({ table, columns }) => [table, columns]));
}

/** Every row of tables, of these columns, as text. */
export async function rowsOf(
  pool: pg.Pool,
  tables: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const [table, columns] of tables) {
    const { rows } = await pool.query<{ row: string }>(
      `select row(${columns.map((column) => `"${column}"`).join(', ')})::text as row from ${table} order by 1`,
    );
    found.set(
      table,
      rows.map(({ row }) => row),
    );
  }
  return found;
}
