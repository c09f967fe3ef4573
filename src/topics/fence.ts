import kafkajs, { type Kafka } from 'kafkajs';

const { Partitioners } = kafkajs;

/**
 * Fences transactional ids: InitProducerId under each of them bumps its epoch, which ends what its old producer had
 * open (commit completed or transaction aborted) and refuses everything that producer sends later. Resolves when all
 * are fenced; the broker's CONCURRENT_TRANSACTIONS answers (markers still being written) are waited out.
 */
export async function fenceProducers(
  kafka: Kafka,
  ids: readonly string[],
  transactionTimeoutMs: number,
): Promise<void> {
  for (const transactionalId of ids) {
    const producer = kafka.producer({
      transactionalId,
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
      transactionTimeout: transactionTimeoutMs,
    });
    await producer.connect();
    try {
      const transaction = await producer.transaction();
      await transaction.abort();
    } finally {
      await producer.disconnect();
    }
  }
}
