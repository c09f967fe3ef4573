import { beforeEach, expect, it } from 'vitest';
import { startStack } from '../../src/local/stack.ts';
import { createDeployment } from '../support/deployment.ts';
import { compileEngine, type EngineProcess } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { startLoad } from '../support/load.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

/*
 * A Kafka and a Postgres of the file's own, killed and started again under load. Nobody does anything about the process
 * meanwhile.
 */
const file = fileScope();
const program = await compileEngine(file);
const { kafka, postgres, brokers, databaseUrl, stop } = await startStack({ log: () => undefined });
file.onTestFinished(stop);
if (kafka === undefined || postgres === undefined) throw new Error('the stack has a Kafka and a Postgres of its own');
const fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, { program, functionUrl: fn.url, ground: { brokers, databaseUrl } });
const load = await startLoad(file, { topic: deployment.input, seed: 5, perSecond: 150, brokers });
let engine = await deployment.start();
/** Lines of the engine's log before the case. */
let logged = 0;

beforeEach(async () => {
  await engine.ready(({ shards }) => shards.length === 4);
  await load.more(100);
  logged = engine.log.length;
});

/** Resolves when the process under test has said, since the case began, one of these sentences. */
async function says(process: EngineProcess, ...sentences: readonly string[]): Promise<void> {
  const said = () => process.log.slice(logged).some(({ level, msg }) => level === 'warn' && sentences.includes(msg));
  await eventually(`the log says ${sentences.join(' or ')}`, said).catch((cause: unknown) => {
    throw new Error(process.output(), { cause });
  });
}

async function goesOn(): Promise<void> {
  await engine.ready(({ shards }) => shards.length === 4);
  await load.more(100);
  const sent = await load.pause();
  try {
    await deployment.expectExact(sent);
  } finally {
    // A case that failed must not take the next ones with it.
    load.resume();
  }
}

it('Kafka is killed and comes back: the process says so, waits and goes on, and the outputs are exact', async () => {
  kafka.kill('SIGKILL');
  await says(engine, 'Rebuilding all shards');
  await kafka.restart();
  await goesOn();
});

it('Postgres is killed and comes back: the process says so, waits and goes on, and the outputs are exact', async () => {
  postgres.kill('SIGKILL');
  await says(engine, 'Rebuilding all shards');
  await postgres.restart();
  await goesOn();
});

it('both are killed and come back, Kafka first', async () => {
  kafka.kill('SIGKILL');
  postgres.kill('SIGKILL');
  await says(engine, 'Rebuilding all shards');
  await kafka.restart();
  await postgres.restart();
  await goesOn();
});

it('a process that starts while neither can be reached says what it waits for, and goes on when they come', async () => {
  const sent = await load.pause();
  await deployment.expectExact(sent);
  expect(await engine.stop()).toBe(0);
  kafka.kill('SIGKILL');
  postgres.kill('SIGKILL');
  load.resume();
  logged = 0;
  engine = await deployment.start();
  await says(engine, 'Waiting for Kafka');
  await says(engine, 'Waiting for Postgres');
  expect((await engine.status()).state).toBe('starting');
  await Promise.all([kafka.restart(), postgres.restart()]);
  await goesOn();
});

it('all is journaled, committed and released when the process has stopped', async () => {
  await deployment.expectExact(await load.pause());
  expect(await engine.stop()).toBe(0);
  await deployment.expectExactAtRest();
});
