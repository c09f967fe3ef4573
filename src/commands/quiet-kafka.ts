import type { Kafka } from 'kafkajs';
import type { Config } from '../config/config.ts';
import { kafkaLogCreator } from '../observe/kafka-log.ts';
import { createLog } from '../observe/log.ts';
import { createKafka } from '../topics/client.ts';

/** A client for a command that says itself what went wrong: kafkajs logs nothing. */
export function quietKafka(config: Config): Kafka {
  return createKafka({
    ...config.kafka,
    logCreator: kafkaLogCreator(createLog({ level: 'silent', format: 'json' })),
  });
}
