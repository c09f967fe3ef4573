import type { Batch, Kafka } from 'kafkajs';

/** kafkajs copies its list for each message of a send: large sends are quadratic. */
const SLICE_RECORDS = 500;

/** Where a batch's outputs go, to the partition of the same number. */
export interface Sink {
  /** One transaction: the outputs, and the group's offset behind the batch. */
  commit(batch: Batch, outputs: readonly { readonly key: Buffer; readonly value: Uint8Array }[]): Promise<void>;
}

export async function createSink(options: {
  readonly kafka: Kafka;
  readonly output: string;
  readonly group: string;
}): Promise<Sink> {
  const producer = options.kafka.producer({
    transactionalId: options.group,
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
    // The coordinator refuses a transaction for some ms after the one before; kafkajs' own 300 ms would be the wall.
    retry: { initialRetryTime: 2, multiplier: 1.5, maxRetryTime: 100, retries: 60 },
  });
  await producer.connect();
  return {
    async commit(batch, outputs) {
      const { topic, partition } = batch;
      const transaction = await producer.transaction();
      for (let at = 0; at < outputs.length; at += SLICE_RECORDS) {
        const slice = outputs.slice(at, at + SLICE_RECORDS);
        const messages = slice.map(({ key, value }) => ({ key, value: Buffer.from(value), partition }));
        await transaction.send({ topic: options.output, messages });
      }
      const offset = (BigInt(batch.lastOffset()) + 1n).toString();
      await transaction.sendOffsets({
        consumerGroupId: options.group,
        topics: [{ topic, partitions: [{ partition, offset }] }],
      });
      await transaction.commit();
    },
  };
}
