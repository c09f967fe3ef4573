import path from 'node:path';
import pg from 'pg';
import { expect, it } from 'vitest';
import { archive } from '../../src/commands/journal-export.ts';
import { temporaryFolder } from '../support/folder.ts';
import { startFunction } from '../support/function-process.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { configOf, createOffice, faultsOf, workOn } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });

it('a deployment that moves to another database in the middle of its work goes on there, exactly once', async (t) => {
  const office = await createOffice(t, fn, { 'journal.keepInputs': true });
  const url = await createDatabase(t);
  const before = { ...office.config, 'postgres.url': url, 'postgres.schema': 'first' };
  const client = new pg.Client({ connectionString: url, options: '-c search_path=first' });
  await client.connect();
  t.onTestFinished(() => client.end());

  const first = startRuntime(t, before);
  await first.ready();
  const work = workOn(office, 10);
  const events = async () => Number((await client.query('select count(*) as n from event')).rows[0].n);
  await eventually('some of it is done', async () => (await events()) > 40);
  await first.stop();
  await work;
  const moved = await events();

  const folder = path.join(await temporaryFolder(t), 'archive');
  let told = '';
  const output = {
    write: (text: string) => {
      told += text;
    },
  };
  const io = { signal: new AbortController().signal, out: output, err: output };
  expect(await archive(configOf(before), { kind: 'export', folder }, io), told).toBe(0);
  expect(await archive(configOf(office.config), { kind: 'import', folder }, io), told).toBe(0);
  expect(await office.query('select count(*)::int as n from event')).toEqual([{ n: moved }]);

  const second = startRuntime(t, office.config);
  await second.ready();
  await workOn(office, 1);
  await office.atRest();
  await second.stop();
  const report = await office.verify();
  expect(faultsOf(report)).toEqual([]);
  expect(report.held).toBe(true);
  const [{ n } = { n: 0 }] = await office.query<{ n: number }>('select count(*)::int as n from event');
  expect(n).toBeGreaterThan(moved);
  expect(n).toBe(11 * 24);
});
