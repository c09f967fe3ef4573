import { describe, expect, it } from 'vitest';
import { createDeployment } from '../support/deployment.ts';
import { compileEngine, type EngineProcess } from '../support/engine-process.ts';
import { type FunctionProcess, startFunction } from '../support/function-process.ts';
import { createTopic, produce } from '../support/kafka.ts';
import { LEDGER_METHODS, ledgerMessage } from '../support/ledgers.ts';
import { startLoad } from '../support/load.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

/*
 * The function dies, has room for few entities, forgets its snapshots, or is killed by a command. One deployment and one
 * stream of commands for the whole file; one process of the deployment at a time.
 */
const SERVICE = 'trouble.LedgerService';
const STREAMS = 3;
/** More than the journal gives in one query. */
const EVENTS = 2_500;

const file = fileScope();
const program = await compileEngine(file);
let fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, { program, functionUrl: fn.url });
const deadly = await createTopic(file, { partitions: 4, name: 'deadly' });
const load = await startLoad(file, { topic: deployment.input, seed: 6, perSecond: 150 });
/** Records of input that the load did not send. */
let more = 0;
let engine = await start({});

async function start(config: Readonly<Record<string, unknown>>): Promise<EngineProcess> {
  const started = await deployment.start({
    config: {
      'topics.subscriptions': [
        ...LEDGER_METHODS.map((method) => ({ topic: deployment.input, service: SERVICE, method })),
        { topic: deadly, service: SERVICE, method: 'Crash' },
      ],
      'function.backoffMaxMs': 200,
      ...config,
    },
  });
  await started.ready(({ shards }) => shards.length === 4);
  return started;
}

async function restartEngine(config: Readonly<Record<string, unknown>> = {}): Promise<void> {
  expect(await engine.stop()).toBe(0);
  engine = await start(config);
}

const restartFunction = (): Promise<FunctionProcess> => startFunction(file, { source: 'trouble', port: fn.port });

async function expectExact(): Promise<void> {
  await load.more(50);
  await deployment.expectExact((await load.pause()) + more);
  load.resume();
}

describe('outputs are exact', () => {
  it('when the function is killed under load and comes back, again and again', async () => {
    for (let time = 0; time < 3; time++) {
      await load.more(50);
      await fn.stop();
      await eventually('the process knows', async () => !(await engine.status()).function.up);
      fn = await restartFunction();
      await engine.ready();
    }
    await expectExact();
    expect(engine.rebuilds).toEqual([]);
    expect(deployment.follower.of(deployment.deadLetters)).toEqual([]);
  });

  it(`when far more entities have commands than the function has streams for, ${STREAMS} of them`, async () => {
    await restartEngine({ 'function.maxStreams': STREAMS });
    const most: number[] = [];
    await eventually('many entities had a turn', async () => {
      const { shards, totals } = await engine.status();
      most.push(shards.reduce((sum, { activeEntities }) => sum + activeEntities, 0));
      return totals.commands > 300;
    });
    expect(Math.max(...most)).toBe(STREAMS);
    await expectExact();
    await restartEngine();
  });

  it(`when an entity starts from ${EVENTS} events without a snapshot`, async () => {
    const id = 'direct-0';
    const times = EVENTS / 5;
    const command = ledgerMessage({ type: 'AddManyCommand', id, amount: 1, times });
    await produce(
      deployment.input,
      Array.from({ length: 5 }, () => command),
    );
    more += 5;
    await expectExact();
    await load.pause();
    expect(await engine.stop()).toBe(0);
    await deployment.query('delete from snapshot');
    load.resume();
    engine = await start({});
    await expectExact();
    const [row] = await deployment.query<{ count: number }>('select count(*)::int from event where entity_id = $1', [
      id,
    ]);
    expect(row?.count).toBeGreaterThan(EVENTS);
  });
});

it('a command that the function dies of each time is a dead letter in the end, and what was beside it goes through', async () => {
  let over = false;
  let deaths = 0;
  const supervised = (async () => {
    while (!over) {
      await fn.exited;
      if (over) return;
      deaths++;
      // The command may kill it again before it was seen to be up.
      fn = await restartFunction().catch(() => fn);
    }
  })();
  const [key, value] = ['deadly', JSON.stringify({ id: 'deadly' })];
  const headers = { ce_type: 'trouble.CrashCommand', 'content-type': 'application/json' };
  await produce(deadly, [{ key, value, headers }]);

  const letters = () => deployment.follower.of(deployment.deadLetters);
  await eventually('there is a dead letter', () => letters().length > 0, 45_000);
  over = true;
  expect(deaths).toBeGreaterThanOrEqual(3);
  await engine.ready();
  await load.more(50);
  const told = () => letters().map((letter) => [String(letter.key), letter.headers['stateferry-error-code']]);
  expect(told()).toEqual([[key, 'FUNCTION_LOST']]);
  await expectExact();
  expect(told()).toEqual([[key, 'FUNCTION_LOST']]);
  expect(engine.rebuilds).toEqual([]);
  await fn.stop();
  await supervised;
  fn = await restartFunction();
  await engine.ready();
});

it('all is journaled, committed and released when the process has stopped', async () => {
  await deployment.expectExact((await load.pause()) + more);
  expect(await engine.stop()).toBe(0);
  await deployment.expectExactAtRest();
});
