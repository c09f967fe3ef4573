import type { Message } from 'kafkajs';
import pg from 'pg';
import { inject } from 'vitest';
import { judge } from '../../src/commands/verify.ts';
import type { Config } from '../../src/config/config.ts';
import { type Assumed, loadConfig } from '../../src/config/load.ts';
import type { CheckResult } from '../../src/verify/findings.ts';
import { sentenceOf } from '../../src/verify/report.ts';
import type { Report } from '../../src/verify/verify.ts';
import type { FunctionProcess } from '../support/function-process.ts';
import { createTopic, endOffsets, produce, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';
import { deploymentName } from '../support/start-runtime.ts';

const LEDGERS = 'trouble.LedgerService';
const BOXES = 'trouble.BoxService';
const DESK = 'trouble.DeskService';
const METHODS = {
  [LEDGERS]: ['Add', 'AddMany', 'AddWithEffects', 'AddAndForward', 'AddThenFail', 'Get'],
  [BOXES]: ['Put', 'PutAndForward', 'Remove', 'Look'],
  [DESK]: ['Echo', 'Forward', 'Scatter', 'Shrug'],
} as const;

/** A deployment of the function `trouble` with all three kinds of components, each fed by a topic of its own. */
export interface Office {
  readonly config: Assumed;
  readonly topics: Readonly<Record<'ledgers' | 'boxes' | 'desk' | 'replies' | 'added' | 'contents', string>>;
  readonly commands: string;
  readonly deadLetters: string;
  readonly partitions: number;
  query<Row extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Resolves when all that is in the topics is applied, and Kafka is known to have what came of it. */
  atRest(): Promise<void>;
  verify(options?: Partial<Parameters<typeof judge>[1]>): Promise<Report>;
}

/** `how`: the destinations' setting `cloudevents`. */
export async function createOffice(
  t: Scope,
  fn: FunctionProcess,
  more: Assumed = {},
  how: { readonly replies?: string; readonly events?: string } = {},
): Promise<Office> {
  const { replies: ofReplies = 'binary', events: ofEvents = 'binary' } = how;
  const partitions = 3;
  const name = deploymentName(t);
  const topicOf = (what: string, count = partitions) => createTopic(t, { partitions: count, name: what });
  const topics = {
    ledgers: await topicOf('ledgers'),
    boxes: await topicOf('boxes'),
    desk: await topicOf('desk'),
    replies: await topicOf('replies'),
    added: await topicOf('added', 5),
    contents: await topicOf('contents'),
  };
  const feeds: Readonly<Record<string, string>> = {
    [LEDGERS]: topics.ledgers,
    [BOXES]: topics.boxes,
    [DESK]: topics.desk,
  };
  const methods = Object.entries(METHODS).flatMap(([service, names]) => names.map((method) => ({ service, method })));
  const databaseUrl = await createDatabase(t);
  const config: Assumed = {
    'deployment.name': name,
    'kafka.brokers': inject('brokers'),
    'kafka.fetchMaxWaitMs': 20,
    'postgres.url': databaseUrl,
    'function.url': `http://${fn.url}`,
    'topics.subscriptions': methods.map(({ service, method }) => ({
      topic: feeds[service] as string,
      service,
      method,
    })),
    'topics.destinations': {
      // Nothing is seen of a Look.
      replies: methods
        .filter(({ method }) => method !== 'Look')
        .map((method) => ({ ...method, topic: topics.replies, format: 'json', cloudevents: ofReplies })),
      events: [
        { service: LEDGERS, topic: topics.added, format: 'json', cloudevents: ofEvents },
        { service: BOXES, topic: topics.contents, cloudevents: ofEvents },
      ],
    },
    'http.port': 0,
    'log.format': 'json',
    ...more,
  };
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2, options: '-c search_path=stateferry' });
  t.onTestFinished(() => pool.end());
  const query = async <Row extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<Row[]> =>
    (await pool.query<Row>(sql, [...values])).rows;
  const commands = `${name}-commands`;

  async function isAtRest(): Promise<boolean> {
    const shards = await query<{ shard: number; applied: Record<string, string> }>(
      'select shard, applied from shard where generation = (select live_generation from deployment)',
    );
    const groups = await withAdmin((admin) => admin.fetchOffsets({ groupId: name }));
    const committed = (topic: string, shard: number) =>
      groups.find((group) => group.topic === topic)?.partitions.find(({ partition }) => partition === shard)?.offset;
    if (shards.length < partitions) return false;
    for (const topic of [topics.ledgers, topics.boxes, topics.desk]) {
      for (const [shard, end] of await endOffsets(topic)) {
        const applied = shards.find((row) => row.shard === shard)?.applied[topic];
        if (applied !== String(end) || committed(topic, shard) !== applied) return false;
      }
    }
    // What is on the command topic ends with a marker, which is never applied.
    const before = await query('select shard, applied, chunk from shard order by shard');
    await new Promise((resolve) => setTimeout(resolve, 300));
    return (
      JSON.stringify(before) === JSON.stringify(await query('select shard, applied, chunk from shard order by shard'))
    );
  }

  return {
    config,
    topics,
    commands,
    deadLetters: `${name}-dead-letters`,
    partitions,
    query,
    atRest: () => eventually('everything is applied and committed', isAtRest, 30_000),
    verify: (options = {}) =>
      judge(
        configOf(config),
        { sample: 100, probes: [], shared: [], patienceMs: 3_000, ...options },
        {
          err: { write: () => undefined },
          signal: new AbortController().signal,
        },
      ),
  };
}

export function configOf(assumed: Assumed): Config {
  return loadConfig({ argvFlags: {}, env: {}, cwd: '/', readFile: () => undefined, assumed }).config;
}

/** What configures the command line for the deployment. */
export function envOf({ config: assumed }: Office): Record<string, string> {
  const config = configOf(assumed);
  return {
    KAFKA_BROKERS: inject('brokers').join(','),
    DATABASE_URL: config.postgres.url,
    FUNCTION_URL: config.function.url,
    STATEFERRY_DEPLOYMENT_NAME: config.deployment.name,
    STATEFERRY_TOPICS_SUBSCRIPTIONS: JSON.stringify(assumed['topics.subscriptions']),
    STATEFERRY_TOPICS_DESTINATIONS: JSON.stringify(assumed['topics.destinations']),
  };
}

/** A command for one of the services, as JSON. */
export function command(method: string, key: string, fields: object, partition?: number): Message {
  return {
    key,
    value: JSON.stringify(fields),
    headers: { ce_type: `trouble.${method}Command`, 'content-type': 'application/json' },
    ...(partition !== undefined && { partition }),
  };
}

export function checkOf(report: Report, check: string): CheckResult {
  const found = report.checks.find((result) => result.check === check);
  if (found === undefined) throw new Error(`the report has no check "${check}"`);
  return found;
}

/** All findings, a sentence each, after the name of the check. */
export function faultsOf(report: Report): string[] {
  return report.checks.flatMap(({ check, findings }) => findings.map((finding) => `${check}: ${sentenceOf(finding)}`));
}

/** Rounds of commands of every kind: strays, dead letters, forwards, side effects and what leaves no trace among them. */
export async function workOn({ topics }: Office, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await produce(topics.ledgers, [
      ...Array.from({ length: 9 }, (_, n) => command('Add', `l${n}`, { id: `l${n}`, amount: n + 1 })),
      command('AddMany', 'l1', { id: 'l1', amount: 2, times: 3 }),
      command('AddWithEffects', 'l2', { id: 'l2', amount: 1, to: ['l3', 'l4'] }),
      command('AddAndForward', 'l5', { id: 'l5', amount: 1, to: 'l6' }),
      // The partition is none of the key's.
      ...[0, 1, 2].map((partition) => command('Add', 's1', { id: 's1', amount: 1 }, partition)),
      command('AddThenFail', 'l7', { id: 'l7', amount: 1 }),
      { key: 'l1', value: 'no JSON', headers: { ce_type: 'trouble.AddCommand', 'content-type': 'application/json' } },
    ]);
    await produce(topics.boxes, [
      command('Put', 'b1', { id: 'b1', text: `t${round}` }),
      command('PutAndForward', 'b2', { id: 'b2', text: `t${round}` }),
      command('Remove', 'b3', { id: 'b3' }),
      command('Put', 'b4', { id: 'b4', text: 'x' }, round % 3),
      command('Look', 'b1', { id: 'b1' }),
    ]);
    await produce(topics.desk, [
      command('Echo', 'k1', { text: 'e' }, round % 3),
      command('Forward', 'k2', { to: 'l8', amount: 3 }),
      command('Scatter', 'k3', { to: ['l1', 'l2'], amount: 3 }),
      command('Shrug', 'k4', { text: 'x' }),
    ]);
  }
}
