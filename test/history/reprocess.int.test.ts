import { expect, it } from 'vitest';
import type { ReprocessRequest } from '../../src/cli/context.ts';
import { judge } from '../../src/commands/diff.ts';
import { reprocess } from '../../src/commands/reprocess.ts';
import { startFunction } from '../support/function-process.ts';
import { endOffsets } from '../support/kafka.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { configOf, createOffice, type Office, workOn } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
/** Another version: it gives the ledger l3 1 more each time. */
const generous = await startFunction(file, { source: 'trouble', env: { TROUBLE_GENEROUS_TO: 'l3' } });

type Started = Partial<Extract<ReprocessRequest, { kind: 'start' }>>;

/** Makes a generation to its end; answers the exit code and what was said. */
async function make(office: Office, name: string, more: Started = {}) {
  const said: string[] = [];
  const io = {
    signal: new AbortController().signal,
    out: { write: (text: string) => said.push(text) },
    err: { write: (text: string) => said.push(text) },
  };
  const request: ReprocessRequest = {
    kind: 'start',
    name,
    functionUrl: undefined,
    mode: 'isolated',
    from: 'beginning',
    components: undefined,
    perSecond: undefined,
    follow: false,
    ...more,
  };
  const code = await reprocess(configOf(office.config), request, io);
  return { code, said: said.join('') };
}

/** A deployment that has worked, and has ended. */
async function history(t: Scope, rounds = 3): Promise<Office> {
  const office = await createOffice(t, fn);
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
