import { describe, expect, it } from 'vitest';
import { createDeployment } from '../support/deployment.ts';
import type { Fault } from '../support/engine-order.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { startLoad } from '../support/load.ts';
import { createOperator } from '../support/operator.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

/*
 * One deployment and one stream of commands for the whole file. Ledgers are paused and resumed in the middle of it, and
 * what came of all commands must be exact and in order each time: those of `direct-0` come by the input topic, those of
 * `target-0` by forwards alone, on the command topic.
 */
const LEDGERS = ['direct-0', 'direct-3', 'target-0'];

const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, { program, functionUrl: fn.url });
const operator = createOperator(deployment.config);
const load = await startLoad(file, { topic: deployment.input, seed: 7, perSecond: 100 });
let engine = await deployment.start({ putBackTogether: 20 });
await engine.ready(({ shards }) => shards.length === 4);

const entity = (entityId: string) => ({ entityType: 'ledgers', entityId });
const repliesOf = (ledger: string) =>
  deployment.follower.of(deployment.replies).filter(({ key }) => String(key) === ledger).length;
const kill = (point: Fault['point'], nth: number): Fault => ({ point, nth, signal: 'SIGKILL' });

async function pause(): Promise<void> {
  for (const ledger of LEDGERS) {
    expect(await operator.operate({ kind: 'pause', ...entity(ledger) })).toMatchObject({
      code: 0,
      out: `ledgers ${ledger}: paused\n`,
    });
  }
}

async function waiting(count: number): Promise<void> {
  await eventually(
    `${count} commands wait for each paused ledger`,
    async () => {
      const entities = await operator.controlled();
      return LEDGERS.every((ledger) => entities.some((one) => one.entityId === ledger && one.parked >= count));
    },
    60_000,
  );
}

/** Everything that was sent is carried out, exactly and in order, and no ledger is paused. */
async function expectAllExact(): Promise<void> {
  await deployment.expectExact(await load.pause()).catch(async (cause: unknown) => {
    const state = JSON.stringify([await engine.status(), await operator.controlled()]);
    throw new Error(`${String(cause)}\n${state}\n${engine.output().slice(-5_000)}`, { cause });
  });
  await eventually('no ledger is paused', async () => (await operator.controlled()).length === 0, 60_000);
  expect(await deployment.query('select * from parked')).toEqual([]);
  load.resume();
}

it('a paused entity is left alone while all others go on, and carries out everything in order when it is resumed', async () => {
  await pause();
  await waiting(8);
  const stopped = LEDGERS.map(repliesOf);
  const others = repliesOf('direct-1') + repliesOf('direct-2');
  await waiting(16);
  // What the others answered may be on its way to the reader still; what the paused ones did would be, too.
  await eventually('the others go on', () => repliesOf('direct-1') + repliesOf('direct-2') > others);
  expect(LEDGERS.map(repliesOf)).toEqual(stopped);
  expect((await engine.status()).shards.reduce((sum, { pausedEntities }) => sum + pausedEntities, 0)).toBe(3);
  for (const ledger of LEDGERS) {
    expect(await operator.operate({ kind: 'resume', ...entity(ledger) })).toMatchObject({ code: 0 });
  }
  // It comes to an end although the commands of the input topic do not.
  await eventually(
    'no ledger of the input topic is paused',
    async () => (await operator.controlled()).every(({ entityId }) => entityId === 'target-0'),
    60_000,
  );
  await expectAllExact();
});

it('an entity that is paused again while it is resumed keeps its order', async () => {
  await pause();
  await waiting(20);
  for (let round = 0; round < 4; round++) {
    for (const ledger of LEDGERS) await operator.operate({ kind: 'resume', ...entity(ledger) });
    for (const ledger of LEDGERS) await operator.operate({ kind: 'pause', ...entity(ledger) });
  }
  for (const ledger of LEDGERS) await operator.operate({ kind: 'resume', ...entity(ledger) });
  await expectAllExact();
});

describe('a process that is killed leaves everything exact', () => {
  const points = [
    ['before it journals', 'journaling'],
    ['while it journals', 'journal-sent'],
    ['when it has journaled', 'journaled'],
    ['in a Kafka transaction', 'offsets'],
    ['when its transaction is committed', 'committed'],
  ] as const;

  async function crash(fault: Fault): Promise<void> {
    await engine.arm(fault);
    await engine.reached(fault.point);
    expect(await engine.exited).toBe('SIGKILL');
    engine = await deployment.start({ putBackTogether: 20 });
    await engine.ready(({ shards }) => shards.length === 4);
  }

  it.each(points.slice(0, 3))('%s as it parks commands', async (_, point) => {
    await pause();
    await waiting(3);
    await crash(kill(point, 5));
    await waiting(10);
    for (const ledger of LEDGERS) await operator.operate({ kind: 'resume', ...entity(ledger) });
    await expectAllExact();
  });

  it.each(points)('%s as it puts commands back', async (_, point) => {
    await pause();
    await waiting(20);
    const resumed = LEDGERS.map((ledger) => operator.operate({ kind: 'resume', ...entity(ledger) }));
    await Promise.all(resumed.slice(0, 1));
    await crash(kill(point, 3));
    await crash(kill(point, 6));
    await Promise.all(resumed);
    await expectAllExact();
  });
});

it('what is asked for while no process runs is done by the next, before anything else', async () => {
  await deployment.expectExact(await load.pause());
  expect(await engine.stop()).toBe(0);
  await expect(operator.operate({ kind: 'pause', ...entity('direct-0'), waitMs: 100 })).rejects.toThrow(
    'is done as soon as the owner',
  );
  load.resume();
  await load.more(100);
  const before = repliesOf('direct-0');
  engine = await deployment.start();
  await load.more(100);
  await eventually('its commands wait', async () => ((await operator.controlled())[0]?.parked ?? 0) >= 3);
  expect(repliesOf('direct-0')).toBe(before);
  await operator.operate({ kind: 'resume', ...entity('direct-0') });
  await expectAllExact();
});

it('all is journaled, committed and released in the end, and nobody has lost the group', async () => {
  await deployment.expectExact(await load.pause());
  expect(await engine.stop()).toBe(0);
  await deployment.expectExactAtRest();
  expect(deployment.follower.of(deployment.deadLetters)).toEqual([]);
});
