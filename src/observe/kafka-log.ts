import kafkajs, { type LogEntry, type logCreator } from 'kafkajs';
import { type Log, scoped } from './log.ts';

const { logLevel } = kafkajs;

/**
 * What kafkajs reports as errors in the course of normal work. It gives lines no code, so these are its own texts (a
 * test holds them against the installed version): the coordinator is not done with the previous transaction yet, which
 * is retried within milliseconds; shards are moving.
 */
export const EXPECTED_KAFKA_ERRORS = [
  'The producer attempted to update a transaction while another concurrent operation on the same transaction was ongoing',
  'The group is rebalancing',
  // The transactor bounds its retries on purpose: when they are used up, everything is rebuilt.
  'Limiting retries for the idempotent producer may invalidate EoS guarantees',
];

/** Every refusal by a broker and every lost connection, before kafkajs tries again or tells its caller, who then says so. */
const RETRIED_NAMESPACE = 'Connection';

/**
 * A `logCreator` for kafkajs that writes to `log`: its infos become debug lines, since each state change that matters
 * has a line of ours; its expected errors too; other warnings and errors keep their level.
 */
export function kafkaLogCreator(log: Log): logCreator {
  const kafkaLog = scoped(log, 'kafkajs');
  return () => (entry) => {
    const { message, timestamp: _timestamp, logger: _logger, ...fields } = entry.log;
    // kafkajs itself passes an Error as the message in one place.
    const sentence = String(message);
    kafkaLog[levelOf(entry, sentence)]({ namespace: entry.namespace, ...fields }, sentence);
  };
}

function levelOf(entry: LogEntry, sentence: string): 'trace' | 'debug' | 'warn' | 'error' {
  if (entry.level === logLevel.DEBUG) return 'trace';
  if (entry.level === logLevel.INFO) return 'debug';
  if (entry.namespace === RETRIED_NAMESPACE) return 'debug';
  const text = `${sentence} ${String(entry.log.error ?? '')}`;
  if (EXPECTED_KAFKA_ERRORS.some((expected) => text.includes(expected))) return 'debug';
  return entry.level === logLevel.WARN ? 'warn' : 'error';
}
