import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { beforeAll, expect, it } from 'vitest';
import { packagePath } from '../../src/package-path.ts';
import { startFunction } from '../support/function-process.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { createOffice, type Office, workOn } from '../verify/office.ts';

const ROUNDS = 3;

/** The SQL blocks of docs/sql.md below a heading, with the sentence before each. */
function blocks(heading: string): { readonly title: string; readonly sql: string }[] {
  const page = readFileSync(packagePath('docs/sql.md'), 'utf8');
  const section = page.split(/^## /m).find((part) => part.startsWith(heading)) ?? '';
  return [...section.matchAll(/([^\n]+(?:\n[^\n]+)*):\n\n```sql\n(.*?)```/gs)].map(([, title, sql]) => ({
    title: title as string,
    sql: sql as string,
  }));
}

const file = fileScope();
const QUERIES = blocks('Ten queries');
let office: Office;
const fn = await startFunction(file, { source: 'trouble' });

beforeAll(async () => {
  office = await createOffice(file, fn, { 'journal.keepInputs': true });
  const runtime = startRuntime(file, office.config);
  await runtime.ready();
  await workOn(office, ROUNDS);
  await office.atRest();
  await runtime.stop();
});

/** The page's input topic is the one of the ledgers. */
const onTopics = (sql: string): string => sql.replaceAll("'orders", `'${office.topics.ledgers}`);

type Row = Record<string, unknown>;
const sum = (rows: readonly Row[], column: string): number =>
  rows.reduce((total, row) => total + Number(row[column]), 0);

/** What the office's work must have led to, by the order of the queries on the page. */
const CHECKS: readonly ((rows: Row[]) => void)[] = [
  (rows) => {
    // Add, three of AddMany, and the side effect of Scatter, each round.
    expect(rows).toHaveLength(5 * ROUNDS);
    expect(rows.map(({ seq }) => Number(seq))).toEqual(rows.map((_, i) => i + 1));
    expect(rows[0]).toMatchObject({ type: 'trouble.Added', data: { amount: expect.any(Number) } });
  },
  (rows) => {
    const balance = new Map(rows.map((row) => [row.entity_id, Number(row.balance)]));
    expect(balance.get('l1')).toBe((2 + 3 * 2 + 3) * ROUNDS);
    expect(balance.get('l0')).toBe(ROUNDS);
    expect(balance.get('s1')).toBe(3 * ROUNDS);
    expect(Number(rows.find((row) => row.entity_id === 'l0')?.after_three)).toBe(ROUNDS);
  },
  (rows) => {
    expect(rows.map(({ what }) => what).sort()).toEqual(expect.arrayContaining(['event', 'output']));
    expect(new Set(rows.map(({ command_id }) => String(command_id).split('#')[0])).size).toBe(1);
  },
  (rows) => expect(rows.every(({ data }) => data !== null)).toBe(true),
  (rows) => expect(new Set(rows.map(({ type }) => type))).toEqual(new Set(['trouble.Added'])),
  (rows) => {
    const counts = Object.fromEntries(rows.map(({ code, count }) => [code, Number(count)]));
    expect(counts).toEqual({ FUNCTION_FAILED: ROUNDS, RECORD_UNDECODABLE: ROUNDS });
  },
  (rows) => {
    // Two side effects and a forward of ledgers, a forward of boxes, a forward and two side effects of the desk.
    expect(rows).toHaveLength(7 * ROUNDS);
    expect(rows.every(({ method, payload }) => method === 'Add' && payload !== null)).toBe(true);
  },
  (rows) =>
    expect(rows.map(({ entity_id, state }) => [entity_id, state])).toEqual([
      ['b1', { text: `t${ROUNDS - 1}` }],
      ['b2', { text: `t${ROUNDS - 1}` }],
      ['b4', { text: 'x' }],
    ]),
  (rows) => {
    const topics = new Map(rows.map((row) => [row.topic, Number(row.count)]));
    expect(topics.get(office.topics.ledgers)).toBe(17 * ROUNDS);
    expect(topics.get(office.topics.boxes)).toBe(5 * ROUNDS);
  },
  (rows) => {
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ function: expect.stringMatching(/^[0-9a-f]{64}$/), count: expect.anything() });
  },
];

it('has ten queries, each with a check here', () => {
  expect(QUERIES).toHaveLength(10);
  expect(CHECKS).toHaveLength(10);
});

it.each(QUERIES.map(({ title, sql }, i) => [title.replaceAll('\n', ' '), sql, i] as const))(
  '%s',
  async (_title, sql, i) => {
    const rows = await office.query<Row>(onTopics(sql));
    expect(rows.length).toBeGreaterThan(0);
    CHECKS[i]?.(rows);
  },
);

it('counts the same events by each of the queries that count them', async () => {
  const [{ n } = { n: 0 }] = await office.query<{ n: string }>('select count(*) as n from stateferry.event');
  const [lastHour, perMinute, perVersion] = await Promise.all(
    [3, 4, 9].map((i) => office.query<Row>(onTopics(QUERIES[i]?.sql ?? ''))),
  );
  expect(lastHour).toHaveLength(Number(n));
  expect(sum(perMinute ?? [], 'count')).toBe(Number(n));
  expect(sum(perVersion ?? [], 'count')).toBe(Number(n));
});

it('every event and every command of a topic is decoded', async () => {
  expect(await office.query('select 1 from stateferry.events where data is null')).toEqual([]);
  const undecoded = await office.query<{ key: string; value_bytes: Buffer }>(
    'select key, value_bytes from stateferry.commands where value is null and value_bytes is not null',
  );
  expect(undecoded.map(({ value_bytes }) => value_bytes.toString())).toEqual(Array(ROUNDS).fill('no JSON'));
});

it('the role of the page reads the views and decodes, and changes nothing', async (t) => {
  const [grants] = blocks('A role that only reads');
  const role = `analyst_${randomBytes(6).toString('hex')}`;
  t.onTestFinished(async () => {
    await office.query(`drop owned by ${role}`);
    await office.query(`drop role ${role}`);
  });
  await office.query((grants?.sql ?? '').replaceAll('analyst', role));
  const url = new URL(String(office.config['postgres.url']));
  url.username = role;
  url.password = encodeURIComponent('change me');
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    for (const [view, column] of [
      ['events', 'data'],
      ['outputs', 'value'],
      ['commands', 'value'],
    ]) {
      const { rows } = await client.query(
        `select count(*) as all, count(${column}) as decoded from stateferry.${view}`,
      );
      expect(Number(rows[0].decoded)).toBeGreaterThan(Number(rows[0].all) / 2);
    }
    await expect(client.query('select * from stateferry.event')).rejects.toThrow('permission denied');
    await expect(client.query('create temporary table x ()')).rejects.toThrow('read-only');
  } finally {
    await client.end();
  }
});
