import { expect, inject, it } from 'vitest';
import { claimDeployment } from '../../src/journal/deployment.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { createPool } from '../../src/journal/pool.ts';
import { startCli } from '../support/cli-process.ts';
import { compiled } from '../support/compiled.ts';
import { temporaryFolder } from '../support/folder.ts';
import { createTopic } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope } from '../support/scope.ts';
import { startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName } from '../support/start-runtime.ts';
import { COMPONENTS, ORDERS } from './orders.ts';

const file = fileScope();
const program = await compiled(file);

it('`stateferry run` with a wrong configuration names every fault, starts nothing and ends with 2', async (t) => {
  const cli = startCli(t, {
    compiled: program,
    argv: ['run', '--set', 'kafka.strat=latest', '--set', 'engine.maxChunkRecords=0', '--http-port', 'ninety'],
    cwd: await temporaryFolder(t),
    env: { KAFKA_BROKERS: 'no-port', DATABASE_URL: 'mysql://app:hunter2@h/d', FUNCTION_URL: 'ftp://x' },
  });

  expect(await cli.exited).toBe(2);
  const output = cli.output();
  expect(output).toMatch(/^stateferry: the configuration has 6 faults:\n( {2}- .+\n){6}Nothing was started\./);
  for (const fault of [
    'kafka.strat',
    'kafka.start',
    'engine.maxChunkRecords',
    'http.port',
    'kafka.brokers',
    'postgres.url',
    'function.url',
  ]) {
    expect(output).toContain(fault);
  }
  expect(output).not.toContain('hunter2');
});

it('`stateferry run` that meets what only a person can mend says it in one sentence and ends with 1', async (t) => {
  const url = await createDatabase(t);
  await migrate({ url, schema: 'stateferry' });
  const pool = createPool({
    url,
    schema: 'stateferry',
    size: 1,
    statementTimeoutMs: 5_000,
    applicationName: 'test',
    onIdleError: () => undefined,
  });
  await claimDeployment(pool, 'somebody-else', 1);
  await pool.end();
  const input = await createTopic(t, { partitions: 1 });
  const fn = await startScriptedFunction(t, { descriptor: ORDERS, components: COMPONENTS });
  const cli = startCli(t, {
    compiled: program,
    argv: ['run', '--name', deploymentName(t), '--http-port', '0', '--door-port', '0', '--log-level', 'silent'],
    cwd: await temporaryFolder(t),
    env: {
      KAFKA_BROKERS: inject('brokers').join(','),
      DATABASE_URL: url,
      FUNCTION_URL: fn.url,
      STATEFERRY_TOPICS_SUBSCRIPTIONS: JSON.stringify([
        { topic: input, service: 'orders.OrderService', method: 'Place' },
      ]),
    },
  });

  expect(await cli.exited).toBe(1);
  expect(cli.output()).toMatch(/^stateferry: this journal belongs to deployment "somebody-else".*\n$/);
});
