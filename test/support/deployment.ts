import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { expect, inject } from 'vitest';
import type { Assumed } from '../../src/config/load.ts';
import type { Order } from './engine-order.ts';
import { type EngineProcess, startEngine } from './engine-process.ts';
import { type Follower, follow } from './follow.ts';
import { createTopic, endOffsets, readCommitted, withAdmin } from './kafka.ts';
import { type JournaledEvent, LEDGER_METHODS, ledgerFaults, missing } from './ledgers.ts';
import { createDatabase } from './postgres.ts';
import { eventually } from './processes.ts';
import type { Scope } from './scope.ts';

const SERVICE = 'trouble.LedgerService';
/** More than twice what kafkajs waits for an answer by default: its consumer may lose one when a broker is killed. */
const SETTLED_WITHIN_MS = 75_000;

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
  /** Of all its processes. */
  readonly config: Assumed;
  readonly follower: Follower;
  /** `config` goes before the deployment's. */
  start(order?: Partial<Order>): Promise<EngineProcess>;
  /** Rows of the journal. */
  query<Row extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Resolves when all that the first `count` records of input lead to is published, and they are all; it must be exact. */
  expectExact(count: number): Promise<void>;
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
      const own = [`${name}-commands`, `${name}-answers`].filter((topic) => existing.includes(topic));
      if (own.length > 0) await admin.deleteTopics({ topics: own });
    }, brokers);
  });
  const databaseUrl = ground?.databaseUrl ?? (await createDatabase(t));
  const follower = await follow(t, { topics: [input, replies, events, deadLetters], ...(brokers && { brokers }) });
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2, options: '-c search_path=stateferry' });
  // Where a test takes Postgres away.
  pool.on('error', () => undefined);
  t.onTestFinished(() => pool.end());

  const config: Assumed = {
    'deployment.name': name,
    'kafka.brokers': brokers ?? inject('brokers'),
    'postgres.url': databaseUrl,
    'function.url': `http://${options.functionUrl}`,
    // Little more than the broker's least: a process that was killed is given up soon.
    'kafka.sessionTimeoutMs': 1_200,
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
    'doors.enabled': false,
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
    config,
    follower,
    query,
    start: ({ config: more, ...order } = {}) =>
      startEngine(t, { ...order, program: options.program, config: { ...config, ...more } }),
    async expectExact(count) {
      const inputs = follower.of(input);
      const published = { replies: follower.of(replies), events: follower.of(events) };
      const done = () => inputs.length === count && missing(input, inputs, published) === 0;
      await eventually('all that the input leads to is published', done, SETTLED_WITHIN_MS).catch((cause: unknown) => {
        const lacking = missing(input, inputs, published);
        throw new Error(`${lacking} of the replies and events of ${inputs.length} records are missing`, { cause });
      });
      expect(ledgerFaults(input, inputs, published).slice(0, 20)).toEqual([]);
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
      const unemitted =
        'select shard, o.chunk from outbox o join shard using (generation, shard) where o.chunk > emitted';
      expect(await query(unemitted)).toEqual([]);
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
