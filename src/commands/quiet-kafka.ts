import type { Kafka } from 'kafkajs';
import type { Config } from '../config/config.ts';
import { connectKafka } from '../kafka-connection.ts';
import { createLog } from '../observe/log.ts';

/** A client for a command that says itself what went wrong: kafkajs logs nothing. */
export function quietKafka(config: Pick<Config, 'kafka'>): Kafka {
  return connectKafka(config, createLog({ level: 'silent', format: 'json' }));
}
