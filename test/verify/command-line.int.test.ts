import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, inject, it } from 'vitest';
import type { Report } from '../../src/verify/verify.ts';
import { startCli } from '../support/cli-process.ts';
import { compiled } from '../support/compiled.ts';
import { startFunction } from '../support/function-process.ts';
import { produce } from '../support/kafka.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { createOffice, workOn } from './office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
const folder = await compiled(file, 'tsconfig.build.json');
const cwd = await mkdtemp(path.join(tmpdir(), 'stateferry-verify-'));
file.onTestFinished(() => rm(cwd, { recursive: true, force: true }));

/** Runs `stateferry verify` to its end. */
async function verify(env: Readonly<Record<string, string>>, ...argv: string[]) {
  const cli = startCli(file, { compiled: folder, argv: ['verify', ...argv], cwd, env });
  return { code: await cli.exited, output: cli.output() };
}

function envOf(config: Readonly<Record<string, unknown>>): Record<string, string> {
  return {
    KAFKA_BROKERS: inject('brokers').join(','),
    DATABASE_URL: String(config['postgres.url']),
    FUNCTION_URL: String(config['function.url']),
    STATEFERRY_DEPLOYMENT_NAME: String(config['deployment.name']),
    STATEFERRY_TOPICS_SUBSCRIPTIONS: JSON.stringify(config['topics.subscriptions']),
    STATEFERRY_TOPICS_DESTINATIONS: JSON.stringify(config['topics.destinations']),
  };
}

it('answers 0 when all holds, 1 when something does not, 2 when it could not be checked, as text or JSON', async (t) => {
  const office = await createOffice(t, fn);
  const env = envOf(office.config);
  const unborn = await verify(env);
  expect(unborn.code).toBe(2);
  expect(unborn.output).toMatch(/^stateferry: not verified: .*journal/m);

  const runtime = startRuntime(t, office.config);
  await runtime.ready();
  await workOn(office, 2);
  await office.atRest();
  const whole = await verify(env);
  expect(whole.output).toMatch(/^held {3}inputs .*each was applied once$/m);
  expect(whole.output).toContain('Everything holds, as far as it could be judged.');
  expect(whole.code).toBe(0);

  await produce(office.topics.replies, [{ value: 'x', partition: 0 }]);
  const damaged = await verify(env, '--json', '--sample', '3');
  expect(damaged.code).toBe(1);
  const report = JSON.parse(damaged.output.slice(damaged.output.indexOf('{'))) as Report;
  expect(report).toMatchObject({ deployment: office.config['deployment.name'], held: false });
  expect(report.checks.find(({ held }) => !held)).toMatchObject({
    check: 'outputs',
    findings: [
      { what: 'an output that nothing explains', where: expect.stringContaining(`${office.topics.replies}/0/`) },
    ],
  });
  const shared = await verify(env, '--shared', office.topics.replies);
  expect(shared.code).toBe(0);
  expect(shared.output).toContain('records of others on topics that they share, not judged: 1');

  await runtime.stop();
  await office.query('alter table shard drop column counted_from');
  const older = await verify(env);
  expect(older.output).toContain('the journal is not of this version');
  expect(older.code).toBe(2);
}, 120_000);

it.each([
  ['the brokers', { KAFKA_BROKERS: '127.0.0.1:1' }, /no broker answers at 127\.0\.0\.1:1/],
  ['Postgres', { DATABASE_URL: 'postgres://127.0.0.1:1/x' }, /the journal cannot be read/],
  ['the function', { FUNCTION_URL: 'http://127.0.0.1:1' }, /no function answers at http:\/\/127\.0\.0\.1:1/],
])('answers 2 and says so when %s cannot be reached', async (_, without, sentence) => {
  const env = {
    KAFKA_BROKERS: inject('brokers').join(','),
    DATABASE_URL: inject('databaseUrl'),
    FUNCTION_URL: `http://${fn.url}`,
    ...without,
  };
  const { code, output } = await verify(env);
  expect(output).toMatch(sentence);
  expect(code).toBe(2);
});
