/*
 * Makes the golden journals that are missing: what the deployments below leave behind in a journal whose last migration is the
 * one that the file is named for. What is there already is left alone: it is what that version wrote.
 *
 *   npx vitest run --config test/journal/golden/vitest.config.ts
 *
 * Columns that a version did not have are left out, so the ones before the newest are what they would have been.
 */
import { existsSync, writeFileSync } from 'node:fs';
import pg from 'pg';
import { expect, it } from 'vitest';
import { ask, clientOf, settings } from '../../replicated/deployment.ts';
import { startTally } from '../../replicated/tally.ts';
import { startFunction } from '../../support/function-process.ts';
import { produce } from '../../support/kafka.ts';
import { createOperator } from '../../support/operator.ts';
import { createDatabase } from '../../support/postgres.ts';
import { eventually } from '../../support/processes.ts';
import type { Scope } from '../../support/scope.ts';
import { startRuntime } from '../../support/start-runtime.ts';
import { command, createOffice, workOn } from '../../verify/office.ts';
import { goldenFile, type Migration, migrations } from './migrations.ts';

/** Event sourced entities, values, actions and subscribers; resolves to the database's URL. */
async function makeOffice(t: Scope): Promise<string> {
  const fn = await startFunction(t, { source: 'trouble', env: { WATCH: 'yes' } });
  const office = await createOffice(t, fn, { 'journal.keepInputs': true, 'journal.keepValues': true });
  const config = {
    ...office.config,
    'idempotency.keys': [{ topic: office.topics.ledgers, header: 'idempotency-key' }],
  };
  const runtime = startRuntime(t, config);
  await runtime.ready();
  const operator = createOperator(config);
  await workOn(office, 1);
  const named = command('Add', 'l0', { id: 'l0', amount: 1 });
  await produce(office.topics.ledgers, [{ ...named, headers: { ...named.headers, 'idempotency-key': 'once' } }]);
  await office.atRest();
  expect(await operator.operate({ kind: 'pause', entityType: 'ledgers', entityId: 'paused' })).toMatchObject({
    code: 0,
  });
  await produce(office.topics.ledgers, [command('Add', 'paused', { id: 'paused', amount: 1 })]);
  await eventually('its command is parked', async () => (await office.query('select 1 from parked')).length === 1);
  await office.atRest();
  await runtime.stop();
  // What no component here does.
  await office.query("insert into deletion select 1, 'ledgers', 'l0', 1, timestamptz '2100-01-01'");
  await office.query(
    `insert into dead_letter (topic, partition, "offset", written, state, operation, marked_by)
     select 'dead', 0, 1, 2, 'retried', id, 'somebody' from operation`,
  );
  await office.query(
    `insert into emission (generation, source, topic, ranges) values (1, 2, 'again', '{"0": {"from": {"in": "1"}, "to": {"in": "2"}}}')`,
  );
  await office.query(
    'insert into held_output (generation, shard, chunk, records, differing) select generation, shard, chunk, records, array[0] from outbox limit 1',
  );
  return String(config['postgres.url']);
}

/** Replicated entities. */
async function makeTallies(t: Scope): Promise<string> {
  const config = {
    ...(await settings(t, await startTally(t, 'kalix'))),
    'journal.keepInputs': true,
    'journal.outboxRetentionChunks': 5,
  };
  const runtime = startRuntime(t, config);
  const client = await clientOf(t, await runtime.doors());
  for (let n = 1; n <= 101; n++) await ask(client, 'Add', 'a', 1);
  await ask(client, 'Add', 'b', -3);
  await runtime.stop();
  return String(config['postgres.url']);
}

async function connect(t: Scope, url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, options: '-c search_path=stateferry' });
  await client.connect();
  t.onTestFinished(() => client.end());
  return client;
}

/** Tables, in the order in which they were made, with the columns that can be written. */
async function tablesOf(t: Scope, upTo: readonly Migration[]): Promise<Map<string, string[]>> {
  const client = await connect(t, await createDatabase(t));
  await client.query('create schema stateferry');
  for (const { sql } of upTo) await client.query(sql);
  const { rows } = await client.query<{ table: string; columns: string[] }>(
    `select c.relname as table, array_agg(a.attname::text order by a.attnum) as columns
     from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace = 'stateferry'::regnamespace and c.relkind = 'r'
     group by c.oid, c.relname order by c.oid`,
  );
  return new Map(rows.map(({ table, columns }) => [table, columns]));
}

/** A journal's rows as statements. Rows that a migration itself writes are there already. */
async function rowsOf(client: pg.Client, tables: ReadonlyMap<string, readonly string[]>): Promise<string> {
  const lines: string[] = [];
  for (const [table, columns] of tables) {
    const names = columns.map((column) => client.escapeIdentifier(column));
    const own = table === 'message_type' ? "where function <> ''" : '';
    const { rows } = await client.query<{ row: string }>(
      `select concat_ws(', ', ${names.map((name) => `quote_nullable(${name}::text)`).join(', ')}) as row
       from ${table} ${own} order by 1`,
    );
    if (rows.length === 0) continue;
    lines.push(`insert into ${table} (${names.join(', ')}) overriding system value values`);
    lines.push(`${rows.map(({ row }) => `  (${row})`).join(',\n')};`);
  }
  return lines.join('\n');
}

it('makes the golden journals that are missing', async (t) => {
  const all = migrations();
  const missing = all.filter(({ name }) => !existsSync(goldenFile(name)));
  if (missing.length === 0) return;
  const journals = [
    ['office', await connect(t, await makeOffice(t))],
    ['tallies', await connect(t, await makeTallies(t))],
  ] as const;
  for (const { name } of missing) {
    const upTo = all.slice(0, all.findIndex((migration) => migration.name === name) + 1);
    const tables = await tablesOf(t, upTo);
    const parts: string[] = [`-- Two journals as of ${name}. Made by make.ts; not to be changed.`];
    for (const [schema, client] of journals) {
      parts.push(
        `create schema ${schema};`,
        `set search_path to ${schema};`,
        'create table migration (id serial primary key, name varchar(255) not null, run_on timestamp not null);',
        ...upTo.map(({ name: done }) => `insert into migration (name, run_on) values ('${done}', now());`),
        ...upTo.map(({ sql }) => sql),
        await rowsOf(client, tables),
      );
    }
    writeFileSync(goldenFile(name), `${parts.join('\n')}\n`);
  }
});
