import { expect, it } from 'vitest';
import type { ReprocessRequest } from '../../src/cli/context.ts';
import { reprocess } from '../../src/commands/reprocess.ts';
import { startFunction } from '../support/function-process.ts';
import { endOffsets } from '../support/kafka.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { configOf, createOffice, type Office, workOn } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });

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
