import type { Kafka } from 'kafkajs';
import { type Cluster, withCluster } from './cluster.ts';
import {
  ask,
  checkCode,
  type FlexibleBroker,
  type FlexibleRequest,
  readArray,
  readPartitions,
  writeArray,
  writeNoTags,
  writePartitions,
} from './flexible.ts';

const OFFSETS_TOPIC = '__consumer_offsets';
/** States in which a coordinator is still going to end the transaction (`TransactionState` of Kafka's broker). */
const UNDER_WAY = new Set(['Ongoing', 'PrepareCommit', 'PrepareAbort', 'PrepareEpochFence']);

/** A transaction that is open on one partition, as its log says. */
export interface OpenTransaction {
  readonly topic: string;
  readonly partition: number;
  readonly producerId: bigint;
  readonly producerEpoch: number;
  /** Of the last marker that the producer had on the partition; -1: it had none. */
  readonly coordinatorEpoch: number;
  /** Offset of its first record. */
  readonly begins: bigint;
}

/** A producer as its transaction coordinator knows it. */
export interface KnownProducer {
  readonly transactionalId: string;
  readonly producerId: bigint;
  /** The coordinator has a transaction of it that is not complete. */
  readonly isUnderWay: boolean;
}

/** The transactions that are open on these partitions, by topic. All of them must be there. */
export async function openTransactions(
  kafka: Kafka,
  partitions: ReadonlyMap<string, Iterable<number>>,
): Promise<OpenTransaction[]> {
  return withCluster<FlexibleBroker, OpenTransaction[]>(kafka, (cluster) => openOn(cluster, partitions));
}

/** The transactions that are open on the partition that holds the group's offsets; of other groups' too. */
export async function openOffsetTransactions(kafka: Kafka, groupId: string): Promise<OpenTransaction[]> {
  return withCluster<FlexibleBroker, OpenTransaction[]>(kafka, async (cluster) => {
    await cluster.addMultipleTargetTopics([OFFSETS_TOPIC]);
    const { length } = cluster.findTopicPartitionMetadata(OFFSETS_TOPIC);
    return openOn(cluster, new Map([[OFFSETS_TOPIC, [offsetsPartition(groupId, length)]]]));
  });
}

/** What the coordinators know of these producers; one whose transactional id has expired is not among them. */
export async function knownProducers(kafka: Kafka, producerIds: readonly bigint[]): Promise<KnownProducer[]> {
  return withCluster<FlexibleBroker, KnownProducer[]>(kafka, async (cluster) => {
    const known: KnownProducer[] = [];
    for (const nodeId of Object.keys(cluster.brokerPool.brokers)) {
      const { code, producers } = await ask(await cluster.findBroker({ nodeId }), listTransactions(producerIds));
      checkCode(code);
      known.push(...producers);
    }
    return known;
  });
}

/**
 * Writes the markers that end transactions, as their coordinator would. Safe to be repeated. It is for transactions that
 * no coordinator is going to end any more, and needs the right to change the cluster (ALTER or CLUSTER_ACTION).
 */
export async function endTransactions(
  kafka: Kafka,
  transactions: readonly OpenTransaction[],
  result: 'commit' | 'abort',
): Promise<void> {
  if (transactions.length === 0) return;
  await withCluster<FlexibleBroker, void>(kafka, async (cluster) => {
    await cluster.addMultipleTargetTopics([...new Set(transactions.map(({ topic }) => topic))]);
    const byLeader = grouped(transactions, ({ topic, partition }) => leaderOf(cluster, topic, partition));
    for (const [nodeId, led] of byLeader) {
      const codes = await ask(await cluster.findBroker({ nodeId }), writeTxnMarkers(led, result));
      for (const code of codes) checkCode(code);
    }
  });
}

/** A producer, and where it has a transaction open that no coordinator is going to end. */
export interface AbandoningProducer {
  readonly transactionalId: string;
  readonly producerId: bigint;
  readonly open: readonly OpenTransaction[];
}

/**
 * Of the transactions that `list` finds open, those that no coordinator is going to end, by producer. One whose transactional
 * id has expired is not among them.
 */
export async function abandonedOf(
  kafka: Kafka,
  list: () => Promise<readonly OpenTransaction[]>,
): Promise<AbandoningProducer[]> {
  const open = await list();
  if (open.length === 0) return [];
  const known = await knownProducers(kafka, [...new Set(open.map(({ producerId }) => producerId))]);
  const idle = known.filter(({ isUnderWay }) => !isUnderWay);
  if (idle.length === 0) return [];
  // What was ended between the two questions is not open any more; a later one of its producer begins elsewhere.
  const still = new Set((await list()).map(beginning));
  return idle
    .map(({ transactionalId, producerId }) => ({
      transactionalId,
      producerId,
      open: open.filter((one) => one.producerId === producerId && still.has(beginning(one))),
    }))
    .filter((producer) => producer.open.length > 0);
}

function beginning({ topic, partition, producerId, begins }: OpenTransaction): string {
  return `${topic} ${partition} ${producerId} ${begins}`;
}

/**
 * Ends what the producer has open on these partitions, and then on those of the group's offsets: by that, the rest can be
 * found and ended once more, if this is interrupted.
 */
export async function endProducer(
  kafka: Kafka,
  producerId: bigint,
  at: { readonly partitions: ReadonlyMap<string, Iterable<number>>; readonly groupId: string },
  result: 'commit' | 'abort',
): Promise<OpenTransaction[]> {
  const isOf = (open: OpenTransaction): boolean => open.producerId === producerId;
  const onOutputs = (await openTransactions(kafka, at.partitions)).filter(isOf);
  await endTransactions(kafka, onOutputs, result);
  const onOffsets = (await openOffsetTransactions(kafka, at.groupId)).filter(isOf);
  await endTransactions(kafka, onOffsets, result);
  return [...onOutputs, ...onOffsets];
}

async function openOn(
  cluster: Cluster<FlexibleBroker>,
  partitions: ReadonlyMap<string, Iterable<number>>,
): Promise<OpenTransaction[]> {
  const all = [...partitions].flatMap(([topic, numbers]) => [...numbers].map((partition) => ({ topic, partition })));
  await cluster.addMultipleTargetTopics([...partitions.keys()]);
  const open: OpenTransaction[] = [];
  for (const [nodeId, led] of grouped(all, ({ topic, partition }) => leaderOf(cluster, topic, partition))) {
    open.push(...(await ask(await cluster.findBroker({ nodeId }), describeProducers(byTopic(led)))));
  }
  return open;
}

function leaderOf(cluster: Cluster<FlexibleBroker>, topic: string, partition: number): string {
  const found = cluster.findTopicPartitionMetadata(topic).find(({ partitionId }) => partitionId === partition);
  if (found === undefined) throw new Error(`the brokers name no leader of partition ${partition} of "${topic}"`);
  return String(found.leader);
}

function byTopic(partitions: readonly { readonly topic: string; readonly partition: number }[]): Map<string, number[]> {
  const topics = grouped(partitions, ({ topic }) => topic);
  return new Map([...topics].map(([topic, of]) => [topic, of.map(({ partition }) => partition)]));
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return groups;
}

/** As Kafka does: Java's hash of the name, without its sign. */
function offsetsPartition(groupId: string, partitions: number): number {
  let hash = 0;
  for (let i = 0; i < groupId.length; i++) hash = (Math.imul(hash, 31) + groupId.charCodeAt(i)) | 0;
  return (hash === -0x80000000 ? 0 : Math.abs(hash)) % partitions;
}

function describeProducers(partitions: ReadonlyMap<string, readonly number[]>): FlexibleRequest<OpenTransaction[]> {
  return {
    name: 'DescribeProducers',
    key: 61,
    version: 0,
    write: (to) => writePartitions(to, partitions),
    read(from) {
      from.readInt32();
      const described = readPartitions(from, (topic, partition) => {
        const code = from.readInt16();
        from.readUVarIntString();
        const producers = readArray(from, () => {
          const producerId = BigInt(from.readInt64().toString());
          const producerEpoch = from.readInt32();
          from.readInt32();
          from.readInt64();
          const coordinatorEpoch = from.readInt32();
          const begins = BigInt(from.readInt64().toString());
          from.readTaggedFields();
          return { topic, partition, producerId, producerEpoch, coordinatorEpoch, begins };
        });
        return { code, producers };
      });
      for (const { code } of described) checkCode(code);
      return described.flatMap(({ producers }) => producers).filter(({ begins }) => begins >= 0n);
    },
  };
}

function listTransactions(
  producerIds: readonly bigint[],
): FlexibleRequest<{ code: number; producers: KnownProducer[] }> {
  return {
    name: 'ListTransactions',
    key: 66,
    version: 0,
    write(to) {
      writeArray(to, [], () => undefined);
      writeArray(to, producerIds, (id) => to.writeInt64(id.toString()));
    },
    read(from) {
      from.readInt32();
      const code = from.readInt16();
      readArray(from, () => from.readUVarIntString());
      const producers = readArray(from, () => {
        const transactionalId = from.readUVarIntString() ?? '';
        const producerId = BigInt(from.readInt64().toString());
        const isUnderWay = UNDER_WAY.has(from.readUVarIntString() ?? '');
        from.readTaggedFields();
        return { transactionalId, producerId, isUnderWay };
      });
      return { code, producers };
    },
  };
}

function writeTxnMarkers(
  transactions: readonly OpenTransaction[],
  result: 'commit' | 'abort',
): FlexibleRequest<number[]> {
  return {
    name: 'WriteTxnMarkers',
    key: 27,
    version: 1,
    write(to) {
      // One marker each: epochs are those of the partition.
      writeArray(to, transactions, ({ topic, partition, producerId, producerEpoch, coordinatorEpoch }) => {
        to.writeInt64(producerId.toString())
          .writeInt16(producerEpoch)
          .writeBoolean(result === 'commit');
        writePartitions(to, new Map([[topic, [partition]]]));
        to.writeInt32(Math.max(0, coordinatorEpoch));
        writeNoTags(to);
      });
    },
    read: (from) =>
      readArray(from, () => {
        from.readInt64();
        const codes = readPartitions(from, () => from.readInt16());
        from.readTaggedFields();
        return codes;
      }).flat(),
  };
}
