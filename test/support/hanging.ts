import type { Kafka } from 'kafkajs';
import { withCluster } from '../../src/topics/cluster.ts';
import { fenceProducers } from '../../src/topics/fence.ts';

/** Records and offsets as a transaction writes them. */
export interface Written {
  readonly outputs: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly messages: readonly {
      readonly key: Buffer | null;
      readonly value: Buffer | null;
      readonly headers?: Readonly<Record<string, Buffer | string>>;
    }[];
  }[];
  readonly groupId: string;
  readonly offsets: readonly { readonly topic: string; readonly partition: number; readonly offset: bigint }[];
}

interface Producer {
  readonly producerId: string;
  readonly producerEpoch: number;
}

interface Broker {
  initProducerId(request: { transactionalId: string; transactionTimeout: number }): Promise<Producer>;
  produce(
    request: Producer & { transactionalId: string; acks: number; timeout: number; topicData: readonly object[] },
  ): Promise<unknown>;
  txnOffsetCommit(
    request: Producer & { transactionalId: string; groupId: string; topics: readonly object[] },
  ): Promise<unknown>;
}

/**
 * Leaves what a broker leaves that has completed a transaction without its markers: records and offsets of the
 * transactional id that no coordinator is going to end. The broker must take transactional writes that were not announced to
 * the coordinator (`transaction.partition.verification.enable=false`), and lead all the partitions.
 */
export async function leaveHanging(kafka: Kafka, transactionalId: string, written: Written): Promise<void> {
  // The first use of a broker's transactions makes the topic that they are kept in.
  await fenceProducers(kafka, [transactionalId], 60_000);
  await withCluster<Broker, void>(kafka, async (cluster) => {
    const [nodeId = ''] = Object.keys(cluster.brokerPool.brokers);
    const broker = await cluster.findBroker({ nodeId });
    const { producerId, producerEpoch } = await broker.initProducerId({ transactionalId, transactionTimeout: 60_000 });
    const producer = { transactionalId, producerId, producerEpoch };
    for (const { topic, partition, messages } of written.outputs) {
      await broker.produce({
        ...producer,
        acks: -1,
        timeout: 10_000,
        topicData: [{ topic, partitions: [{ partition, firstSequence: 0, messages }] }],
      });
    }
    if (written.offsets.length === 0) return;
    await broker.txnOffsetCommit({
      ...producer,
      groupId: written.groupId,
      topics: written.offsets.map(({ topic, partition, offset }) => ({
        topic,
        partitions: [{ partition, offset: offset.toString() }],
      })),
    });
  });
}
