import { Kafka, type KafkaConfig, type logCreator } from 'kafkajs';
import { installAbortedFilter } from './aborted-records.ts';
import { installCoordinatorMemory } from './coordinators.ts';
import { installRecordEncoder } from './record-encoder.ts';

/** What every Kafka client of a process shares. */
export interface KafkaOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly connectionTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly logCreator: logCreator;
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
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 8 },
  };
  return new Kafka(config);
}
