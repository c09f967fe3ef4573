import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Cli, createCli } from '../support/cli.ts';
import { startFunction } from '../support/function-process.ts';
import { produce, readCommitted } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { command, createOffice, faultsOf, type Office, workOn } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
let office: Office;
let cli: Cli;

/** A deployment that goes on working while its snapshots are dropped and made. */
beforeAll(async () => {
  office = await createOffice(file, fn, { 'function.passivationMs': 100 });
  const runtime = startRuntime(file, office.config);
  await runtime.ready();
  await workOn(office, 4);
  await office.atRest();
  cli = createCli(office.config);
});

const snapshotsOf = () =>
  office.query<{ entity_id: string; seq: string; payload: string }>(
    `select entity_id, seq, encode(payload, 'hex') as payload from snapshot where entity_type = 'ledgers' order by 1`,
  );

/** Changes of a ledger, by its own answer: what it is loaded as. */
async function changesOf(entityId: string): Promise<number> {
  await produce(office.topics.ledgers, [command('Get', entityId, { id: entityId })]);
  await office.atRest();
  const replies = await readCommitted(office.topics.replies, 'end');
  const last = replies.filter(({ key }) => key?.toString() === entityId).at(-1);
  return (JSON.parse(String(last?.value)) as { changes: number }).changes;
}

/** Stops a command when it waits to write a snapshot, and lets it; answers what it ended with. */
async function stopAtWork(argv: readonly string[]) {
  const client = new pg.Client({
    connectionString: String(office.config['postgres.url']),
    options: '-c search_path=stateferry',
  });
  await client.connect();
  try {
    const stop = new AbortController();
    await client.query('begin; lock table snapshot in exclusive mode');
    const { ended } = cli.start(stop.signal, ...argv);
    await eventually('it waits', async () => {
      const waiting = "select 1 from pg_locks where not granted and relation = 'snapshot'::regclass";
      return (await office.query(waiting)).length === 1;
    });
    stop.abort();
    await client.query('commit');
    const { code, out, err } = await ended;
    return { code, out, stopped: /^Stopped: .*$/m.exec(err)?.[0] };
  } finally {
    await client.end();
  }
}

describe('snapshots', () => {
  it('are dropped, and entities are loaded from their events; made anew, they are of the last event and hold', async () => {
    const before = await snapshotsOf();
    expect(before.length).toBeGreaterThan(3);
    const dropped = await cli('journal', 'snapshots', 'drop', '--component', 'ledgers');
    expect(dropped).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+ snapshots dropped/) });
    expect(await snapshotsOf()).toEqual([]);
    expect(await changesOf('l1')).toBe(4 * 5);

    const made = await cli(
      'journal',
      'snapshots',
      'rebuild',
      '--component',
      'trouble.LedgerService',
      '--min-events',
      '5',
    );
    expect(made).toMatchObject({ code: 0, err: '' });
    const after = await snapshotsOf();
    expect(made.out).toBe(`${after.length} snapshots made of events.\n`);
    const last = await office.query<{ entity_id: string; seq: string }>(
      `select entity_id, max(seq) as seq from event where entity_type = 'ledgers' group by 1 having max(seq) >= 5 order by 1`,
    );
    expect(after.map(({ entity_id, seq }) => ({ entity_id, seq }))).toEqual(last);
    expect(await changesOf('l1')).toBe(4 * 5);
    const report = await office.verify();
    expect(faultsOf(report)).toEqual([]);
    expect(report.checks.find(({ check }) => check === 'replay')?.counts.compared).toBe(after.length);
  });

  it('are made of the events whatever they were', async () => {
    const [before] = await snapshotsOf();
    await office.query(`update snapshot set payload = '\\x08ff' where entity_id = $1`, [before?.entity_id]);
    expect(await cli('journal', 'snapshots', 'rebuild', '--entity', before?.entity_id as string)).toMatchObject({
      code: 0,
    });
    expect((await snapshotsOf())[0]).toEqual(before);
  });

  it('say how many were made or dropped where that is stopped, and the same command does the rest', async () => {
    const before = await snapshotsOf();
    const rebuild = ['journal', 'snapshots', 'rebuild', '--component', 'ledgers'];
    expect(await stopAtWork(rebuild)).toEqual({
      code: 1,
      out: '',
      stopped: 'Stopped: 1 snapshots made of events. They stay; the same command makes the rest.',
    });
    expect(await cli(...rebuild)).toMatchObject({ code: 0, out: `${before.length} snapshots made of events.\n` });
    expect(await snapshotsOf()).toEqual(before);

    const drop = ['journal', 'snapshots', 'drop', '--component', 'ledgers'];
    expect(await stopAtWork(drop)).toEqual({
      code: 1,
      out: '',
      stopped: `Stopped: ${before.length} snapshots dropped. The same command goes on there.`,
    });
    expect(await cli(...drop)).toMatchObject({ code: 0, out: expect.stringMatching(/^0 snapshots dropped/) });
    expect(await cli(...rebuild, '--min-events', '5')).toMatchObject({ code: 0 });
    expect(await snapshotsOf()).toEqual(before);
  });

  it('stay where retention has removed events below them, and those are named', async () => {
    await office.query(`update snapshot set removed_through = 2 where entity_id = 'l1'`);
    const dropped = await cli('journal', 'snapshots', 'drop');
    expect(dropped).toMatchObject({
      code: 1,
      err: 'ledgers l1: retention has removed its events up to 2, so its snapshot stays.\n',
    });
    expect((await snapshotsOf()).map(({ entity_id }) => entity_id)).toEqual(['l1']);
    expect(await cli('journal', 'snapshots', 'rebuild', '--entity', 'l1')).toMatchObject({
      code: 1,
      out: '0 snapshots made of events.\n',
      err: 'ledgers l1: retention has removed its events up to 2: it cannot be made of them.\n',
    });
    await office.query('update snapshot set removed_through = 0');
  });

  it('are refused for values, for what there is not, and without a function that can be asked', async () => {
    expect(await cli('journal', 'snapshots', 'drop', '--component', 'boxes')).toMatchObject({
      code: 1,
      err: 'stateferry: "boxes" has values, which are what they are without a snapshot.\n',
    });
    expect((await cli('journal', 'snapshots', 'rebuild', '--entity', 'nobody')).err).toContain('no entity "nobody"');
    expect((await cli('journal', 'snapshots', 'drop', '--component', 'ledger')).err).toContain('no component "ledger"');
    const alone = createCli({ ...office.config, 'function.url': 'http://127.0.0.1:1' });
    expect((await alone('journal', 'snapshots', 'rebuild')).err).toContain('no function answers at http://127.0.0.1:1');
    expect((await cli('journal', 'snapshots', 'rebuild', '--min-events', 'x')).code).toBe(2);
  });
});
