import { randomBytes, randomUUID } from 'node:crypto';
import { expect, inject, it, type TestContext } from 'vitest';
import { createKafka } from '../../src/topics/client.ts';
import { Fetcher } from '../../src/topics/fetcher.ts';
import { openPartitionLogs } from '../../src/topics/partition-log.ts';
import { createTopic, produce } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';

const kafka = createKafka({
  brokers: inject('brokers'),
  clientId: 'test',
  connectionTimeoutMs: 3_000,
  requestTimeoutMs: 10_000,
  logCreator: () => () => undefined,
});
/** The least that Kafka lets a segment have (KIP-1030). */
const SEGMENT_BYTES = 1024 * 1024;
/** Kafka's cleaner looks for work every 15 s (`log.cleaner.backoff.ms`). */
const COMPACTED_WITHIN_MS = 60_000;

/** A topic with three segments: the last record of the first one is gone, since the second one has a newer one of its key. */
async function compacted(t: TestContext): Promise<string> {
  const topic = await createTopic(t, {
    partitions: 1,
    config: {
      'cleanup.policy': 'compact',
      'segment.bytes': String(SEGMENT_BYTES),
      'min.cleanable.dirty.ratio': '0.01',
      'compression.type': 'uncompressed',
    },
  });
  const fills = () => randomBytes(0.7 * SEGMENT_BYTES);
  for (const n of [1, 2, 3]) {
    await produce(topic, [
      { key: `stays ${n}`, value: fills() },
      { key: 'changes', value: String(n) },
    ]);
  }
  return topic;
}

async function offsetsOf(topic: string): Promise<bigint[]> {
  const logs = await openPartitionLogs(kafka, [topic]);
  try {
    const read: bigint[] = [];
    const { signal } = new AbortController();
    for await (const records of logs.read({ topic, partition: 0, from: 0n, to: 6n }, signal)) {
      read.push(...records.map(({ offset }) => offset));
    }
    return read;
  } finally {
    await logs.close();
  }
}

it('every reader gets past a segment whose last record was compacted', async (t) => {
  const topic = await compacted(t);
  // By the reader of logs, from the first record on; it is done once it gets past the gap.
  await eventually('the topic is compacted', async () => !(await offsetsOf(topic)).includes(1n), COMPACTED_WITHIN_MS);
  expect(await offsetsOf(topic)).toEqual([0n, 2n, 3n, 4n, 5n]);

  const fetched: bigint[] = [];
  const fetcher = new Fetcher({
    kafka,
    topics: [topic],
    maxWaitMs: 50,
    maxBytesPartition: 256 * 1024,
    onRecords: ({ records }) => fetched.push(...records.map(({ offset }) => offset)),
    onRemoved: () => undefined,
    onCrash: (error) => {
      throw error;
    },
  });
  await fetcher.start();
  t.onTestFinished(() => fetcher.stop());
  fetcher.seek(topic, 0, 0n);
  fetcher.want(topic, 0, true);
  await eventually('the engine reads to the end', () => fetched.includes(5n));
  expect(fetched).toEqual([0n, 2n, 3n, 4n, 5n]);

  const consumed: string[] = [];
  const consumer = kafka.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 50 });
  t.onTestFinished(() => consumer.disconnect());
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => void consumed.push(message.offset) });
  await eventually('a consumer reads to the end', () => consumed.includes('5'));
  expect(consumed).toEqual(['0', '2', '3', '4', '5']);
});
