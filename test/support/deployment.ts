import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { expect } from 'vitest';
import type { Assumed } from '../../src/config/load.ts';
import { type EngineProcess, startEngine } from './engine-process.ts';
import { type Follower, follow } from './follow.ts';
import { createClient, createTopic, endOffsets, type ReadRecord, readCommitted, withAdmin } from './kafka.ts';
import {
  type JournaledEvent,
  LEDGER_METHODS,
  ledgerFaults,
  ledgerMessage,
  missing,
  randomLedgerCommand,
} from './ledgers.ts';
import { createDatabase } from './postgres.ts';
import { eventually } from './processes.ts';
import { createRandom } from './random.ts';
import type { Scope } from './scope.ts';

const SERVICE = 'trouble.LedgerService';
const SETTLED_WITHIN_MS = 30_000;

/** Kafka, and an empty database, that a deployment is to run on. */
export interface Ground {
  readonly brokers: readonly string[];
  readonly databaseUrl: string;
}

/** A deployment of the function `trouble` whose ledgers are fed by one topic, and what came of it. */
export interface Deployment {
  readonly name: string;
  readonly input: string;
  readonly replies: string;
  readonly events: string;
  readonly deadLetters: string;
  readonly follower: Follower;
  start(options?: { readonly fault?: Parameters<typeof startEngine>[1]['fault']; readonly config?: Assumed }): Promise<EngineProcess>;
  /** Rows of the journal. */
  query<Row extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Resolves when everything that the input leads to is published; then the replies and events must be exact. */
  expectExact(inputs: readonly ReadRecord[]): Promise<void>;
  /**
   * After every process has been stopped in order: replies, events and journal are what the input topic, as it stands,
   * leads to; all input is applied and all of it committed; nothing waits in the outbox and nobody owns a shard.
   */
  expectExactAtRest(): Promise<void>;
}

/** Makes the topics and follows the outputs. `config` is for all processes of the deployment. */
export async function createDeployment(
  t: Scope,
  options: {
    readonly program: string;
    readonly functionUrl: string;
    readonly partitions?: number;
    readonly ground?: Ground;
    readonly config?: Assumed;
  },
): Promise<Deployment> {
  const { partitions = 4, ground } = options;
  const brokers = ground?.brokers;
  const name = `d-${randomUUID()}`;
  const topicOf = (what: string) => createTopic(t, { partitions, name: what, ...(brokers && { brokers }) });
  const [input, replies, events] = [await topicOf('orders'), await topicOf('replies'), await topicOf('events')];
  const deadLetters = await topicOf('dead-letters');
  t.onTestFinished(async () => {
    await withAdmin(async (admin) => {
      const existing = await admin.listTopics();
      const own = [`${name}-commands`].filter((topic) => existing.includes(topic));
      if (own.length > 0) await admin.deleteTopics({ topics: own });
    }, brokers);
  });
  const databaseUrl = ground?.databaseUrl ?? (await createDatabase(t));
  const follower = await follow(t, { topics: [replies, events, deadLetters], ...(brokers && { brokers }) });
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2, options: '-c search_path=stateferry' });
  // Where a test takes Postgres away.
  pool.on('error', () => undefined);
  t.onTestFinished(() => pool.end());

  const config: Assumed = {
    'deployment.name': name,
    'kafka.brokers': brokers ?? createdBrokers(),
    'postgres.url': databaseUrl,
    'function.url': `http://${options.functionUrl}`,
    // The least that the test's broker allows: a process that was killed is given up soon.
    'kafka.sessionTimeoutMs': 1_500,
    'kafka.heartbeatIntervalMs': 300,
    'kafka.rebalanceTimeoutMs': 10_000,
    // Nothing may depend on the broker's giving up a transaction: only a fence ends it in time.
    'kafka.transactionTimeoutMs': 60_000,
    'engine.takeoverGraceMs': 200,
    'topics.subscriptions': LEDGER_METHODS.map((method) => ({ topic: input, service: SERVICE, method })),
    'topics.destinations': {
      replies: LEDGER_METHODS.map((method) => ({ service: SERVICE, method, topic: replies, format: 'json' })),
      events: [{ service: SERVICE, topic: events, format: 'json' }],
    },
    'deadLetters.topic': deadLetters,
    'http.port': 0,
    'log.format': 'json',
    ...options.config,
  };

  async function query<Row extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    return (await pool.query<Row>(sql, [...values])).rows;
  }

  return {
    name,
    input,
    replies,
    events,
    deadLetters,
    follower,
    query,
    start: ({ fault, config: more } = {}) =>
      startEngine(t, { program: options.program, config: { ...config, ...more }, ...(fault !== undefined && { fault }) }),
    async expectExact(inputs) {
      const published = () => ({ replies: follower.of(replies), events: follower.of(events) });
      await eventually(
        'all that the input leads to is published',
        () => missing(input, inputs, published()) <= 0,
        SETTLED_WITHIN_MS,
      ).catch((error: unknown) => {
        throw new Error(`${missing(input, inputs, published())} replies and events are missing`, { cause: error });
      });
      expect(ledgerFaults(input, inputs, published()).slice(0, 20)).toEqual([]);
    },
    async expectExactAtRest() {
      const read = (topic: string) => readCommitted(topic, 'end', brokers && { brokers });
      const inputs = await read(input);
      const journal = await query<JournaledEvent>(
        'select entity_id as ledger, seq::int, command_id as "commandId" from event order by entity_id, seq',
      );
      const published = { replies: await read(replies), events: await read(events) };
      expect(ledgerFaults(input, inputs, published, journal).slice(0, 20)).toEqual([]);

      const gaps = await query(
        'select shard from event group by shard having min(shard_seq) <> 1 or max(shard_seq) <> count(*)',
      );
      expect(gaps).toEqual([]);
      const rows = await query<{ shard: number; applied: Record<string, string>; owners: string[] }>(
        'select shard, applied, owners from shard order by shard',
      );
      expect(rows.map(({ owners }) => owners)).toEqual(rows.map(() => []));
      expect(await query('select shard, chunk from outbox')).toEqual([]);
      const committed = await withAdmin((admin) => admin.fetchOffsets({ groupId: name }), brokers);
      const inGroup = Object.fromEntries(
        rows.map(({ shard }) => [
          shard,
          Object.fromEntries(
            committed.map(({ topic, partitions: list }) => [topic, list.find((p) => p.partition === shard)?.offset]),
          ),
        ]),
      );
      expect(inGroup).toEqual(Object.fromEntries(rows.map(({ shard, applied }) => [shard, applied])));
      const ends = await endOffsets(input, brokers);
      for (const { shard, applied } of rows) expect(applied[input]).toBe(String(ends.get(shard)));
    },
  };
}

/** A stream of random commands into a topic. */
export interface Load {
  /** What the broker has confirmed so far, with the offsets that it gave. */
  readonly inputs: readonly ReadRecord[];
  /** Resolves when at least so many more have been confirmed. */
  more(count: number): Promise<void>;
  /** Resolves when nothing is on its way any more. */
  pause(): Promise<void>;
  resume(): void;
}

/** Starts to send `perSecond` random commands of a seed to ledgers, keyed by ledger, until the scope ends. */
export async function startLoad(
  t: Scope,
  options: {
    readonly topic: string;
    readonly seed: number;
    readonly perSecond: number;
    readonly brokers?: readonly string[];
  },
): Promise<Load> {
  const { topic, perSecond } = options;
  const random = createRandom(options.seed);
  const producer = createClient(options.brokers).producer({
    allowAutoTopicCreation: false,
    idempotent: true,
    maxInFlightRequests: 1,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 1_000 },
  });
  await producer.connect();
  const inputs: ReadRecord[] = [];
  let wanted = true;
  let over = false;
  let sending: Promise<void> = Promise.resolve();

  async function send(count: number): Promise<void> {
    const messages = Array.from({ length: count }, () => ledgerMessage(randomLedgerCommand(random)));
    // Partition by partition, since the broker's answer tells only the first offset of each.
    const answers = await producer.send({ topic, messages });
    await confirm(messages, answers);
  }

  const run = async (): Promise<void> => {
    const pause = 25;
    while (wanted && !over) {
      await send(Math.max(1, Math.round((perSecond * pause) / 1_000)));
      await delay(pause);
    }
  };
}
