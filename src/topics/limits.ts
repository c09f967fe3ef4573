import kafkajs, { type Admin } from 'kafkajs';

const { ConfigResourceTypes, KafkaJSProtocolError } = kafkajs;

const SETTING = 'max.message.bytes';

/** What a topic takes where neither it nor its broker says anything else (Kafka's default of `message.max.bytes`), in bytes. */
export const DEFAULT_MESSAGE_BYTES = 1_048_588;

/**
 * How large a batch may be that is to be compressed, of a topic that takes `most` bytes: what cannot be compressed grows, by
 * less than a thousandth and a few bytes with any of the codecs, and a batch that the broker refuses would hold up its shard.
 */
export function beforeCompression(most: number): number {
  return most - Math.ceil(most / 1_024) - 64;
}

/**
 * The largest batch that each topic takes, in bytes; all of them must be there. Without the right to read settings
 * (`DescribeConfigs`), Kafka's default is assumed.
 */
export async function messageLimits(admin: Admin, topics: readonly string[]): Promise<ReadonlyMap<string, number>> {
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: topics.map((name) => ({ type: ConfigResourceTypes.TOPIC, name, configNames: [SETTING] })),
    });
    return new Map(
      resources.map(({ resourceName, configEntries }) => [
        resourceName,
        Number(configEntries.find(({ configName }) => configName === SETTING)?.configValue ?? DEFAULT_MESSAGE_BYTES),
      ]),
    );
  } catch (error) {
    if (!(error instanceof KafkaJSProtocolError) || error.type !== 'TOPIC_AUTHORIZATION_FAILED') throw error;
    return new Map(topics.map((topic) => [topic, DEFAULT_MESSAGE_BYTES]));
  }
}

const CLEANUP = 'cleanup.policy';

/**
 * Those of the topics that compaction may take any record from. Without the right to read settings, none is taken to be.
 */
export async function compactedTopics(admin: Admin, topics: readonly string[]): Promise<ReadonlySet<string>> {
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: topics.map((name) => ({ type: ConfigResourceTypes.TOPIC, name, configNames: [CLEANUP] })),
    });
    const isCompacted = (entries: readonly { configName: string; configValue: string }[]) =>
      entries.some(({ configName, configValue }) => configName === CLEANUP && configValue.includes('compact'));
    return new Set(
      resources.filter(({ configEntries }) => isCompacted(configEntries)).map(({ resourceName }) => resourceName),
    );
  } catch (error) {
    if (!(error instanceof KafkaJSProtocolError) || error.type !== 'TOPIC_AUTHORIZATION_FAILED') throw error;
    return new Set();
  }
}
