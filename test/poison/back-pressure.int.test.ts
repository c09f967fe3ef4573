import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { expect, it } from 'vitest';
import { createDeployment } from '../support/deployment.ts';
import { compileEngine, type EngineProcess } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { createClient } from '../support/kafka.ts';
import { startLoad } from '../support/load.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

/** How long the function is given too much: STATEFERRY_TEST_LOAD_SECONDS=300 for minutes. */
const SECONDS = Number(process.env.STATEFERRY_TEST_LOAD_SECONDS ?? 30);
const LEDGERS = 16;
const COMMAND_MS = 100;
const CAPACITY = (LEDGERS * 1_000) / COMMAND_MS;
const OVERLOAD = 3;
const EVERY_MS = 250;
const IN_FLIGHT = 100;
/** Of what the second third of the time has seen at most, the last third may see so much. */
const LEVEL = 1.2;
/** The members of this group are to lose it only by sending no heartbeat. */
const PATIENT = { 'kafka.sessionTimeoutMs': 6_000, 'kafka.heartbeatIntervalMs': 500 };

const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });

function residentBytes({ pid }: EngineProcess): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1_024;
}

/** Nothing happened that somebody would have to look at: no error, nothing built anew, no shard moved. */
function expectCalm(engine: EngineProcess): void {
  expect(engine.log.filter(({ level }) => level === 'warn' || level === 'error' || level === 'fatal')).toEqual([]);
  expect(engine.rebuilds).toEqual([]);
  expect(engine.log.filter(({ msg }) => msg === 'The group assigned shards')).toHaveLength(1);
}

it('three times what the function can take: level memory, no error, no rebalance; then it drains', async (t) => {
  const service = 'trouble.LedgerService';
  const deployment = await createDeployment(file, {
    program,
    functionUrl: fn.url,
    config: { ...PATIENT, 'engine.maxRecordsInFlight': IN_FLIGHT, 'engine.maxChunkRecords': IN_FLIGHT },
  });
  const topics = {
    'topics.subscriptions': [{ topic: deployment.input, service, method: 'AddSlowly' }],
    'topics.destinations': {
      replies: [{ service, method: 'AddSlowly', topic: deployment.replies, format: 'json' }],
      events: [],
    },
  };
  const engine = await deployment.start({ config: topics as typeof deployment.config });
  await engine.ready(({ shards }) => shards.length === 4);
  const producer = createClient().producer({ allowAutoTopicCreation: false });
  await producer.connect();
  t.onTestFinished(() => producer.disconnect());

  let sent = 0;
  let most = 0;
  const resident: number[] = [];
  const replies = deployment.follower.of(deployment.replies);
  const end = Date.now() + SECONDS * 1_000;
  for (let at = Date.now(); at < end; at = Date.now()) {
    const messages = Array.from({ length: (CAPACITY * OVERLOAD * EVERY_MS) / 1_000 }, () => {
      const id = `slow-${sent++ % LEDGERS}`;
      const value = JSON.stringify({ id, amount: 1, ms: COMMAND_MS });
      return { key: id, value, headers: { ce_type: 'trouble.AddSlowlyCommand', 'content-type': 'application/json' } };
    });
    await producer.send({ topic: deployment.input, messages });
    const status = await engine.status();
    for (const { inFlight, waiting } of status.shards) most = Math.max(most, inFlight.records + waiting.records);
    resident.push(residentBytes(engine));
    await delay(Math.max(0, at + EVERY_MS - Date.now()));
  }
  const third = Math.floor(resident.length / 3);
  expect(sent - replies.length).toBeGreaterThan(sent / 2);
  // A fetch that was under way when the shard was full still comes in; there is one at a time.
  expect(most).toBeGreaterThanOrEqual(IN_FLIGHT);
  expect(most).toBeLessThan(sent / 4);
  expect(Math.max(...resident.slice(-third))).toBeLessThan(LEVEL * Math.max(...resident.slice(third, 2 * third)));
  expectCalm(engine);

  await eventually('all is answered', () => replies.length >= sent, SECONDS * 1_000 * 2 * OVERLOAD + 60_000);
  expect(replies).toHaveLength(sent);
  const balances = new Map<string, number>();
  for (const { key, value } of replies) {
    const ledger = String(key);
    const { balance } = JSON.parse(String(value)) as { balance: number };
    expect(balance).toBe((balances.get(ledger) ?? 0) + 1);
    balances.set(ledger, balance);
  }
  expectCalm(engine);
  expect(await engine.stop()).toBe(0);
}, 900_000);

it('a Postgres that does not answer for a while: consumption waits, nobody loses a shard, and all comes out exact', async (t) => {
  const deployment = await createDeployment(file, { program, functionUrl: fn.url, config: PATIENT });
  const engine = await deployment.start();
  await engine.ready(({ shards }) => shards.length === 4);
  const load = await startLoad(t, { topic: deployment.input, seed: 11, perSecond: 200 });
  await load.more(200);
  const client = new pg.Client({ connectionString: String(deployment.config['postgres.url']) });
  await client.connect();
  await client.query('begin');
  await client.query('lock table stateferry.shard in exclusive mode');
  const chunks = (await engine.status()).totals.chunks;
  // Longer than a session: a process that sent no heartbeat would be thrown out of the group.
  await delay(PATIENT['kafka.sessionTimeoutMs'] + 2_000);
  expect((await engine.status()).totals.chunks).toBeLessThanOrEqual(chunks + 4);
  await client.query('rollback');
  await client.end();
  await deployment.expectExact(await load.pause());
  expectCalm(engine);
  expect(await engine.stop()).toBe(0);
  await deployment.expectExactAtRest();
});
