import { randomUUID } from 'node:crypto';
import type { Message } from 'kafkajs';
import { expect, it } from 'vitest';
import { createDeployment } from '../support/deployment.ts';
import { compileEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { produce, type ReadRecord } from '../support/kafka.ts';
import { LEDGER_METHODS, ledgerFaults, ledgerMessage, missing, randomLedgerCommand } from '../support/ledgers.ts';
import { eventually } from '../support/processes.ts';
import { createRandom } from '../support/random.ts';
import { fileScope } from '../support/scope.ts';

/*
 * A producer that names its commands, and sends many of them twice: side by side, far apart, while the engine is killed,
 * and after it was started again. Each takes effect once.
 */
const HEADER = 'idempotency-key';

const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });
const deployment = await createDeployment(file, { program, functionUrl: fn.url });
const config = {
  'idempotency.keys': [{ topic: deployment.input, header: HEADER }],
  'topics.subscriptions': [...LEDGER_METHODS, 'AddThenFail'].map((method) => ({
    topic: deployment.input,
    service: 'trouble.LedgerService',
    method,
  })),
};
const random = createRandom(11);

const named = (): Message => {
  const message = ledgerMessage(randomLedgerCommand(random));
  return { ...message, headers: { ...message.headers, [HEADER]: randomUUID() } };
};
const all: Message[] = [];

async function send(messages: readonly Message[]): Promise<void> {
  await produce(deployment.input, messages);
  all.push(...messages);
}

/** What came of the input so far is what the first record of each name leads to. */
async function expectOnce(): Promise<void> {
  const { follower, input, replies, events } = deployment;
  const firsts = (): ReadRecord[] => {
    const seen = new Set<string>();
    return follower.of(input).filter(({ headers, offset, partition }) => {
      const name = headers[HEADER] ?? `${partition}/${offset}`;
      return !seen.has(name) && seen.add(name);
    });
  };
  const published = () => ({ replies: follower.of(replies), events: follower.of(events) });
  await eventually('all that takes effect is published', () => {
    return follower.of(input).length === all.length && missing(input, firsts(), published()) === 0;
  });
  expect(ledgerFaults(input, firsts(), published()).slice(0, 20)).toEqual([]);
}

let engine = await deployment.start({ config });

it('side by side and far apart, the second one does nothing', async () => {
  const once = Array.from({ length: 150 }, named);
  await send(once.flatMap((message) => (random.int(2) === 0 ? [message, message] : [message])));
  await send(once);
  await send(Array.from({ length: 20 }, named));
  await expectOnce();
  expect((await engine.status()).totals.duplicates).toBe(all.length - 170);
});

it('so it is when the engine is killed with the first ones journaled, or on their way', async () => {
  for (const [point, nth] of [
    ['journaled', 2],
    ['decided', 20],
  ] as const) {
    const once = Array.from({ length: 60 }, named);
    await engine.arm({ point, nth, signal: 'SIGKILL' });
    await send(once);
    await engine.exited;
    await send(once);
    engine = await deployment.start({ config });
    await send(once);
    await expectOnce();
  }
});

it('a command that failed leaves its name to the one that is sent again', async () => {
  const headers = { 'content-type': 'application/json', [HEADER]: 'again' };
  const command = (type: string): Message => ({
    key: 'direct-0',
    value: '{"id":"direct-0","amount":5}',
    headers: { ...headers, ce_type: `trouble.${type}Command` },
  });
  await produce(deployment.input, [command('AddThenFail')]);
  await eventually('the dead letter is there', () => deployment.follower.of(deployment.deadLetters).length === 1);
  const before = deployment.follower.of(deployment.replies).length;
  const passed = (await engine.status()).totals.duplicates;
  await produce(deployment.input, [command('AddThenFail'), command('Add'), command('AddThenFail'), command('Add')]);
  await eventually('the last is passed over', async () => (await engine.status()).totals.duplicates === passed + 2);
  await eventually('one is answered', () => deployment.follower.of(deployment.replies).length > before);
  expect(deployment.follower.of(deployment.replies).length).toBe(before + 1);
  expect(deployment.follower.of(deployment.deadLetters).length).toBe(2);
});
