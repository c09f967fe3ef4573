import { Kafka, type KafkaConfig, type logCreator } from 'kafkajs';
import type { ClientTls } from '../secure.ts';
import { installAbortedFilter } from './aborted-records.ts';
import { installBatchEnds } from './batch-ends.ts';
import { installCoordinatorMemory } from './coordinators.ts';
import { installReauthentication } from './reauthentication.ts';
import { installRecordEncoder } from './record-encoder.ts';
import { mechanismOf, type Sasl } from './sasl.ts';
import { socketsFor } from './sockets.ts';

/** What every Kafka client of a process shares. */
export interface KafkaOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly connectionTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly logCreator: logCreator;
  /** A connection that was in use a moment ago is closed, by whomever (`socketsFor`). */
  readonly onConnectionLost?: (() => void) | undefined;
  /** Undefined: the brokers are spoken to in clear text. */
  readonly tls?: ClientTls | undefined;
  /** Undefined: the brokers do not ask who it is, or know it by its certificate. */
  readonly sasl?: Sasl | undefined;
}

export function createKafka(options: KafkaOptions): Kafka {
  installRecordEncoder();
  // The filter loads what holds on to the decoder of batches.
  installBatchEnds();
  installAbortedFilter();
  installCoordinatorMemory();
  installReauthentication();
  const config: KafkaConfig = {
    brokers: [...options.brokers],
    clientId: options.clientId,
    connectionTimeout: options.connectionTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    logCreator: options.logCreator,
    socketFactory: socketsFor(options.tls, { sasl: options.sasl !== undefined, onLost: options.onConnectionLost }),
    ...(options.sasl !== undefined && { sasl: mechanismOf(options.sasl) }),
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 8 },
  };
  return new Kafka(config);
}
