import type { Kafka } from 'kafkajs';

/** kafkajs' own way to a connection with the client's settings; it offers no public one that reads without a group. */
const CREATE_CLUSTER = 'private:Kafka:createCluster';
const METADATA_MAX_AGE_MS = 300_000;

/** What kafkajs 2.2.4 reaches the brokers through, as far as it is used here. `B` is what is asked of a broker. */
export interface Cluster<B> {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** Learns which brokers there are. */
  refreshMetadata(): Promise<void>;
  /** From then on the metadata has these topics; fails where one is not there. */
  addMultipleTargetTopics(topics: readonly string[]): Promise<void>;
  findTopicPartitionMetadata(topic: string): readonly { readonly partitionId: number; readonly leader: number }[];
  findBroker(node: { nodeId: string }): Promise<B>;
  findGroupCoordinator(group: { groupId: string }): Promise<B>;
  /** Forgets a connection that was lost. */
  removeBroker(address: { host: string; port: number }): void;
  readonly brokerPool: { readonly brokers: Readonly<Record<string, unknown>> };
}

/** A connection of its own, not yet connected. */
export function clusterOf<B>(kafka: Kafka): Cluster<B> {
  const symbol = Object.getOwnPropertySymbols(kafka).find(({ description }) => description === CREATE_CLUSTER);
  const create = symbol === undefined ? undefined : (Reflect.get(kafka, symbol) as (options: object) => Cluster<B>);
  if (create === undefined) throw new Error(`kafkajs has no ${CREATE_CLUSTER} any more`);
  return create({ metadataMaxAge: METADATA_MAX_AGE_MS, allowAutoTopicCreation: false });
}

/** Runs `use` with a connection of its own, which knows the brokers. */
export async function withCluster<B, T>(kafka: Kafka, use: (cluster: Cluster<B>) => Promise<T>): Promise<T> {
  const cluster = clusterOf<B>(kafka);
  await cluster.connect();
  try {
    await cluster.refreshMetadata();
    return await use(cluster);
  } finally {
    await cluster.disconnect();
  }
}
