import { randomUUID } from 'node:crypto';
import { type Admin, Kafka, logLevel, type Message, type RecordMetadata } from 'kafkajs';
import { inject } from 'vitest';
import { createTopics } from '../../src/topics/ensure.ts';
import { openPartitionLogs } from '../../src/topics/partition-log.ts';
import { eventually } from './processes.ts';
import type { Scope } from './scope.ts';

/** A record as a read_committed consumer gets it. */
export interface ReadRecord {
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, string>>;
  /** ms since 1970 */
  readonly timestamp: number;
}

/** Until when to read: so many records, every partition's end as of the call, or these next offsets by partition. */
export type Until = { readonly count: number } | 'end' | ReadonlyMap<number, bigint>;

/** A silent client of the run's Kafka, or of `brokers`; it gives up connecting after `retries`, half a second each. */
export function createClient(brokers: readonly string[] = inject('brokers'), retries = 20): Kafka {
  return new Kafka({
    clientId: 'test',
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries },
  });
}

/** Runs `use` with a connected admin client of the run's Kafka, or of `brokers`. */
export async function withAdmin<T>(use: (admin: Admin) => Promise<T>, brokers?: readonly string[]): Promise<T> {
  const admin = createClient(brokers).admin();
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Makes a topic that nobody else has, deletes it when the test has finished, and resolves to its name. */
export async function createTopic(
  t: Scope,
  options: {
    partitions: number;
    config?: Readonly<Record<string, string>>;
    name?: string;
    brokers?: readonly string[];
  },
): Promise<string> {
  const topic = `${options.name ?? 'topic'}-${randomUUID()}`;
  const { brokers } = options;
  await withAdmin(async (admin) => {
    await createTopics(admin, [
      {
        topic,
        numPartitions: options.partitions,
        replicationFactor: 1,
        configEntries: Object.entries(options.config ?? {}).map(([name, value]) => ({ name, value })),
      },
    ]);
    // The metadata may name a leader that has not heard of it yet.
    await eventually(`${topic} can be read`, () =>
      admin.fetchTopicOffsets(topic).then(
        () => true,
        () => false,
      ),
    );
  }, brokers);
  t.onTestFinished(() => withAdmin((admin) => admin.deleteTopics({ topics: [topic] }), brokers));
  return topic;
}

/** Writes records, outside any transaction, and resolves when the broker has them. */
export async function produce(
  topic: string,
  messages: readonly Message[],
  brokers?: readonly string[],
): Promise<RecordMetadata[]> {
  const producer = createClient(brokers).producer({ allowAutoTopicCreation: false });
  await producer.connect();
  try {
    return await producer.send({ topic, messages: [...messages] });
  } finally {
    await producer.disconnect();
  }
}

/**
 * The high watermark of every partition. Not the last stable offset, as kafkajs's admin client answers: a broker
 * acknowledges a commit before its markers are written, and what was just committed would be left out. Markers of
 * transactions have offsets too: it is not a count of records.
 */
export async function endOffsets(topic: string, brokers?: readonly string[]): Promise<Map<number, bigint>> {
  const logs = await openPartitionLogs(createClient(brokers), [topic]);
  try {
    const ranges = await logs.ranges([topic]);
    return new Map([...(ranges.get(topic) ?? [])].map(([partition, { high }]) => [partition, high]));
  } finally {
    await logs.close();
  }
}

/**
 * Reads a topic from its beginning as a read_committed consumer does and resolves to what it got: in order within a
 * partition, and with `count` possibly more than that. Rejects after `timeoutMs` with how far it came.
 */
export async function readCommitted(
  topic: string,
  until: Until,
  options: { timeoutMs?: number; brokers?: readonly string[] } = {},
): Promise<ReadRecord[]> {
  const timeoutMs = options.timeoutMs ?? 20_000;
  const ends = until === 'end' ? await endOffsets(topic, options.brokers) : until instanceof Map ? until : undefined;
  const records: ReadRecord[] = [];
  const positions = new Map<number, bigint>();
  const enough = (): boolean =>
    ends === undefined
      ? records.length >= (until as { count: number }).count
      : [...ends].every(([partition, end]) => (positions.get(partition) ?? 0n) >= end);
  if (enough()) return records;

  const consumer = createClient(options.brokers).consumer({
    groupId: `reader-${randomUUID()}`,
    allowAutoTopicCreation: false,
    maxWaitTimeInMs: 50,
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(unfinished())), timeoutMs);
      consumer.on(consumer.events.CRASH, ({ payload }) => {
        if (!payload.restart) reject(payload.error);
      });
      // Also tells of batches that hold only markers or aborted records, which eachBatch never sees.
      consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
        positions.set(payload.partition, BigInt(payload.lastOffset) + 1n);
        if (enough()) resolve();
      });
      consumer
        .run({
          autoCommit: false,
          eachBatch: async ({ batch }) => {
            for (const { offset, key, value, headers, timestamp } of batch.messages) {
              records.push({
                partition: batch.partition,
                offset: BigInt(offset),
                key,
                value,
                headers: Object.fromEntries(Object.entries(headers ?? {}).map(([name, text]) => [name, String(text)])),
                timestamp: Number(timestamp),
              });
            }
          },
        })
        .catch(reject);
    });
    return records;
  } finally {
    clearTimeout(timer);
    await consumer.disconnect();
  }

  function unfinished(): string {
    const wanted =
      ends === undefined ? `${(until as { count: number }).count} records` : `the offsets ${describe(ends)}`;
    return (
      `read ${records.length} committed records of ${topic} in ${timeoutMs} ms and waited for ${wanted}; ` +
      `came to ${describe(positions)}. Is a transaction still open?`
    );
  }
}

function describe(offsets: ReadonlyMap<number, bigint>): string {
  return [...offsets].map(([partition, offset]) => `${partition}:${offset}`).join(' ') || 'nowhere';
}
