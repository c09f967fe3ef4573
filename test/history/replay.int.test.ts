import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, inject, it } from 'vitest';
import type { ReplayRequest } from '../../src/cli/context.ts';
import { replay } from '../../src/commands/replay.ts';
import { startCli } from '../support/cli-process.ts';
import { compiled } from '../support/compiled.ts';
import { startFunction } from '../support/function-process.ts';
import { createTopic, readCommitted } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { configOf, createOffice, workOn } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
const program = await compiled(file, 'tsconfig.build.json');
/** No stateferry.yaml is here. */
const folder = await mkdtemp(path.join(tmpdir(), 'stateferry-replay-'));
file.onTestFinished(() => rm(folder, { recursive: true, force: true }));

// A deployment that has worked, and has ended.
const office = await createOffice(file, fn, { 'journal.outboxRetentionChunks': 100_000 });
const runtime = startRuntime(file, office.config);
await runtime.ready();
await workOn(office, 4);
await office.atRest();
await runtime.stop();
const config = configOf(office.config);

/** Replays to the end; answers the exit code and what was said. */
async function act(request: Partial<ReplayRequest> & { readonly to: string }) {
  const said: string[] = [];
  const noted: string[] = [];
  const io = {
    signal: new AbortController().signal,
    out: { write: (text: string) => said.push(text) },
    err: { write: (text: string) => noted.push(text) },
  };
  const whole: ReplayRequest = {
    name: undefined,
    component: undefined,
    entity: undefined,
    since: undefined,
    until: undefined,
    shard: undefined,
    format: 'json',
    outputs: false,
    perSecond: undefined,
    dryRun: false,
    ...request,
  };
  const code = await replay(config, whole, io);
  return { code, said: said.join(''), notes: noted.join('').match(/^Retention .*$/gm) ?? [] };
}

type Records = Awaited<ReturnType<typeof readCommitted>>;

/** Everything of a record but where it stands and that it was replayed, in order per key. */
function contents(records: Records): Record<string, string[]> {
  const byKey: Record<string, string[]> = {};
  for (const { key, value, headers } of records) {
    const { 'stateferry-replay': _, ...others } = headers;
    byKey[String(key)] = [...(byKey[String(key)] ?? []), JSON.stringify([String(value), others])];
  }
  return byKey;
}

describe('events', () => {
  it('are published once more as they were, each once, in order per entity, and by the same command no more', async (t) => {
    const to = await createTopic(t, { partitions: 2, name: 'again' });
    const published = await readCommitted(office.topics.added, 'end');
    expect(await act({ to, component: 'ledgers', dryRun: true })).toMatchObject({
      code: 0,
      said: expect.stringContaining(`${published.length} records would be published`),
    });
    expect(await readCommitted(to, 'end')).toEqual([]);
    expect((await act({ to, component: 'ledgers' })).code).toBe(0);
    const again = await readCommitted(to, 'end');
    expect(contents(again)).toEqual(contents(published));
    expect(new Set(again.map(({ headers }) => headers['stateferry-replay'])).size).toBe(1);
    expect((await act({ to, component: 'trouble.LedgerService' })).said).toContain(`${published.length} records`);
    expect((await act({ to, component: 'ledgers' })).said).toMatch(/^0 records published/);
  });

  it('of one entity, and of a time', async (t) => {
    const to = await createTopic(t, { partitions: 2, name: 'again' });
    const published = await readCommitted(office.topics.added, 'end');
    const ofOne = published.filter(({ key }) => String(key) === 'l1');
    expect((await act({ to, entity: 'l1' })).said).toContain(`${ofOne.length} records published`);
    expect(contents(await readCommitted(to, 'end'))).toEqual(contents(ofOne));
    expect((await act({ to, since: Date.now() + 3_600_000 })).said).toMatch(/^0 records/);
  });

  it('that retention has removed are told, as far as they are asked for', async () => {
    await office.query(
      "insert into removed (generation, shard, kind, entity_type, through, rows, bytes) values (1, 0, 'events', 'ledgers', 7, 1200, 1), (1, 1, 'inputs', '', 7, 3, 1)",
    );
    await office.query("update snapshot set removed_through = 2 where entity_id = 'l1'");
    const notesOf = async (request: Partial<ReplayRequest>) =>
      (await act({ to: office.topics.replies, dryRun: true, ...request })).notes;
    const all = ['Retention has removed 1,200 events of ledgers up to event 7 of shard 0: they are not published.'];
    expect(await notesOf({})).toEqual(all);
    expect(await notesOf({ shard: 1 })).toEqual([]);
    expect(await notesOf({ entity: 'l1' })).toEqual([
      'Retention has removed the events of ledgers "l1" up to 2: they are not published.',
    ]);
    expect(await notesOf({ entity: 'l2' })).toEqual([]);
    expect(await notesOf({ outputs: true })).toEqual([]);
    await office.query('delete from removed');
    await office.query('update snapshot set removed_through = 0');
  });

  it('go on exactly where a killed process stopped', async (t) => {
    const to = await createTopic(t, { partitions: 3, name: 'again' });
    const env = {
      KAFKA_BROKERS: inject('brokers').join(','),
      DATABASE_URL: config.postgres.url,
      STATEFERRY_DEPLOYMENT_NAME: config.deployment.name,
    };
    const argv = ['replay', '--to', to, '--replay', 'slow', '--rate', '40'];
    const first = startCli(t, { compiled: program, argv, cwd: folder, env });
    await eventually('some are published', async () => (await readCommitted(to, 'end')).length > 0);
    first.kill('SIGKILL');
    await first.exited;
    const before = (await readCommitted(to, 'end')).length;
    const published = await readCommitted(office.topics.added, 'end');
    expect(before).toBeLessThan(published.length);
    const second = startCli(t, { compiled: program, argv, cwd: folder, env });
    expect(await second.exited).toBe(0);
    expect(contents(await readCommitted(to, 'end'))).toEqual(contents(published));
  });
});

it('outputs that the outbox has are published as they were', async (t) => {
  const to = await createTopic(t, { partitions: 3, name: 'again' });
  expect((await act({ to, outputs: office.topics.replies })).code).toBe(0);
  const published = await readCommitted(office.topics.replies, 'end');
  const again = await readCommitted(to, 'end');
  const sorted = (records: Records) => Object.values(contents(records)).flat().sort();
  expect(sorted(again)).toEqual(sorted(published));
});

it.each([
  ['a topic that is not there', { to: 'nowhere' }, 'the broker has no topic "nowhere"'],
  ['an input', { to: office.topics.ledgers }, 'is a topic that the deployment reads'],
  ['its command topic', { to: office.commands }, 'is a topic that the deployment reads'],
  [
    'an entity type that is none',
    { to: office.topics.replies, component: 'carts' },
    'no event sourced entity type "carts", only ledgers',
  ],
  ['a shard that is none', { to: office.topics.replies, shard: 3 }, 'the shards 0 to 2'],
])('%s is refused', async (_, request, sentence) => {
  await expect(act(request)).rejects.toThrow(sentence);
});
