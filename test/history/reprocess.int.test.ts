import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import type { ReprocessRequest } from '../../src/cli/context.ts';
import { judge } from '../../src/commands/diff.ts';
import { reprocess } from '../../src/commands/reprocess.ts';
import type { Assumed } from '../../src/config/load.ts';
import { createLog } from '../../src/observe/log.ts';
import { promote } from '../../src/promote.ts';
import { startCli } from '../support/cli-process.ts';
import { compiled } from '../support/compiled.ts';
import { startFunction } from '../support/function-process.ts';
import { endOffsets, produce, withAdmin } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { command, configOf, createOffice, envOf, faultsOf, type Office, workOn } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
/** Another version: it gives the ledger l3 1 more each time. */
const generous = await startFunction(file, { source: 'trouble', env: { TROUBLE_GENEROUS_TO: 'l3' } });

const program = await compiled(file, 'tsconfig.build.json');
/** No stateferry.yaml is here. */
const folder = await mkdtemp(path.join(tmpdir(), 'stateferry-history-'));
file.onTestFinished(() => rm(folder, { recursive: true, force: true }));

const quiet = createLog({ level: 'silent', format: 'json' });

type Started = Partial<Extract<ReprocessRequest, { kind: 'start' }>>;

/** Runs the command; answers the exit code and what was said. */
async function act(office: Office, request: ReprocessRequest) {
  const said: string[] = [];
  const io = {
    signal: new AbortController().signal,
    out: { write: (text: string) => said.push(text) },
    err: { write: (text: string) => said.push(text) },
  };
  const code = await reprocess(configOf(office.config), request, io);
  return { code, said: said.join('') };
}

/** Makes a generation to its end. */
function make(office: Office, name: string, more: Started = {}) {
  const request: ReprocessRequest = {
    kind: 'start',
    name,
    functionUrl: undefined,
    mode: 'isolated',
    from: 'beginning',
    state: undefined,
    components: undefined,
    perSecond: undefined,
    follow: false,
    ...more,
  };
  return act(office, request);
}

/** A deployment that has worked, and has ended. */
async function history(t: Scope, rounds = 3, config: Assumed = {}): Promise<Office> {
  const office = await createOffice(t, fn, config);
  const runtime = startRuntime(t, office.config);
  await runtime.ready();
  await workOn(office, rounds);
  await office.atRest();
  await runtime.stop();
  return office;
}

/** Events in the order of each entity, and the values, of one generation. */
async function contentsOf(office: Office, generation: number) {
  return {
    events: await office.query(
      `select entity_type, entity_id, seq, shard, type_url, encode(payload, 'hex') as payload, command_id
       from event where generation = $1 order by entity_type, entity_id, seq`,
      [generation],
    ),
    values: await office.query(
      `select entity_type, entity_id, revision, shard, type_url, encode(payload, 'hex') as payload, command_id
       from value where generation = $1 order by entity_type, entity_id`,
      [generation],
    ),
  };
}

/** The comparison of a generation with the live one. */
async function difference(office: Office, name: string, ignore: readonly string[] = []) {
  const io = { err: { write: () => undefined }, signal: new AbortController().signal };
  return judge(configOf(office.config), { name, ignore }, io);
}

/** What retention does, now. */
function deleteBefore(topic: string, ends: ReadonlyMap<number, bigint>): Promise<void> {
  return withAdmin(async (admin) => {
    // kafkajs looks for the leaders only among topics that it has been asked for.
    await admin.fetchTopicOffsets(topic);
    const partitions = [...ends].map(([partition, offset]) => ({ partition, offset: String(offset) }));
    await admin.deleteTopicRecords({ topic, partitions });
  });
}

const inputsOf = ({ topics, commands }: Office) => [topics.ledgers, topics.boxes, topics.desk, commands];

async function topicEnds(office: Office) {
  const topics = [...Object.values(office.topics), office.commands, office.deadLetters];
  return Promise.all(topics.map(async (topic) => [topic, [...(await endOffsets(topic))].map(String)]));
}

it('gives the commands that history gave, in that order: the same version comes to the same, and nothing is published', async (t) => {
  const office = await history(t);
  const before = await topicEnds(office);
  const live = await contentsOf(office, 1);
  const { code, said } = await make(office, 'g2');
  expect(said).toMatch(/Generation g2 is complete: [\d,]+ input records applied/);
  expect(code).toBe(0);
  expect(await contentsOf(office, 2)).toEqual(live);
  expect(await contentsOf(office, 1)).toEqual(live);
  expect(await topicEnds(office)).toEqual(before);

  const report = await difference(office, 'g2');
  expect(report.notes).toEqual([]);
  expect(report.samples).toEqual([]);
  expect(report).toMatchObject({ same: true, entities: 0 });
  // Nothing was left out: every event, value, dead letter and every output but strays.
  const count = (what: keyof typeof report.counts) => report.counts[what].same;
  expect(count('events')).toBe(live.events.length);
  expect(count('values')).toBe(live.values.length);
  expect(count('failures')).toBe(3 * 2);
  expect(count('outputs')).toBeGreaterThan(live.events.length);
});

it('shows what another version would have done, and nothing else', async (t) => {
  const rounds = 3;
  const office = await history(t, rounds);
  await make(office, 'g2', { functionUrl: `http://${generous.url}` });
  const report = await difference(office, 'g2');
  expect(report.notes).toEqual([]);
  // To l3 go an Add and an effect of l2 in each round.
  const commands = 2 * rounds;
  expect(report.same).toBe(false);
  expect(report.entities).toBe(1);
  expect(report.counts.events).toMatchObject({ changed: commands, missing: 0, added: 0 });
  expect(report.counts.failures).toMatchObject({ changed: 0, missing: 0, added: 0 });
  expect(report.counts.values).toMatchObject({ changed: 0, missing: 0, added: 0 });
  expect(report.topics[office.topics.added]).toMatchObject({ changed: commands, missing: 0, added: 0 });
  expect(report.topics[office.topics.replies]).toMatchObject({ changed: commands, missing: 0, added: 0 });
  expect(report.topics.commands).toMatchObject({ changed: 0, missing: 0, added: 0 });
  expect(report.components).toMatchObject({ ledgers: { changed: commands } });
  expect(report.firsts).toHaveLength(1);
  expect(report.firsts[0]).toMatchObject({ kind: 'changed', entity: { entityType: 'ledgers', entityId: 'l3' } });
  expect(report.samples).toContainEqual(
    expect.objectContaining({
      what: 'events',
      before: { type: 'type.googleapis.com/trouble.Added', data: { amount: 4 } },
      after: { type: 'type.googleapis.com/trouble.Added', data: { amount: 5 } },
      fields: ['data.amount'],
    }),
  );
  expect(await difference(office, 'g2', ['amount', 'balance'])).toMatchObject({ same: true });
});

it('gives what came from outside alone, and makes what entities send each other anew', async (t) => {
  const office = await history(t);
  const before = await topicEnds(office);
  const { code } = await make(office, 'g2', { mode: 'cascade' });
  expect(code).toBe(0);
  // What several shards send to one entity has no order of its own.
  const unordered = async (generation: number) =>
    (await contentsOf(office, generation)).events
      .map(({ entity_id, payload, command_id }) => `${command_id} ${entity_id} ${payload}`)
      .sort();
  expect(await unordered(2)).toEqual(await unordered(1));
  expect(await topicEnds(office)).toEqual(before);
});

describe('a generation that begins in the middle, with the state of then', () => {
  /** By the database's clock. */
  const timeOf = async (office: Office) =>
    (await office.query<{ now: Date }>('select clock_timestamp() as now'))[0]?.now.getTime() as number;

  /** A deployment that works on, and where it was when it had done a part of it. */
  async function inTheMiddle(t: Scope) {
    const office = await createOffice(t, fn);
    const { topics } = office;
    const runtime = startRuntime(t, office.config);
    await runtime.ready();
    await workOn(office, 2);
    await office.atRest();
    const from = await timeOf(office);
    const ends = await Promise.all(inputsOf(office).map(async (topic) => [topic, await endOffsets(topic)] as const));
    // Nothing that changes the values that there are.
    const more = async (box: string) => {
      await produce(topics.ledgers, [
        ...[1, 2, 3, 8, 20].map((n) => command('Add', `l${n}`, { id: `l${n}`, amount: n })),
        command('AddWithEffects', 'l2', { id: 'l2', amount: 1, to: ['l3', 'l4'] }),
        command('AddAndForward', 'l5', { id: 'l5', amount: 1, to: 'l6' }),
      ]);
      await produce(topics.boxes, [command('Put', box, { id: box, text: 'new' }), command('Look', 'b1', { id: 'b1' })]);
      await office.atRest();
    };
    await more('b8');
    return { office, runtime, from, ends, more };
  }

  it('comes to the same as the live one, can be begun by one that is killed, and serves', async (t) => {
    const { office, from, more } = await inTheMiddle(t);
    const live = await contentsOf(office, 1);
    const begin = ['reprocess', 'start', 'g2', '--from', new Date(from).toISOString(), '--state', 'live'];
    const killed = startCli(t, { compiled: program, argv: begin, cwd: folder, env: envOf(office) });
    // It waits for this when the generation is there, and has no events yet.
    const locked = new pg.Client({
      connectionString: String(office.config['postgres.url']),
      options: '-c search_path=stateferry',
    });
    await locked.connect();
    t.onTestFinished(() => locked.end());
    await locked.query('begin; lock table event in share mode');
    const waits = "select 1 from pg_locks where not granted and relation = 'event'::regclass";
    await eventually('it copies events', async () => (await office.query(waits)).length > 0);
    killed.kill('SIGKILL');
    await killed.exited;
    expect((await act(office, { kind: 'list', json: false })).said).toMatch(/^g2 +2 +copying/m);
    await expect(act(office, { kind: 'run', name: 'g2', follow: false })).rejects.toThrow(
      'generation "g2" does not have all of the state yet that it begins with',
    );
    await expect(make(office, 'g2', { from, state: 'live', perSecond: 5 })).rejects.toThrow('was begun with another');
    await locked.query('commit');

    const { code, said } = await make(office, 'g2', { from, state: 'live' });
    expect(said).toContain('Generation g2 was begun already, from ');
    expect(code).toBe(0);
    expect(await contentsOf(office, 2)).toEqual(live);
    const report = await difference(office, 'g2');
    expect(report.notes).toEqual([]);
    expect(report).toMatchObject({ same: true });
    // What was copied is not what was made.
    expect(report.counts.events.same).toBeGreaterThan(5);
    expect(report.counts.events.same).toBeLessThan(live.events.length / 2);

    // A command that was on its way where it begins: it was sent before, and carried out after.
    const [carriedOut] = await office.query<{ at: Date }>(
      `select c.at from event e join lateral (
         select at from chunk c where generation = 1 and c.shard = e.shard and c.shard_seq >= e.shard_seq order by chunk limit 1
       ) c on true where e.generation = 1 and e.entity_id = 'l6' order by e.seq desc limit 1`,
    );
    expect((await make(office, 'between', { from: carriedOut?.at.getTime() as number, state: 'live' })).code).toBe(0);
    expect(await contentsOf(office, 3)).toEqual(live);
    const between = await difference(office, 'between');
    expect(between.samples).toEqual([]);
    expect(between).toMatchObject({ same: true, notes: [] });
    expect(between.counts.events.same).toBeGreaterThan(0);

    await promote(
      {
        config: configOf(office.config),
        name: 'g2',
        holdMs: 30_000,
        emitTo: undefined,
        log: quiet,
        onStep: () => undefined,
      },
      new AbortController().signal,
    );
    await more('b9');
    const events = await office.query('select 1 from event where generation = 2');
    expect(events.length).toBeGreaterThan(live.events.length);
    expect(faultsOf(await office.verify())).toEqual([]);
    // It has no history of its own before its beginning.
    await expect(make(office, 'g3')).rejects.toThrow('begun in the middle of history, with the state of another one');
    expect((await make(office, 'g3', { state: 'live' })).code).toBe(0);
    expect(await contentsOf(office, 4)).toEqual(await contentsOf(office, 2));

    const now = await timeOf(office);
    await workOn(office, 1);
    await office.atRest();
    await expect(make(office, 'g4', { from: now, state: 'live' })).rejects.toThrow(
      /^\d values have changed since where the generation is to begin, such as "b\d" of boxes/,
    );
    expect((await act(office, { kind: 'list', json: false })).said).not.toContain('g4');
  });

  it('as early as there is all of its input, where retention has removed some', async (t) => {
    const { office, runtime, ends } = await inTheMiddle(t);
    await runtime.stop();
    const live = await contentsOf(office, 1);
    await expect(make(office, 'g2', { state: 'live' })).rejects.toThrow('leave --state out');
    await expect(make(office, 'g2', { state: 'live', mode: 'cascade' })).rejects.toThrow('is for --mode isolated');
    for (const [topic, before] of ends) await deleteBefore(topic, before);
    await expect(make(office, 'g2')).rejects.toThrow('--state live begins as early as there are all of them');
    const { code } = await make(office, 'g2', { state: 'live' });
    expect(code).toBe(0);
    expect(await contentsOf(office, 2)).toEqual(live);
    expect(await difference(office, 'g2')).toMatchObject({ same: true });
  });
});

describe('what cannot be done is said, and nothing is made', () => {
  it('a name that is taken, a generation that is not there, one that is not complete', async (t) => {
    const office = await history(t, 1);
    await make(office, 'g2');
    await expect(make(office, 'g2')).rejects.toThrow('there is a generation "g2" already');
    await expect(act(office, { kind: 'run', name: 'g3', follow: false })).rejects.toThrow(
      'there is no generation "g3", only g2',
    );
    await act(office, { kind: 'pause', name: 'g2' }).then(
      () => expect.unreachable(),
      (error: Error) => expect(error.message).toBe('generation "g2" is complete: nobody works on it.'),
    );
    expect((await act(office, { kind: 'list', json: false })).said).toMatch(/^g2 +2 +complete +isolated +beginning/m);
    expect((await act(office, { kind: 'discard', name: 'g2' })).code).toBe(0);
    expect((await act(office, { kind: 'list', json: false })).said).toContain('no generation but the first');
    for (const table of ['event', 'value', 'outbox', 'chunk', 'shard', 'snapshot'])
      expect(await office.query(`select 1 from ${table} where generation = 2 limit 1`)).toEqual([]);
    expect((await contentsOf(office, 1)).events.length).toBeGreaterThan(0);
    const { groups } = await withAdmin((admin) => admin.listGroups());
    expect(groups.map(({ groupId }) => groupId)).not.toContain(`${String(office.config['deployment.name'])}.g2`);
    // Nothing of the first one counts for another one of its name.
    expect((await make(office, 'g2', { mode: 'cascade' })).code).toBe(0);
    expect((await contentsOf(office, 2)).events.length).toBe((await contentsOf(office, 1)).events.length);
  });

  it('history that retention has removed, with the offsets; and kept inputs in its place', async (t) => {
    const office = await history(t, 2);
    const end = (await endOffsets(office.topics.ledgers)).get(0) ?? 0n;
    await deleteBefore(office.topics.ledgers, new Map([[0, end]]));
    await expect(make(office, 'g2')).rejects.toThrow(
      `offsets 0 to ${end - 1n} of "${office.topics.ledgers}" partition 0`,
    );
    await office.query(
      "insert into removed values (1, 0, 'inputs', '', 5, 5, 100), (1, 0, 'events', 'ledgers', 5, 5, 100)",
    );
    await expect(make(office, 'g2')).rejects.toThrow('(journal.retention has removed those of shard 0 up to chunk 5)');
    expect((await act(office, { kind: 'list', json: false })).said).toContain('no generation but the first');

    const keeping = await history(t, 2, { 'journal.keepInputs': true });
    for (const topic of inputsOf(keeping)) {
      await deleteBefore(topic, await endOffsets(topic));
    }
    expect((await make(keeping, 'g2')).code).toBe(0);
    expect(await contentsOf(keeping, 2)).toEqual(await contentsOf(keeping, 1));
  });

  it('a function of which no command fits is told by its differences, not by a crash', async (t) => {
    const office = await history(t, 1);
    const { code } = await make(office, 'g2', { components: ['trouble.BoxService'] });
    expect(code).toBe(0);
    const types = await office.query<{ entity_type: string }>(
      'select distinct entity_type from event where generation = 2',
    );
    expect(types).toEqual([]);
    expect((await contentsOf(office, 2)).values).toEqual((await contentsOf(office, 1)).values);
  });
});

it('goes on where a killed process was, with another one beside it', async (t) => {
  const office = await history(t, 6);
  const env = {
    ...envOf(office),
    STATEFERRY_KAFKA_SESSION_TIMEOUT_MS: '1200',
    STATEFERRY_KAFKA_HEARTBEAT_INTERVAL_MS: '300',
    STATEFERRY_ENGINE_TAKEOVER_GRACE_MS: '100',
  };
  const cli = (...argv: string[]) => startCli(t, { compiled: program, argv, cwd: folder, env });
  const applied = async () => {
    const [row] = await office.query<{ records: number }>(
      'select coalesce(sum(records), 0)::int as records from shard where generation = 2',
    );
    return row?.records ?? 0;
  };
  // So slow that each kill finds it at work.
  const first = cli('reprocess', 'start', 'g2', '--rate', '30');
  await eventually('the first one has applied some', async () => (await applied()) > 20);
  first.kill('SIGKILL');
  await first.exited;
  const second = cli('reprocess', 'run', 'g2');
  const third = cli('reprocess', 'run', 'g2');
  const before = await applied();
  await eventually('they have applied more', async () => (await applied()) > before);
  second.kill('SIGKILL');
  expect(await third.exited).toBe(0);
  expect(third.output()).toContain('Generation g2 is complete');
  expect(await contentsOf(office, 2)).toEqual(await contentsOf(office, 1));
  expect(await difference(office, 'g2')).toMatchObject({ same: true });
});
