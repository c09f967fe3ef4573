import { describe, expect, it } from 'vitest';
import { createDeployment } from '../support/deployment.ts';
import type { Point } from '../support/engine-points.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { startLoad } from '../support/load.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

/*
 * Two processes share the shards. One of them is stopped at its point for longer than its session, the other takes
 * over; then it wakes up, in the middle of what it was doing. In the next case the roles are changed.
 */
const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, {
  program,
  functionUrl: fn.url,
  config: { 'engine.takeoverGraceMs': 500 },
});
const load = await startLoad(file, { topic: deployment.input, seed: 2, perSecond: 150 });
let [zombie, other] = [await deployment.start(), await deployment.start()];
await bothOwn();

async function bothOwn(): Promise<void> {
  for (const engine of [zombie, other]) await engine.ready(({ shards }) => shards.length === 2);
}

async function epochs(): Promise<number[]> {
  const rows = await deployment.query<{ epoch: string }>('select epoch from shard order by shard');
  return rows.map(({ epoch }) => Number(epoch));
}

/** The zombie stands at its point: the other takes over and goes on; when the zombie wakes, nothing of it gets through. */
async function sleepThroughTakeOver(before: readonly number[]): Promise<void> {
  const [zombieRebuilds, otherRebuilds] = [zombie.rebuilds.length, other.rebuilds.length];
  await other.ready(({ shards }) => shards.length === 4);
  await load.more(20);
  await deployment.expectExact(await load.pause());
  load.resume();

  zombie.kill('SIGCONT');

  await eventually('the zombie has found that it is fenced', () => zombie.rebuilds.length > zombieRebuilds);
  await bothOwn();
  await load.more(20);
  await deployment.expectExact(await load.pause());
  load.resume();
  // Two of the four shards were opened by the other process, and two by the zombie when it was let in again.
  const opened = (await epochs()).reduce((sum, epoch, shard) => sum + epoch - (before[shard] ?? 0), 0);
  expect(opened).toBeGreaterThanOrEqual(4);
  // One answer to having been fenced, and perhaps one more for what it had begun meanwhile: no flip-flop.
  expect(zombie.rebuilds.length - zombieRebuilds, zombie.output()).toBeLessThanOrEqual(2);
  expect(other.rebuilds.length - otherRebuilds, other.output()).toBeLessThanOrEqual(1);
  [zombie, other] = [other, zombie];
}

describe('a process that sleeps past its session gets nothing through, takes a new id and gets shards again', () => {
  const points = {
    answered: 'with an answer of the function that nothing was made of',
    journaling: 'before it journals a chunk',
    'journal-sent': 'while the journal writes a chunk',
    journaled: 'with a chunk journaled and nothing of it emitted',
    emitting: 'before its Kafka transaction',
    begun: 'in an empty Kafka transaction',
    offsets: 'in a Kafka transaction that has offsets',
    sent: 'in a Kafka transaction that has offsets and records',
    'commit-sent': 'while Kafka commits',
  } as const satisfies Partial<Record<Point, string>>;

  it.each(Object.entries(points).map(([point, when]) => [when, point as Point] as const))('%s', async (_, point) => {
    const before = await epochs();
    const { processId } = await zombie.status();
    await zombie.arm({ point, nth: 5, signal: 'SIGSTOP' });
    await zombie.reached(point);
    await sleepThroughTakeOver(before);
    expect((await other.status()).processId).not.toBe(processId);
  });

  it.each([
    ['with the new epoch, and nobody fenced', 'opened'],
    ['with the former owners fenced', 'fenced'],
    ['with the offsets read', 'offsets-read'],
    ['with the outbox to be emitted again', 'outbox-read'],
  ] as const)('as it takes over, %s', async (_, point) => {
    // What it opens are the open transactions of two processes that were killed.
    for (const engine of [zombie, other]) await engine.arm({ point: 'sent', nth: 5, signal: 'SIGKILL' });
    await Promise.all([zombie.exited, other.exited]);
    const before = await epochs();
    zombie = await deployment.start({ fault: { point, nth: 1, signal: 'SIGSTOP' } });
    await zombie.reached(point);
    other = await deployment.start();
    await sleepThroughTakeOver(before);
  });
});

it('two processes that stop in order leave everything exact, journaled, committed and released', async () => {
  await deployment.expectExact(await load.pause());
  expect(await Promise.all([zombie.stop(), other.stop()])).toEqual([0, 0]);
  await deployment.expectExactAtRest();
});
