import type { TestProject } from 'vitest/node';
import { startStack } from '../../src/local/stack.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** host:port of the Kafka that the whole run shares. */
    brokers: string[];
    /** Of the Postgres that the whole run shares; see createDatabase. */
    databaseUrl: string;
  }
}

/** One Kafka and one Postgres for the whole run: those of KAFKA_BROKERS and DATABASE_URL where set, else a local stack. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { KAFKA_BROKERS, DATABASE_URL } = process.env;
  const stack = await startStack({
    brokers: KAFKA_BROKERS ? KAFKA_BROKERS.split(',').map((broker) => broker.trim()) : undefined,
    databaseUrl: DATABASE_URL || undefined,
    log: (line) => project.vitest.logger.log(line),
  });
  project.provide('brokers', stack.brokers);
  project.provide('databaseUrl', stack.databaseUrl);
  return () => stack.stop();
}
