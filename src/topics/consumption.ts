import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs';
import { createAssigner } from './assigner.ts';
import { watchHeartbeats } from './clock.ts';
import { toInputRecord } from './input-record.ts';
import { ReadAhead, type RecordBatch } from './read-ahead.ts';

export interface ConsumptionOptions {
  readonly kafka: Kafka;
  readonly groupId: string;
  /** What the other members know this process by. */
  readonly process: string;
  readonly topics: readonly string[];
  readonly shards: number;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly fetchMaxWaitMs: number;
  readonly fetchMaxBytesPartition: number;
  /**
   * The group has answered a join: from here on this process owns exactly `shards`. Called before anything of the new
   * assignment is fetched; every partition is paused until `resume`.
   */
  readonly onAssigned: (shards: readonly number[]) => void;
  /** Records of one partition, in order, while it is not paused. Must return at once. */
  readonly onRecords: (batch: RecordBatch) => void;
  /** The consumer gave up and will not come back by itself. */
  readonly onCrash: (error: Error) => void;
}

/** Membership in the consumer group, and the records of the shards that it brings. Offsets are never committed here. */
export interface Consumption {
  start(): Promise<void>;
  /** Shards of the last assignment. */
  assigned(): readonly number[];
  /** Resolves at the next proof that the group still counts this process as a member: a heartbeat answered, or a join. */
  confirm(): Promise<void>;
  seek(topic: string, partition: number, offset: bigint): void;
  pause(partition: number): void;
  resume(partition: number): void;
  /** Leaves the group. */
  stop(): Promise<void>;
}

export function createConsumption(options: ConsumptionOptions): Consumption {
  const { topics } = options;
  let shards: readonly number[] = [];
  let confirmations: (() => void)[] = [];
  let unwatch: (() => void) | undefined;

  const consumer: Consumer = options.kafka.consumer({
    groupId: options.groupId,
    sessionTimeout: options.sessionTimeoutMs,
    heartbeatInterval: options.heartbeatIntervalMs,
    rebalanceTimeout: options.rebalanceTimeoutMs,
    maxWaitTimeInMs: options.fetchMaxWaitMs,
    maxBytesPerPartition: options.fetchMaxBytesPartition,
    minBytes: 1,
    readUncommitted: false,
    allowAutoTopicCreation: false,
    partitionAssigners: [createAssigner({ shards: options.shards, process: options.process, owned: () => shards })],
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 8, restartOnFailure: async () => false },
  });

  const perTopic = (partitions: readonly number[]) => topics.map((topic) => ({ topic, partitions: [...partitions] }));
  const readAhead = new ReadAhead(topics, {
    onRecords: options.onRecords,
    onFetching(topic, partition, fetching) {
      const one = [{ topic, partitions: [partition] }];
      if (fetching) consumer.resume(one);
      else consumer.pause(one);
    },
    later: setImmediate,
  });

  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const assigned = new Set<number>();
    for (const partitions of Object.values(payload.memberAssignment)) for (const p of partitions) assigned.add(p);
    shards = [...assigned].sort((a, b) => a - b);
    // Nothing may be fetched before a shard is open and its position known.
    consumer.pause(perTopic(shards));
    readAhead.clear();
    options.onAssigned(shards);
    confirmed();
  });
  consumer.on(consumer.events.HEARTBEAT, confirmed);
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    options.onCrash(payload.error);
    // Nobody will confirm anything any more; who waits looks for itself.
    confirmed();
  });

  function confirmed(): void {
    const waiting = confirmations;
    confirmations = [];
    for (const resolve of waiting) resolve();
  }

  async function eachBatch({ batch, resolveOffset, isStale, isRunning }: EachBatchPayload): Promise<void> {
    // After a seek this batch is of the old position; it is fetched again.
    if (isStale() || !isRunning()) return;
    readAhead.push({
      topic: batch.topic,
      partition: batch.partition,
      highWatermark: BigInt(batch.highWatermark),
      records: batch.messages.map((message) => toInputRecord(batch.topic, batch.partition, message)),
    });
    resolveOffset(batch.lastOffset());
  }

  return {
    async start() {
      await consumer.connect();
      await consumer.subscribe({ topics: [...topics], fromBeginning: true });
      await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch });
      unwatch = watchHeartbeats(options.sessionTimeoutMs, (error) => {
        unwatch?.();
        void consumer.disconnect().catch(() => undefined);
        options.onCrash(error);
        confirmed();
      });
    },
    assigned: () => shards,
    confirm: () => new Promise((resolve) => confirmations.push(resolve)),
    seek(topic, partition, offset) {
      readAhead.drop(topic, partition);
      consumer.seek({ topic, partition, offset: offset.toString() });
    },
    pause: (partition) => readAhead.stop(partition),
    resume: (partition) => readAhead.start(partition),
    async stop() {
      unwatch?.();
      readAhead.clear();
      await consumer.disconnect();
      confirmed();
    },
  };
}
