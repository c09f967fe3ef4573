import { describe, expect, it } from 'vitest';
import { createDeployment } from '../support/deployment.ts';
import type { Fault } from '../support/engine-order.ts';
import { OPENING_POINTS, type Point, RELEASING_POINTS, RUNNING_POINTS } from '../support/engine-points.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { startLoad } from '../support/load.ts';
import { fileScope } from '../support/scope.ts';

/*
 * One deployment and one stream of commands for the whole file. Each case ends the process that runs at its point, and
 * whoever takes over at later points, until one is left alone; what came out by then must be exact each time.
 */
const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, { program, functionUrl: fn.url });
const load = await startLoad(file, { topic: deployment.input, seed: 1, perSecond: 150 });
let engine = await deployment.start();
await engine.ready(({ shards }) => shards.length === 4);

const kill = (point: Point, nth = 1): Fault => ({ point, nth, signal: 'SIGKILL' });

/** Processes that take over and are killed, each at its point; then one that lives, whose outputs are exact. */
async function takeOver(...faults: readonly Fault[]): Promise<void> {
  for (const fault of faults) {
    const doomed = await deployment.start({ fault });
    await doomed.reached(fault.point);
    expect(await doomed.exited).toBe('SIGKILL');
  }
  engine = await deployment.start();
  await engine.ready(({ shards }) => shards.length === 4);
  await load.more(20);
  await deployment.expectExact(await load.pause());
  load.resume();
}

async function crash(fault: Fault): Promise<void> {
  await engine.arm(fault);
  await engine.reached(fault.point);
  expect(await engine.exited).toBe('SIGKILL');
}

/** Leaves a chunk journaled whose Kafka transaction is open, with records and offsets in it. */
const crashInTransaction = () => crash(kill('sent', 3));

describe('outputs are exact when the process is killed', () => {
  const running = {
    arrived: [50, 'with a record that has just arrived'],
    decoded: [50, 'with a decoded record that no entity has yet'],
    answered: [50, 'with an answer of the function that nothing was made of'],
    decided: [50, 'with a decision that is not journaled'],
    journaling: [10, 'before a chunk is journaled'],
    'journal-sent': [10, 'while the journal writes a chunk'],
    journaled: [10, 'with a chunk journaled and nothing of it emitted'],
    emitting: [5, 'before the Kafka transaction'],
    begun: [5, 'in an empty Kafka transaction'],
    offsets: [5, 'in a Kafka transaction that has offsets'],
    sent: [5, 'in a Kafka transaction that has offsets and records'],
    'commit-sent': [5, 'while Kafka commits'],
    committed: [5, 'with a commit that nobody has taken note of'],
  } as const satisfies Partial<Record<Point, readonly [number, string]>>;

  it.each(Object.entries(running).map(([point, [nth, when]]) => [when, point as Point, nth] as const))(
    '%s',
    async (_, point, nth) => {
      await crash(kill(point, nth));
      await takeOver();
    },
  );

  const opening = {
    'taking-id': [[], 'before it takes its transactional id'],
    'took-id': [[], 'when it has taken its transactional id'],
    opening: [[], 'before it opens shards'],
    opened: [[], 'with the new epoch, and nobody fenced'],
    // The owner before the one that was killed between epoch and fence is to be fenced too.
    fencing: [['opened'], 'as the second one in a row that has fenced nobody'],
    'fenced-one': [['opened'], 'with one of two former owners fenced'],
    fenced: [['opened', 'opened'], 'with three former owners fenced'],
    'offsets-read': [[], 'with the offsets read'],
    settling: [[], 'before the fenced ones are taken out of the owners'],
    settled: [[], 'after the fenced ones were taken out of the owners'],
    'outbox-read': [[], 'with the outbox read, before anything is emitted again'],
    'feeds-settling': [[], 'before the journal is told which subscriptions there are'],
    'feeds-settled': [[], 'after the journal was told which subscriptions there are'],
    begun: [[], 'in an empty transaction of what is emitted again'],
    offsets: [[], 'in a transaction of what is emitted again'],
    committed: [[], 'when what is emitted again is committed'],
    loading: [[], 'before the first entities are read from the journal'],
    loaded: [[], 'with the first entities read from the journal'],
  } as const satisfies Partial<Record<Point, readonly [readonly Point[], string]>>;

  it.each(Object.entries(opening).map(([point, [before, when]]) => [when, point as Point, before] as const))(
    'as it takes over, %s',
    async (_, point, before) => {
      await crashInTransaction();
      await takeOver(...before.map((earlier) => kill(earlier)), kill(point));
    },
  );

  it.each([
    ['before it has released a shard', 'releasing'],
    ['with one of its shards released', 'released'],
  ] as const)('as it stops, %s', async (_, point) => {
    await engine.arm(kill(point));
    engine.kill('SIGTERM');
    await engine.reached(point);
    expect(await engine.exited).toBe('SIGKILL');
    await takeOver();
  });

  it('at any point there is: these are all', () => {
    const tried = [...Object.keys(running), ...Object.keys(opening), ...RELEASING_POINTS];
    expect(new Set(tried)).toEqual(new Set([...RUNNING_POINTS, ...OPENING_POINTS, ...RELEASING_POINTS]));
  });
});

it('a process that stops in order leaves everything exact, journaled, committed and released', async () => {
  await deployment.expectExact(await load.pause());
  expect(await engine.stop()).toBe(0);
  await deployment.expectExactAtRest();
  expect(deployment.follower.of(deployment.deadLetters)).toEqual([]);
});
