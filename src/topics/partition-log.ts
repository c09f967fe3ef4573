import { createRequire } from 'node:module';
import type { Kafka, KafkaMessage } from 'kafkajs';
import type { InputRecord } from '../model/record.ts';
import { clusterOf } from './cluster.ts';
import { EARLIEST, type FetchBroker, LATEST, READ_COMMITTED, READ_UNCOMMITTED } from './fetch-api.ts';
import { toInputRecord } from './input-record.ts';

/** Where kafkajs 2.2.4 keeps what takes aborted records and control markers out of a fetch. */
const BATCH_MODULE = 'kafkajs/src/consumer/batch.js';
const FETCH_BYTES = 1024 * 1024;
const FETCH_WAIT_MS = 500;
/**
 * Fetches in a row that bring nothing before the rest is taken to be empty: where it is beyond the end that the leader knows (of which one that
 * was just elected may know less for a moment), and where it is not, as compaction may leave it.
 */
const EMPTY_FETCHES_AT_END = 3;
const EMPTY_FETCHES = 20;

/** What offsets a partition has. */
export interface LogRange {
  /** Oldest offset that is still there. */
  readonly low: bigint;
  /** Last stable offset: no transaction is open below it, and read_committed readers come no further. */
  readonly stable: bigint;
  /** High watermark: one past the newest record, of an open transaction too. */
  readonly high: bigint;
}

/** The logs of partitions, read as a read_committed consumer does, without a consumer group. */
export interface PartitionLogs {
  /** Ranges by topic and partition. */
  ranges(topics: readonly string[]): Promise<Map<string, Map<number, LogRange>>>;
  /** Offset of the first record from `ms` since the epoch on, by topic and partition; absent: there is none. */
  since(topics: readonly string[], ms: number): Promise<Map<string, Map<number, bigint>>>;
  /**
   * Hands over the committed records of [from, to), in order, some at a time; control markers and aborted records are
   * left out. Starts at the oldest record where retention has removed some of them. `producerId`: its records alone.
   * `uncommitted`: those of open and aborted transactions too.
   */
  read(
    at: {
      readonly topic: string;
      readonly partition: number;
      readonly from: bigint;
      readonly to: bigint;
      readonly producerId?: bigint;
      readonly uncommitted?: boolean;
    },
    signal: AbortSignal,
  ): AsyncGenerator<readonly InputRecord[]>;
  close(): Promise<void>;
}

interface FetchedPartition {
  readonly partition: number;
  readonly highWatermark: string;
  readonly messages: readonly { readonly offset: string }[];
}

/** kafkajs keeps the head of the batch with each record. */
type BatchedMessage = KafkaMessage & { readonly batchContext?: { readonly producerId: string } };

type Broker = FetchBroker<FetchedPartition>;

type Batch = new (
  topic: string,
  fetchedOffset: string,
  partition: FetchedPartition,
) => { readonly messages: readonly BatchedMessage[] };

/** Opens a connection of its own. All `topics` must be there. */
export async function openPartitionLogs(kafka: Kafka, topics: readonly string[]): Promise<PartitionLogs> {
  const cluster = clusterOf<Broker>(kafka);
  const Batch = createRequire(import.meta.url)(BATCH_MODULE) as Batch;
  await cluster.connect();
  await cluster.addMultipleTargetTopics(topics);

  const brokerOf = (topic: string, partition: number): Promise<Broker> => {
    const found = cluster.findTopicPartitionMetadata(topic).find(({ partitionId }) => partitionId === partition);
    if (found === undefined) throw new Error(`the brokers name no leader of partition ${partition} of "${topic}"`);
    return cluster.findBroker({ nodeId: String(found.leader) });
  };

  async function offsets(
    wanted: readonly string[],
    isolationLevel: number,
    timestamp: string,
  ): Promise<Map<string, Map<number, bigint>>> {
    const byLeader = new Map<number, Map<string, number[]>>();
    for (const topic of wanted) {
      for (const { partitionId, leader } of cluster.findTopicPartitionMetadata(topic)) {
        const led = byLeader.get(leader) ?? new Map<string, number[]>();
        byLeader.set(leader, led.set(topic, [...(led.get(topic) ?? []), partitionId]));
      }
    }
    const found = new Map<string, Map<number, bigint>>(wanted.map((topic) => [topic, new Map()]));
    for (const [leader, led] of byLeader) {
      const broker = await cluster.findBroker({ nodeId: String(leader) });
      const { responses } = await broker.listOffsets({
        isolationLevel,
        topics: [...led].map(([topic, partitions]) => ({
          topic,
          partitions: partitions.map((partition) => ({ partition, timestamp })),
        })),
      });
      for (const { topic, partitions } of responses) {
        for (const { partition, offset } of partitions) found.get(topic)?.set(partition, BigInt(offset));
      }
    }
    return found;
  }

  return {
    async ranges(wanted) {
      const lows = await offsets(wanted, READ_UNCOMMITTED, EARLIEST);
      // Before the high watermarks: what is above it then may only have been written since.
      const stables = await offsets(wanted, READ_COMMITTED, LATEST);
      const highs = await offsets(wanted, READ_UNCOMMITTED, LATEST);
      return new Map(
        wanted.map((topic) => [
          topic,
          new Map(
            [...(highs.get(topic) ?? [])].map(([partition, high]) => [
              partition,
              {
                low: lows.get(topic)?.get(partition) ?? 0n,
                stable: stables.get(topic)?.get(partition) ?? high,
                high,
              },
            ]),
          ),
        ]),
      );
    },
    async since(wanted, ms) {
      const found = await offsets(wanted, READ_UNCOMMITTED, String(ms));
      for (const partitions of found.values()) {
        for (const [partition, offset] of partitions) if (offset < 0n) partitions.delete(partition);
      }
      return found;
    },
    async *read({ topic, partition, from, to, producerId, uncommitted = false }, signal) {
      const low = (await offsets([topic], READ_UNCOMMITTED, EARLIEST)).get(topic)?.get(partition) ?? from;
      let next = from;
      if (low > next) next = low;
      let empty = 0;
      let isAtEnd = false;
      while (next < to && empty < (isAtEnd ? EMPTY_FETCHES_AT_END : EMPTY_FETCHES)) {
        signal.throwIfAborted();
        const broker = await brokerOf(topic, partition);
        const fetchOffset = String(next);
        const { responses } = await broker.fetch({
          isolationLevel: uncommitted ? READ_UNCOMMITTED : READ_COMMITTED,
          maxWaitTime: FETCH_WAIT_MS,
          minBytes: 1,
          maxBytes: FETCH_BYTES,
          topics: [{ topic, partitions: [{ partition, fetchOffset, maxBytes: FETCH_BYTES }] }],
        });
        const fetched = responses[0]?.partitions[0];
        const last = fetched?.messages.at(-1);
        if (fetched === undefined || last === undefined || BigInt(last.offset) < next) {
          empty++;
          isAtEnd = fetched !== undefined && BigInt(fetched.highWatermark) <= next;
          continue;
        }
        empty = 0;
        const { messages } = new Batch(topic, fetchOffset, fetched);
        const records = messages
          .filter(({ offset }) => BigInt(offset) < to)
          .filter(({ batchContext }) => producerId === undefined || batchContext?.producerId === producerId.toString())
          .map((message) => toInputRecord(topic, partition, message));
        next = BigInt(last.offset) + 1n;
        if (records.length > 0) yield records;
      }
    },
    close: () => cluster.disconnect(),
  };
}
