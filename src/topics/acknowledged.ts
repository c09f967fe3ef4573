import type { Message, RecordMetadata } from 'kafkajs';
import { StateferryError } from '../errors.ts';

/**
 * Holds what the brokers acknowledged against what was sent, where every message names its partition. kafkajs passes over
 * a partition that its metadata lacks, as they may for a moment after brokers were away: its messages are not sent, and
 * nothing says so but the acknowledgement that is not there.
 * @throws StateferryError EMIT_UNKNOWN, naming the partitions that acknowledged nothing
 */
export function checkAcknowledged(
  sent: readonly { readonly topic: string; readonly messages: readonly Message[] }[],
  acknowledged: readonly RecordMetadata[],
): void {
  const heard = new Map<string, Set<number>>();
  for (const { topicName, partition } of acknowledged) {
    const partitions = heard.get(topicName);
    if (partitions === undefined) heard.set(topicName, new Set([partition]));
    else partitions.add(partition);
  }
  const lacking = new Set<string>();
  for (const { topic, messages } of sent) {
    const partitions = heard.get(topic);
    for (const { partition = -1 } of messages) {
      if (partitions?.has(partition) !== true) lacking.add(`${topic}/${partition}`);
    }
  }
  if (lacking.size === 0) return;
  throw new StateferryError(
    'EMIT_UNKNOWN',
    `the brokers acknowledged nothing for ${[...lacking].join(', ')}: the client does not know who leads there at present`,
  );
}
