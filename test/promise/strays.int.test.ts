import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, inject, it } from 'vitest';
import { partitionFor } from '../../src/topics/partition.ts';
import { createDeployment } from '../support/deployment.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { produce } from '../support/kafka.ts';
import { type LedgerCommand, ledgerMessage, randomLedgerCommand } from '../support/ledgers.ts';
import { createRandom } from '../support/random.ts';
import { fileScope } from '../support/scope.ts';

/*
 * Producers that do not agree with us on where an entity belongs, and two processes that share the shards: what one of
 * them is given is often for an entity of the other. One stream of commands for the whole file.
 */
const PARTITIONS = 4;
const COMMANDS = 400;

const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, { program, functionUrl: fn.url, partitions: PARTITIONS });
const engines = [await deployment.start(), await deployment.start()];
for (const engine of engines) await engine.ready(({ shards }) => shards.length === PARTITIONS / 2);
const random = createRandom(4);
let sent = 0;

const commands = (): LedgerCommand[] => Array.from({ length: COMMANDS }, () => randomLedgerCommand(random));
const home = (ledger: string): number => partitionFor(Buffer.from(ledger), PARTITIONS);

async function strays(): Promise<number> {
  const totals = await Promise.all(engines.map(async (engine) => (await engine.status()).totals.strays));
  return totals.reduce((sum, count) => sum + count, 0);
}

/** Sends each command to the partition that `choose` gives it; the outcome is exact, by way of so many strays. */
async function sendTo(choose: (ledger: string) => number): Promise<void> {
  const before = await strays();
  const list = commands().map((command) => ({ ...ledgerMessage(command), partition: choose(command.id) }));
  await produce(deployment.input, list);
  sent += list.length;
  await deployment.expectExact(sent);
  const misplaced = list.filter(({ key, partition }) => partition !== home(String(key))).length;
  expect(misplaced).toBeGreaterThan(0);
  expect((await strays()) - before).toBe(misplaced);
}

it('commands that are all in a wrong partition are carried out once and in order', async () => {
  await sendTo((ledger) => (home(ledger) + 1) % PARTITIONS);
});

it('commands of a ledger that lie in several partitions are carried out once, and in the order of each', async () => {
  await sendTo(() => random.int(PARTITIONS));
});

it('what librdkafka’s default partitioner places is carried out once and in order', async (t) => {
  if (!(await isOnPath('kcat'))) t.skip('kcat is not on the PATH');
  const list = commands();
  // Headers are for all records of one run: one run for each type.
  for (const type of new Set(list.map((command) => command.type))) {
    const lines = list
      .filter((command) => command.type === type)
      .map((command) => {
        const { key, value } = ledgerMessage(command);
        return `${String(key)}|${String(value)}\n`;
      });
    await kcat(type, lines.join(''));
  }
  const before = deployment.follower.of(deployment.input).length;
  expect(before).toBeLessThanOrEqual(sent + list.length);
  sent += list.length;
  await deployment.expectExact(sent);
  const placed = deployment.follower.of(deployment.input).slice(-list.length);
  expect(placed.filter(({ key, partition }) => partition !== home(String(key))).length).toBeGreaterThan(0);
});

it('all is journaled, committed and released when the processes have stopped', async () => {
  expect(await Promise.all(engines.map((engine) => engine.stop()))).toEqual([0, 0]);
  await deployment.expectExactAtRest();
});

async function kcat(type: string, lines: string): Promise<void> {
  const headers = [`ce_type=trouble.${type}`, 'content-type=application/json'];
  const child = spawn(
    'kcat',
    [
      '-P',
      '-q',
      '-b',
      inject('brokers').join(','),
      '-t',
      deployment.input,
      '-K',
      '|',
      ...headers.flatMap((h) => ['-H', h]),
    ],
    { stdio: ['pipe', 'ignore', 'pipe'] },
  );
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  child.stdin.end(lines);
  const [code] = await once(child, 'close');
  expect(code, printed).toBe(0);
}

async function isOnPath(command: string): Promise<boolean> {
  const child = spawn(command, ['-V'], { stdio: 'ignore' });
  return new Promise((resolve) => {
    child.once('error', () => resolve(false));
    child.once('exit', () => resolve(true));
  });
}
