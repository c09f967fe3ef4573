import type { Admin } from 'kafkajs';
import { StateferryError } from '../errors.ts';
import { missingTopics, partitionCounts } from './ensure.ts';

/** A look at the topics every so often. */
export interface TopicWatch {
  /** Rejects with TOPIC_PARTITIONS or TOPIC_MISSING when the deployment cannot go on; never resolves. */
  readonly failure: Promise<never>;
  stop(): void;
}

/**
 * Looks whether the topics of a running deployment still are what it was started with. Partitions that are added to an
 * input would bring records that nobody reads, and a deleted topic has nothing to read or takes nothing: neither heals
 * by itself. A finding counts when two looks in a row agree, since a broker may be late to know; a look that fails says
 * nothing of the topics.
 */
export function watchTopics(options: {
  admin: Admin;
  /** Topics that have one partition for each shard. */
  sharded: readonly string[];
  shards: number;
  /** Topics that are written to. */
  published: readonly string[];
  intervalMs: number;
}): TopicWatch {
  const { admin, sharded, shards, published } = options;
  const topics = [...new Set([...sharded, ...published])];
  let reject: (error: StateferryError) => void = () => undefined;
  const failure = new Promise<never>((_, refuse) => {
    reject = refuse;
  });
  failure.catch(() => undefined);
  let looking = false;
  let before: StateferryError | undefined;

  async function look(): Promise<void> {
    const counts = await countsOf(admin, topics);
    if (counts === undefined) return;
    const found = faultOf(counts);
    if (found !== undefined && found.message === before?.message) reject(found);
    before = found;
  }

  function faultOf(counts: ReadonlyMap<string, number>): StateferryError | undefined {
    const missing = topics.filter((topic) => !counts.has(topic));
    if (missing.length > 0) return missingTopics(missing);
    const changed = sharded.filter((topic) => counts.get(topic) !== shards);
    if (changed.length === 0) return undefined;
    const listed = changed.map((topic) => `"${topic}" has ${counts.get(topic)}`).join(', ');
    return new StateferryError(
      'TOPIC_PARTITIONS',
      `the number of partitions was changed while the deployment ran with ${shards}: ${listed} now. An entity belongs to a ` +
        'shard by the hash of its id modulo that number, so it cannot change; nothing has been read from other partitions ' +
        'than before. Start a new deployment, with another deployment.name and postgres.schema, on topics that agree.',
    );
  }

  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    void look().finally(() => {
      looking = false;
    });
  }, options.intervalMs);
  return { failure, stop: () => clearInterval(timer) };
}

/** Partition counts of those that exist; undefined: the brokers did not tell. */
async function countsOf(admin: Admin, topics: readonly string[]): Promise<ReadonlyMap<string, number> | undefined> {
  try {
    const { topics: found } = await admin.fetchTopicMetadata({ topics: [...topics] });
    return new Map(found.map(({ name, partitions }) => [name, partitions.length]));
  } catch {
    // It fails for all of them where one is missing, and does not say so: the whole list does.
    return partitionCounts(admin, topics).catch(() => undefined);
  }
}
