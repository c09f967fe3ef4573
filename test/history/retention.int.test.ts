import { expect, it } from 'vitest';
import { startFunction } from '../support/function-process.ts';
import { produce } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { checkOf, command, createOffice, faultsOf, workOn } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });

it('a deployment removes what it need not keep while it works: entities go on from their snapshots, and verify holds', async (t) => {
  const office = await createOffice(t, fn, {
    'function.passivationMs': 200,
    'journal.keepInputs': true,
    'journal.outboxRetentionChunks': 2,
    'journal.retentionCheckMs': 100,
    'journal.retention': [
      { what: 'events', component: 'ledgers', maxAgeMs: 500 },
      { what: 'inputs', maxBytesPerShard: 1_000 },
    ],
  });
  const runtime = startRuntime(t, office.config);
  await runtime.ready();
  await workOn(office, 6);
  await office.atRest();
  const removed = () =>
    office.query<{ kind: string; rows: string }>(
      'select kind, sum(rows) as rows from removed group by kind order by 1',
    );
  await workOn(office, 2);
  await eventually('something of both kinds was removed', async () => (await removed()).length === 2, 30_000);
  await office.atRest();
  // Passivated, it is loaded from its snapshot, above events that are there no more.
  await produce(office.topics.ledgers, [command('Get', 'l1', { id: 'l1' })]);
  await office.atRest();
  await runtime.stop();

  const [l1] = await office.query<{ first: string; last: string; count: string; removed: string }>(
    `select min(e.seq) as first, max(e.seq) as last, count(*) as count, max(s.removed_through) as removed
     from event e join snapshot s using (generation, entity_type, entity_id) where entity_id = 'l1'`,
  );
  expect(Number(l1?.first)).toBe(Number(l1?.removed) + 1);
  expect(Number(l1?.removed)).toBeGreaterThan(0);
  // Each round: an Add, three of an AddMany, and one of the desk.
  expect(Number(l1?.last)).toBe(8 * 5);
  const report = await office.verify();
  expect(faultsOf(report)).toEqual([]);
  expect(checkOf(report, 'sequences').reach).toEqual([
    expect.stringMatching(/^events below snapshots that retention has removed/),
  ]);
  expect(checkOf(report, 'replay').reach).toContainEqual(expect.stringMatching(/^retention has removed events below/));
});

it('a rule for a component that there never was stops the start', async (t) => {
  const office = await createOffice(t, fn, {
    'journal.retention': [{ what: 'events', component: 'ledger', maxAgeMs: 1 }],
  });
  const runtime = startRuntime(t, office.config);
  await expect(runtime.ready()).rejects.toThrow(/names the component "ledger", and the function never had one/);
});
