import { describe, expect, it } from 'vitest';
import { judge } from '../../src/commands/verify.ts';
import type { Assumed } from '../../src/config/load.ts';
import { createDeployment } from '../support/deployment.ts';
import type { Order } from '../support/engine-order.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { createTopic, produce, readCommitted } from '../support/kafka.ts';
import { ledgerMessage, randomLedgerCommand } from '../support/ledgers.ts';
import { startLoad } from '../support/load.ts';
import { createOperator } from '../support/operator.ts';
import { eventually } from '../support/processes.ts';
import { createRandom } from '../support/random.ts';
import { fileScope } from '../support/scope.ts';
import { configOf, faultsOf } from '../verify/office.ts';

/*
 * One deployment and one stream of commands for the whole file. Its function has a subscriber to the ledgers' events at
 * times, and at times has none; whatever was killed, and whenever the subscriber was there, each event reaches it once.
 */
const file = fileScope();
const program = await compileEngine(file);
const plain = await startFunction(file, { source: 'trouble' });
const watching = await startFunction(file, { source: 'trouble', env: { WATCH: 'yes' } });
const sightings = await createTopic(file, { partitions: 4, name: 'sightings' });
const deployment = await createDeployment(file, { program, functionUrl: plain.url });
const load = await startLoad(file, { topic: deployment.input, seed: 5, perSecond: 40 });

const ledgers = deployment.config['topics.destinations'] as { replies: object[]; events: object[] };
const WATCHING: Assumed = {
  'function.url': `http://${watching.url}`,
  'topics.destinations': {
    replies: [
      ...ledgers.replies,
      { service: 'trouble.WatchService', method: 'SawAdded', topic: sightings, format: 'json' },
    ],
    events: ledgers.events,
  } as never,
};
/** Commands that have been carried out before anybody subscribes. */
const HISTORY = 2_000;
const start = async (order: Partial<Order> = {}) => deployment.start(order);
const startWatching = (order: Partial<Order> = {}) => start({ ...order, config: WATCHING });

const countEvents = async () =>
  (await deployment.query<{ count: number }>('select count(*)::int as count from event'))[0]?.count ?? 0;

/** Numbers of each ledger's events, by what tells of them, in order. */
function numbersOf(records: readonly { readonly subject: string; readonly number: number }[]): Map<string, number[]> {
  const numbers = new Map<string, number[]>();
  for (const { subject, number } of records) numbers.set(subject, [...(numbers.get(subject) ?? []), number]);
  return numbers;
}

/** What the subscriber told of, in order. */
async function seen() {
  const records = await readCommitted(sightings, 'end');
  return records.map(({ key, value }) => {
    const { id, subject, source, type } = JSON.parse(String(value));
    expect([source, type, subject]).toEqual(['ledgers', 'trouble.Added', String(key)]);
    return { subject, number: Number(id.slice(id.lastIndexOf('/') + 1)) };
  });
}

/** What was handed on and found no subscriber any more. */
const given = () =>
  deployment.follower.of(deployment.deadLetters).map(({ key, headers }) => {
    expect(headers['stateferry-error-code']).toBe('CALL_UNKNOWN_TARGET');
    const number = /#(\d+)@trouble\.WatchService$/.exec(String(headers['stateferry-origin']))?.[1];
    return { subject: String(key), number: Number(number) };
  });

/** Each event in the journal is told of once, in order, but for those of which a dead letter tells. */
async function expectEachSeenOnce(): Promise<void> {
  const events = await countEvents();
  const isAllThere = async () => (await seen()).length + given().length >= events;
  await eventually('every event is told of', isAllThere, 60_000);
  const journal = await deployment.query<{ subject: string; number: number }>(
    'select entity_id as subject, seq::int as number from event order by entity_id, seq',
  );
  const lost = new Set(given().map(({ subject, number }) => `${subject}/${number}`));
  expect(lost.size).toBe(given().length);
  const expected = journal.filter(({ subject, number }) => !lost.has(`${subject}/${number}`));
  expect(numbersOf(await seen())).toEqual(numbersOf(expected));
}

const allLive: Parameters<Awaited<ReturnType<typeof start>>['ready']>[0] = ({ shards }) =>
  shards.length === 4 && shards.every(({ feeds }) => feeds.length > 0 && feeds.every(({ state }) => state === 'live'));

describe('a subscriber that comes to a deployment with history', () => {
  it('finds thousands of events', async () => {
    const history = await start();
    await history.ready();
    const random = createRandom(7);
    await produce(
      deployment.input,
      Array.from({ length: HISTORY }, () => ledgerMessage(randomLedgerCommand(random))),
    );
    await eventually('there is a history', async () => (await countEvents()) > HISTORY, 60_000);
    expect(await history.stop()).toBe(0);
  });

  it.each([
    ['before the journal is told of it', 'feeds-settling', 1],
    ['after the journal was told of it', 'feeds-settled', 1],
    ['before it reads', 'feed-reading', 5],
    ['with events read and not journaled as commands', 'feed-read', 5],
    ['before a chunk with them is journaled', 'journaling', 8],
    ['while the journal writes a chunk with them', 'journal-sent', 8],
    ['with a chunk journaled and nothing of it emitted', 'journaled', 8],
    ['in a Kafka transaction with them', 'sent', 8],
    ['while Kafka commits', 'commit-sent', 8],
  ] as const)('is given a part of them when the process is killed %s', async (_, point, nth) => {
    const doomed = await startWatching({ fedTogether: 5, fault: { point, nth, signal: 'SIGKILL' } });
    await doomed.reached(point);
    expect(await doomed.exited).toBe('SIGKILL');
    const behind = await deployment.query("select 1 from feed where state = 'catching-up'");
    if (point !== 'feeds-settling') expect(behind.length).toBeGreaterThan(0);
  });

  it('is given all of them once, and is live then, all under load', async () => {
    const engine = await startWatching();
    const status = await engine.ready(allLive);
    const live = { name: 'trouble.WatchService', state: 'live', behind: 0 };
    for (const { feeds } of status.shards) {
      expect(feeds).toEqual([
        { ...live, source: 'event-sourced', entityType: 'ledgers', position: expect.any(Number) },
        { ...live, source: 'value', entityType: 'boxes', position: null },
      ]);
    }
    await load.more(100);
    await deployment.expectExact(HISTORY + (await load.pause()));
    await expectEachSeenOnce();
    load.resume();
    await engine.stop();
  });
});

describe('a subscriber that is live', () => {
  it.each(['journaling', 'journaled', 'sent', 'commit-sent'] as const)(
    'is given each event once, when the process is killed at %s',
    async (point) => {
      const doomed = await startWatching();
      await doomed.ready(allLive);
      await doomed.arm({ point, nth: 10, signal: 'SIGKILL' });
      await doomed.reached(point);
      expect(await doomed.exited).toBe('SIGKILL');
      const engine = await startWatching();
      await engine.ready(allLive);
      await deployment.expectExact(HISTORY + (await load.pause()));
      await expectEachSeenOnce();
      load.resume();
      await engine.stop();
    },
  );
});

it('a subscriber that was away for a while goes on where it was', async () => {
  const before = await startWatching();
  await before.ready(allLive);
  await load.more(100);
  await deployment.expectExact(HISTORY + (await load.pause()));
  await expectEachSeenOnce();
  await before.stop();
  load.resume();
  const without = await start();
  await without.ready(({ shards }) => shards.length === 4 && shards.every(({ feeds }) => feeds.length === 0));
  await load.more(200);
  expect(await without.stop()).toBe(0);

  const engine = await startWatching();
  await engine.ready(allLive);
  await load.more(50);
  await deployment.expectExact(HISTORY + (await load.pause()));
  await expectEachSeenOnce();
  expect(given()).toEqual([]);
  load.resume();
  await load.more(100);
  engine.kill('SIGKILL');
  await engine.exited;
});

it('what was handed to a subscriber that is gone when its turn comes is a dead letter, and reaches it when it is retried', async () => {
  const without = await start();
  await without.ready(({ shards }) => shards.length === 4);
  await load.more(50);
  expect(await without.stop()).toBe(0);
  const engine = await startWatching();
  await engine.ready(allLive);
  await deployment.expectExact(HISTORY + (await load.pause()));
  await expectEachSeenOnce();

  const filter = { code: 'CALL_UNKNOWN_TARGET' };
  const letters = { ids: [], filter, again: false, reason: 'it is back', by: 'tester', waitMs: 20_000 };
  if (given().length > 0) {
    expect(await createOperator(deployment.config).deadLetters({ kind: 'retry', ...letters })).toMatchObject({
      code: 0,
    });
  }
  const events = await countEvents();
  await eventually('every event is seen', async () => (await seen()).length >= events, 60_000);
  const identities = (await seen()).map(({ subject, number }) => `${subject}/${number}`);
  expect(new Set(identities).size).toBe(events);
  expect(identities).toHaveLength(events);
  await engine.stop();
});

it('verify finds journal and topics in accord', async () => {
  const options = { sample: 10, probes: [], shared: [], patienceMs: 3_000 };
  const report = await judge(configOf({ ...deployment.config, ...WATCHING }), options, {
    err: { write: () => undefined },
    signal: new AbortController().signal,
  });
  expect(faultsOf(report)).toEqual([]);
});
