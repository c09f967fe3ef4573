import { Kafka, type KafkaConfig, type logCreator } from 'kafkajs';
import { installAbortedFilter } from './aborted-records.ts';
import { installCoordinatorMemory } from './coordinators.ts';
import { installRecordEncoder } from './record-encoder.ts';
import { watchedSockets } from './sockets.ts';

/** What every Kafka client of a process shares. */
export interface KafkaOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly connectionTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly logCreator: logCreator;
  /** A connection that was in use a moment ago is closed, by whomever (`watchedSockets`). */
  readonly onConnectionLost?: () => void;
}

export function createKafka(options: KafkaOptions): Kafka {
  installRecordEncoder();
  installAbortedFilter();
  installCoordinatorMemory();
  const config: KafkaConfig = {
    brokers: [...options.brokers],
    clientId: options.clientId,
    connectionTimeout: options.connectionTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    logCreator: options.logCreator,
    ...(options.onConnectionLost !== undefined && { socketFactory: watchedSockets(options.onConnectionLost) }),
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 8 },
  };
  return new Kafka(config);
}
