import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { expect, it } from 'vitest';
import { promote as promoteCommand } from '../../src/commands/promote.ts';
import { reprocess } from '../../src/commands/reprocess.ts';
import { createLog } from '../../src/observe/log.ts';
import { type Promotion, promote } from '../../src/promote.ts';
import type { Report } from '../../src/verify/verify.ts';
import { startCli } from '../support/cli-process.ts';
import { compiled } from '../support/compiled.ts';
import type { FunctionProcess } from '../support/function-process.ts';
import { startFunction } from '../support/function-process.ts';
import { createTopic, produce, readCommitted } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { command, configOf, createOffice, envOf, faultsOf, type Office } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
/** Another version: it gives the ledger l3 1 more each time. */
const generous = await startFunction(file, { source: 'trouble', env: { TROUBLE_GENEROUS_TO: 'l3' } });

const program = await compiled(file, 'tsconfig.build.json');
/** No stateferry.yaml is here. */
const folder = await mkdtemp(path.join(tmpdir(), 'stateferry-promote-'));
file.onTestFinished(() => rm(folder, { recursive: true, force: true }));

/** Between two sends. */
const EVERY_MS = 30;

const quiet = createLog({ level: 'silent', format: 'json' });

async function make(
  office: Office,
  name: string,
  version: FunctionProcess,
  components?: readonly string[],
  mode: 'cascade' | 'isolated' = 'cascade',
): Promise<void> {
  const io = {
    signal: new AbortController().signal,
    out: { write: () => undefined },
    err: { write: () => undefined },
  };
  const request = {
    kind: 'start',
    name,
    functionUrl: `http://${version.url}`,
    mode,
    from: 'beginning',
    state: undefined,
    components,
    perSecond: undefined,
    follow: false,
  } as const;
  expect(await reprocess(configOf(office.config), request, io)).toBe(0);
}

const serve = (office: Office, name: string): Promise<Promotion> =>
  promote(
    { config: configOf(office.config), name, holdMs: 30_000, emitTo: undefined, log: quiet, onStep: () => undefined },
    new AbortController().signal,
  );

/** Adds to the ledgers at a pace that the machine can bear, some of them by way of another one, until it is stopped. */
function startAdds(t: Scope, { topics }: Office) {
  let sent = 0;
  let running = true;
  const done = (async () => {
    while (running) {
      const messages = [2, 3, 4].map((n) => command('Add', `l${n}`, { id: `l${n}`, amount: 10 }));
      await produce(topics.ledgers, [...messages, command('AddAndForward', 'l5', { id: 'l5', amount: 10, to: 'l3' })]);
      sent += messages.length + 1;
      await delay(EVERY_MS);
    }
  })();
  const stop = async (): Promise<number> => {
    running = false;
    await done;
    return sent;
  };
  t.onTestFinished(async () => void (await stop()));
  return {
    stop,
    more: (count: number) => {
      const goal = sent + count;
      return eventually(`${count} more commands are sent`, () => sent >= goal);
    },
  };
}

/** Kinds of what does not hold. */
const findings = ({ checks }: Report): string[] =>
  [...new Set(checks.flatMap((check) => check.findings.map(({ what }) => what)))].sort();

/** What was published for each command: place of its record, the entity, and the amount of each event. */
async function published({ topics }: Office) {
  const replies = await readCommitted(topics.replies, 'end');
  const added = await readCommitted(topics.added, 'end');
  return { replies, added };
}

/** A deployment that runs, and adds that go on. */
async function startUnderLoad(t: Scope) {
  const office = await createOffice(t, fn);
  const runtime = startRuntime(t, office.config);
  await runtime.ready();
  return { office, adds: startAdds(t, office) };
}

/** So many commands have their reply, once; the generation has all events from the beginning on; and journal and topics are in accord. */
async function expectAllDone(office: Office, sent: number, generation: number): Promise<void> {
  const isDone = async () => (await published(office)).replies.length >= sent;
  await eventually('every command has its reply', isDone, 30_000);
  expect((await published(office)).replies).toHaveLength(sent);
  // An event for each Add, two for an AddAndForward.
  const events = 'select count(*)::int as events from event where generation = $1';
  expect(await office.query(events, [generation])).toEqual([{ events: (sent / 4) * 5 }]);
  expect(findings(await office.verify())).toEqual([]);
}

it('hands over at an exact position under load, and back', async (t) => {
  const { office, adds } = await startUnderLoad(t);
  await adds.more(100);
  await make(office, 'g2', generous);
  const there = await serve(office, 'g2');
  expect(there.retired).toBe('g1');
  await eventually('it has served', async () => {
    const [row] = await office.query<{ records: string }>(
      'select sum(records)::int as records from shard where generation = 2',
    );
    return Number(row?.records) > 100;
  });
  expect(findings(await office.verify())).toEqual([]);
  const back = await serve(office, 'g1');
  expect(back.retired).toBe('g2');
  await adds.more(100);
  const sent = await adds.stop();

  const isDone = async () => (await published(office)).replies.length >= sent;
  await eventually('every command has its reply', isDone, 30_000);
  const { replies, added } = await published(office);
  expect(replies).toHaveLength(sent);
  const idOf = (record: (typeof replies)[number]) => String(record.headers['stateferry-origin']);
  expect(new Set(replies.map(idOf)).size).toBe(sent);

  // An event for each Add, two for an AddAndForward: from the first switch to the second, l3 gets 1 more.
  expect(added).toHaveLength((sent / 4) * 5);
  const amounts = { before: new Set<number>(), between: new Set<number>(), after: new Set<number>() };
  for (const record of added) {
    const [topic = '', partition, offset] = (idOf(record).split('#')[0] ?? '').split('/');
    const isBefore = ({ positions }: Promotion) =>
      BigInt(offset ?? 0) < (positions.get(Number(partition))?.[topic] ?? 0n);
    const when = isBefore(there) ? 'before' : isBefore(back) ? 'between' : 'after';
    if (String(record.headers.ce_subject) !== 'l3') continue;
    amounts[when].add((JSON.parse(String(record.value)) as { amount: number }).amount);
  }
  expect(amounts).toEqual({ before: new Set([10]), between: new Set([11]), after: new Set([10]) });

  // What the others did is not what this one must explain; what it did itself is.
  const sound = await office.verify();
  expect(findings(sound)).toEqual([]);
  const judged = sound.checks.find(({ check }) => check === 'outputs');
  expect(judged?.counts.earlier).toBeGreaterThan(400);
  expect(judged?.counts.byOutbox).toBeGreaterThan(100);
  const newest = replies.at(-1);
  if (newest === undefined) throw new Error('there are replies');
  const { key, value, headers } = newest;
  const [place] = idOf(newest).split('#');
  const elsewhere = String(place).replace(/\d+$/, (offset) => `${BigInt(offset) + 1_000n}`);
  await produce(office.topics.replies, [
    { key, value, headers },
    { key, value, headers: { ...headers, ce_id: `${elsewhere}/reply`, 'stateferry-origin': elsewhere } },
  ]);
  expect(findings(await office.verify())).toEqual(['an output is doubled', 'an output that nothing explains']);
});

it('the next generation has all of the history of one that took over, too, and takes over from it', async (t) => {
  const { office, adds } = await startUnderLoad(t);
  await adds.more(40);
  await make(office, 'g2', generous, undefined, 'isolated');
  await serve(office, 'g2');
  await adds.more(40);
  await make(office, 'g3', generous, undefined, 'isolated');
  await serve(office, 'g3');
  await adds.more(40);
  await expectAllDone(office, await adds.stop(), 3);
});

it('in a cascade, too, though the one that took over has fed itself before', async (t) => {
  const { office, adds } = await startUnderLoad(t);
  await adds.more(40);
  await make(office, 'g2', generous);
  await serve(office, 'g2');
  await adds.more(40);
  await expect(make(office, 'g3', generous, undefined, 'isolated')).rejects.toThrow('fed itself then');
  await make(office, 'g3', generous);
  await serve(office, 'g3');
  await adds.more(40);
  await make(office, 'g4', fn);
  await serve(office, 'g4');
  await expectAllDone(office, await adds.stop(), 4);
});

it('and though it had served before it was made of what another one did', async (t) => {
  const { office, adds } = await startUnderLoad(t);
  await adds.more(40);
  await make(office, 'g2', generous);
  await serve(office, 'g2');
  await adds.more(40);
  await serve(office, 'g1');
  await adds.more(40);
  await make(office, 'g3', generous);
  await serve(office, 'g3');
  await expectAllDone(office, await adds.stop(), 3);
});

it('whoever promotes may be killed while input waits: the old one serves on, and can be replaced later', async (t) => {
  const { office, adds } = await startUnderLoad(t);
  await adds.more(40);
  await make(office, 'g2', generous);
  const killed = startCli(t, { compiled: program, argv: ['promote', 'g2'], cwd: folder, env: envOf(office) });
  await killed.printed(/input waits/);
  killed.kill('SIGKILL');
  await killed.exited;
  // By its lease, or because it was quicker than the signal.
  const replies = async () => (await published(office)).replies.length;
  const before = await replies();
  await eventually('input comes in again', async () => (await replies()) > before + 40, 30_000);
  const [row] = await office.query<{ live_generation: number }>('select live_generation from deployment');
  if (row?.live_generation === 1) await serve(office, 'g2');
  await adds.more(40);
  const sent = await adds.stop();
  await eventually('every command has its reply', async () => (await replies()) >= sent, 30_000);
  expect(await replies()).toBe(sent);
  expect(await office.query('select live_generation from deployment')).toEqual([{ live_generation: 2 }]);
});

it('publishes what would have come out otherwise, each once, whenever it is killed', async (t) => {
  const office = await createOffice(t, fn);
  const { topics } = office;
  const corrections = await createTopic(t, { partitions: 2, name: 'corrections' });
  const runtime = startRuntime(t, office.config);
  await runtime.ready();
  const rounds = 30;
  for (let round = 0; round < rounds; round++) {
    await produce(topics.ledgers, [
      ...[2, 3, 4].map((n) => command('Add', `l${n}`, { id: `l${n}`, amount: 10 })),
      command('AddAndForward', 'l5', { id: 'l5', amount: 10, to: 'l3' }),
    ]);
  }
  const isDone = async () => (await published(office)).replies.length === rounds * 4;
  await eventually('every command has its reply', isDone, 30_000);
  await make(office, 'g2', generous);
  const told: string[] = [];
  const write = (text: string) => told.push(text);
  const io = { signal: new AbortController().signal, out: { write }, err: { write } };
  const emit = (name: string, emitTo: string | undefined) =>
    promoteCommand(configOf(office.config), { name, holdMs: 30_000, emitTo }, io);
  await expect(emit('g2', topics.ledgers)).rejects.toThrow('is a topic that the deployment reads');
  await expect(emit('g2', 'nowhere')).rejects.toThrow('nowhere');

  // It stops where it notes what differs, and where all is published and it lets that go.
  await office.query(`
    create function wait() returns trigger language plpgsql as $$ begin
      if tg_op = 'UPDATE' then perform pg_advisory_xact_lock_shared(1);
      elsif (select selected from emission) then perform pg_advisory_xact_lock_shared(2); end if;
      return null;
    end $$;
    create trigger wait before update or delete on held_output for each statement execute function wait()`);
  const gate = new pg.Client({ connectionString: String(office.config['postgres.url']) });
  await gate.connect();
  t.onTestFinished(() => gate.end());
  for (const lock of [1, 2]) {
    await gate.query('select pg_advisory_lock($1)', [lock]);
    const argv = ['promote', 'g2', '--emit-differences', corrections];
    const killed = startCli(t, { compiled: program, argv, cwd: folder, env: envOf(office) });
    const waiting = "pg_locks where locktype = 'advisory' and not granted";
    const isThere = async () => (await office.query(`select 1 from ${waiting}`)).length > 0;
    await eventually('it is there', isThere, 30_000);
    killed.kill('SIGKILL');
    await killed.exited;
    // What the database was at for it is not done any more.
    await office.query(`select pg_terminate_backend(pid) from ${waiting}`);
    await eventually('that has ended', async () => !(await isThere()));
    await gate.query('select pg_advisory_unlock($1)', [lock]);
    const served = await office.query('select live_generation from deployment');
    expect(served).toEqual([{ live_generation: 2 }]);
    await expect(emit('g2', topics.replies)).rejects.toThrow(`is on its way to "${corrections}"`);
    await expect(emit('g2', undefined)).rejects.toThrow(`--emit-differences ${corrections}`);
  }
  expect(await office.query('select 1 from held_output limit 1')).toHaveLength(1);
  expect(await emit('g2', corrections)).toBe(0);
  expect(told.at(-1)).toBe(`0 outputs of the past that differ are published to ${corrections}.\n`);

  const corrected = await readCommitted(corrections, 'end');
  // To l3 go an Add and a forward in each round: an event and a reply of each.
  expect(corrected).toHaveLength(rounds * 2 * 2);
  expect(new Set(corrected.map(({ headers }) => String(headers.ce_id))).size).toBe(corrected.length);
  const bodies = corrected.map(({ value }) => JSON.parse(String(value)) as { amount?: number; changes?: number });
  expect(new Set(bodies.flatMap(({ amount = [] }) => amount))).toEqual(new Set([11]));
  expect(bodies.flatMap(({ changes = [] }) => changes)).toEqual(Array.from({ length: rounds * 2 }, (_, n) => n + 1));
  for (const { key, headers } of corrected) {
    expect(String(key)).toBe('l3');
    expect(String(headers['stateferry-difference'])).toBe('g2');
  }
  // What others had is as it was, and nothing is held any more.
  expect(faultsOf(await office.verify())).toEqual([]);
  for (const table of ['held_output', 'emission']) expect(await office.query(`select 1 from ${table}`)).toEqual([]);
  await expect(emit('g2', corrections)).rejects.toThrow('no outputs of its past wait to be published');
  await expect(emit('g1', corrections)).rejects.toThrow('generation "g1" has served before');
});

it('is refused for one that serves, that was given a part, or that is not there', async (t) => {
  const office = await createOffice(t, fn);
  const runtime = startRuntime(t, office.config);
  await runtime.ready();
  await make(office, 'g2', fn, ['trouble.LedgerService']);
  await expect(serve(office, 'g2')).rejects.toThrow('was given the commands of some components alone');
  await expect(serve(office, 'g3')).rejects.toThrow('there is no generation "g3", only g2');
});
