import type { Admin } from 'kafkajs';
import pg from 'pg';
import { messageOf, StateferryError } from '../errors.ts';
import { createTopics } from '../topics/ensure.ts';

/** The function's annotations name three of these; the engine's configuration names the events' topic. */
export const TOPICS = {
  flights: 'flights',
  statuses: 'airport-status',
  events: 'airport-events',
  alerts: 'airport-alerts',
  commands: 'stateferry-demo-commands',
  deadLetters: 'stateferry-demo-dead-letters',
} as const;
export const DEPLOYMENT = 'stateferry-demo';
export const SCHEMA = 'stateferry_demo';
export const PARTITIONS = 8;

const NAMES: readonly string[] = Object.values(TOPICS);
/** Those that must be there before the engine starts; it makes its own two itself. */
const MADE_HERE: readonly string[] = [TOPICS.flights, TOPICS.statuses, TOPICS.events, TOPICS.alerts];

/**
 * Makes the topics.
 * @throws StateferryError DEMO_REFUSED where a topic or the schema is there already: it may be somebody's.
 */
export async function takeGround(admin: Admin, databaseUrl: string): Promise<void> {
  const existing = new Set(await admin.listTopics());
  const taken = NAMES.filter((name) => existing.has(name));
  const schemaTaken = await withDatabase(databaseUrl, async (client) => {
    const found = await client.query('select 1 from pg_namespace where nspname = $1', [SCHEMA]);
    return found.rowCount !== 0;
  });
  if (taken.length > 0 || schemaTaken) {
    const found = [
      ...(taken.length > 0 ? [`the topics ${taken.join(', ')}`] : []),
      ...(schemaTaken ? [`the schema ${SCHEMA}`] : []),
    ];
    throw new StateferryError(
      'DEMO_REFUSED',
      `the servers that KAFKA_BROKERS and DATABASE_URL name have ${found.join(' and ')} already, which the demo would use. ` +
        'If they are left from a demo that was killed, remove them; otherwise run the demo without the two variables.',
    );
  }
  await createTopics(
    admin,
    MADE_HERE.map((topic) => ({ topic, numPartitions: PARTITIONS, replicationFactor: -1 })),
  );
}

/** Removes from given servers what the demo made there. */
export async function clearKafka(admin: Admin, groups: readonly string[]): Promise<void> {
  const existing = new Set(await admin.listTopics());
  await admin.deleteTopics({ topics: NAMES.filter((name) => existing.has(name)) });
  await admin.deleteGroups([...groups]);
}

export async function clearPostgres(databaseUrl: string): Promise<void> {
  await withDatabase(databaseUrl, (client) =>
    client.query(`drop schema if exists ${client.escapeIdentifier(SCHEMA)} cascade`),
  );
}

async function withDatabase<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  try {
    await client.connect();
  } catch (cause) {
    throw new StateferryError(
      'POSTGRES_UNAVAILABLE',
      `the demo cannot reach Postgres: ${messageOf(cause)}. Check DATABASE_URL.`,
      { cause },
    );
  }
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
