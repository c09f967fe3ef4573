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
  const places = new Set(acknowledged.map(({ topicName, partition }) => placeOf(topicName, partition)));
  const lacking = new Set<string>();
  for (const { topic, messages } of sent) {
    for (const { partition = -1 } of messages) {
      const place = placeOf(topic, partition);
      if (!places.has(place)) lacking.add(place);
    }
  }
  if (lacking.size === 0) return;
  throw new StateferryError(
    'EMIT_UNKNOWN',
    `the brokers acknowledged nothing for ${[...lacking].join(', ')}: the client does not know who leads there at present`,
  );
}

function placeOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
