import pg from 'pg';
import { expect, it } from 'vitest';
import { createDatabase } from './postgres.ts';
import type { Scope } from './scope.ts';

it('createDatabase makes an empty database of its own and drops it, sessions or not', async () => {
  const cleanUps: (() => Promise<void>)[] = [];
  const scope: Scope = { onTestFinished: (cleanUp) => cleanUps.push(cleanUp) };
  const [one, other] = [await createDatabase(scope), await createDatabase(scope)];
  expect(one).not.toBe(other);
  const client = new pg.Client({ connectionString: one });
  client.on('error', () => undefined);
  await client.connect();
  const tables = await client.query("SELECT 1 FROM information_schema.tables WHERE table_schema = 'public'");
  expect(tables.rowCount).toBe(0);

  await Promise.all(cleanUps.map((cleanUp) => cleanUp()));

  const again = new pg.Client({ connectionString: one });
  await expect(again.connect()).rejects.toThrow(/does not exist/);
  await client.end();
});
