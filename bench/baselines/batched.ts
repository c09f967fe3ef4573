/**
 * The counter by hand, made fast: totals in memory, one Kafka transaction with outputs and offsets for each batch that a
 * fetch brings. Exactly once as long as it runs; after a restart, or with a second process, the totals are gone, and there
 * is no journal.
 */
import type { Message } from 'kafkajs';
import { amountOf, encodeTotal } from '../counter.ts';
import { readJob } from './job.ts';

/** kafkajs copies its list for each message of a send: large sends are quadratic. */
const SLICE_RECORDS = 500;

const { kafka, input, output, group } = readJob();

const totals = new Map<string, number>();
const producer = kafka.producer({
  transactionalId: group,
  idempotent: true,
  maxInFlightRequests: 1,
  allowAutoTopicCreation: false,
  // The coordinator refuses a transaction for some ms after the one before.
  retry: { initialRetryTime: 2, multiplier: 1.5, maxRetryTime: 100, retries: 60 },
});
await producer.connect();
const consumer = kafka.consumer({ groupId: group, maxWaitTimeInMs: 100, allowAutoTopicCreation: false });
await consumer.connect();
await consumer.subscribe({ topics: [input], fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachBatchAutoResolve: false,
  eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
    const messages: Message[] = [];
    for (const { key, value } of batch.messages) {
      if (key === null || value === null) continue;
      const id = key.toString();
      const total = (totals.get(id) ?? 0) + amountOf(value);
      totals.set(id, total);
      messages.push({ key, value: Buffer.from(encodeTotal(id, total)), partition: batch.partition });
    }
    const transaction = await producer.transaction();
    for (let at = 0; at < messages.length; at += SLICE_RECORDS) {
      await transaction.send({ topic: output, messages: messages.slice(at, at + SLICE_RECORDS) });
    }
    const offset = (BigInt(batch.lastOffset()) + 1n).toString();
    const offsets = [{ topic: input, partitions: [{ partition: batch.partition, offset }] }];
    await transaction.sendOffsets({ consumerGroupId: group, topics: offsets });
    await transaction.commit();
    resolveOffset(batch.lastOffset());
    await heartbeat();
  },
});
