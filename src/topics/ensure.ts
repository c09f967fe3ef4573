import { setTimeout as delay } from 'node:timers/promises';
import kafkajs, { type Admin, type ITopicConfig } from 'kafkajs';
import { StateferryError } from '../errors.ts';

const { KafkaJSAggregateError, KafkaJSProtocolError } = kafkajs;

/** How long the brokers may take to know a topic that has just been made, and all its leaders, in ms. */
const KNOWN_WITHIN_MS = 10_000;
const KNOWN_POLL_MS = 50;

/** Partition counts of the topics that exist among `topics`. */
export async function partitionCounts(admin: Admin, topics: readonly string[]): Promise<Map<string, number>> {
  const existing = new Set(await admin.listTopics());
  const wanted = [...new Set(topics)].filter((topic) => existing.has(topic));
  if (wanted.length === 0) return new Map();
  const { topics: metadata } = await admin.fetchTopicMetadata({ topics: wanted });
  return new Map(metadata.map(({ name, partitions }) => [name, partitions.length]));
}

/**
 * Creates the topics that are missing, and waits until they can be used; one that somebody else creates at the same
 * moment is as good.
 */
export async function createTopics(admin: Admin, topics: readonly ITopicConfig[]): Promise<void> {
  if (topics.length === 0) return;
  try {
    await admin.createTopics({ topics: [...topics], waitForLeaders: false });
  } catch (error) {
    const errors = error instanceof KafkaJSAggregateError ? error.errors : [error];
    const real = errors.filter((e) => !(e instanceof KafkaJSProtocolError && e.type === 'TOPIC_ALREADY_EXISTS'));
    if (real.length > 0) throw real[0];
  }
  await untilKnown(
    admin,
    topics.map(({ topic }) => topic),
  );
}

/**
 * A broker may answer for a moment that it does not know a topic which has just been made. kafkajs's own wait for the
 * leaders takes that for a failure.
 */
async function untilKnown(admin: Admin, names: readonly string[]): Promise<void> {
  const giveUp = Date.now() + KNOWN_WITHIN_MS;
  for (;;) {
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [...names] });
      if (topics.every(({ partitions }) => partitions.every(({ leader }) => leader >= 0))) return;
    } catch (error) {
      const notYet = error instanceof KafkaJSProtocolError && error.type === 'UNKNOWN_TOPIC_OR_PARTITION';
      if (!notYet) throw error;
    }
    if (Date.now() >= giveUp) {
      throw new StateferryError(
        'KAFKA_UNAVAILABLE',
        `the topics ${names.join(', ')} were created, and ${KNOWN_WITHIN_MS / 1000} s later the brokers do not have a leader ` +
          'for each of their partitions. Are all brokers up?',
      );
    }
    await delay(KNOWN_POLL_MS);
  }
}

/**
 * The number of shards: the partition count that all input topics share.
 * @throws StateferryError TOPIC_MISSING or TOPIC_PARTITIONS with every topic that does not fit.
 */
export function shardCount(inputs: readonly string[], counts: ReadonlyMap<string, number>): number {
  const missing = inputs.filter((topic) => !counts.has(topic));
  if (missing.length > 0) throw missingTopics(missing);
  const distinct = new Set(inputs.map((topic) => counts.get(topic)));
  if (distinct.size > 1) {
    const listed = inputs.map((topic) => `"${topic}" has ${counts.get(topic)}`).join(', ');
    throw new StateferryError(
      'TOPIC_PARTITIONS',
      `the input topics of one deployment need the same number of partitions, since partition n of each of them is one ` +
        `shard: ${listed}. Recreate the topics that differ, or run them as separate deployments.`,
    );
  }
  return [...distinct][0] as number;
}

export function missingTopics(topics: readonly string[]): StateferryError {
  const listed = topics.map((topic) => `"${topic}"`).join(', ');
  return new StateferryError(
    'TOPIC_MISSING',
    `the broker has no topic ${listed}. Create ${topics.length > 1 ? 'them' : 'it'}, or let \`stateferry topics --create\` do it.`,
  );
}
