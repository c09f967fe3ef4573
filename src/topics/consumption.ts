import type { Consumer, Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import { createAssigner } from './assigner.ts';
import { watchHeartbeats } from './clock.ts';
import { Fetcher } from './fetcher.ts';
import { ReadAhead, type RecordBatch } from './read-ahead.ts';

/** How often the member looks whether a heartbeat is due, in ms, where the interval of heartbeats is not shorter. */
const MEMBER_LOOK_MS = 100;

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
   * The group has answered a join: from here on this process owns exactly `shards`. What is read of those that it had goes on
   * without a break, and of those that it has lost until they are forgotten.
   */
  readonly onAssigned: (shards: readonly number[]) => void;
  /** Records of one partition, in order, while it is not paused. Must return at once. */
  readonly onRecords: (batch: RecordBatch) => void;
  /** The consumer gave up and will not come back by itself. */
  readonly onCrash: (error: Error) => void;
  readonly log: Logger;
}

/**
 * Membership in the consumer group, and the records of the shards that it brings. kafkajs does the first alone: its consumer
 * stops fetching for as long as the group is rebalanced, so that every shard would stand still whenever a process comes or
 * goes. Offsets are never committed here.
 */
export interface Consumption {
  start(): Promise<void>;
  /** Shards of the last assignment. */
  assigned(): readonly number[];
  /** Resolves at the next proof that the group still counts this process as a member: a heartbeat answered, or a join. */
  confirm(): Promise<void>;
  seek(topic: string, partition: number, offset: bigint): void;
  /** A partition is paused until it is resumed; it must have been sought in every topic before. */
  pause(partition: number): void;
  resume(partition: number): void;
  /** Reads the partition no more, and drops what has been read ahead of it. */
  forget(partition: number): void;
  /** Leaves the group. */
  stop(): Promise<void>;
}

export function createConsumption(options: ConsumptionOptions): Consumption {
  const { topics } = options;
  let shards: readonly number[] = [];
  let confirmations: (() => void)[] = [];
  let unwatch: (() => void) | undefined;
  let ended = false;

  const consumer: Consumer = options.kafka.consumer({
    groupId: options.groupId,
    sessionTimeout: options.sessionTimeoutMs,
    heartbeatInterval: options.heartbeatIntervalMs,
    rebalanceTimeout: options.rebalanceTimeoutMs,
    // Every partition is paused: this is how long it sleeps between two looks.
    maxWaitTimeInMs: Math.min(options.heartbeatIntervalMs, MEMBER_LOOK_MS),
    allowAutoTopicCreation: false,
    partitionAssigners: [createAssigner({ shards: options.shards, process: options.process, owned: () => shards })],
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 8, restartOnFailure: async () => false },
  });

  const perTopic = (partitions: readonly number[]) => topics.map((topic) => ({ topic, partitions: [...partitions] }));
  const readAhead = new ReadAhead(topics, {
    onRecords: options.onRecords,
    onFetching: (topic, partition, fetching) => fetcher.want(topic, partition, fetching),
    later: setImmediate,
  });
  const fetcher = new Fetcher({
    kafka: options.kafka,
    topics,
    maxWaitMs: options.fetchMaxWaitMs,
    maxBytesPartition: options.fetchMaxBytesPartition,
    onRecords: (batch) => readAhead.push(batch),
    onRemoved: ({ topic, partition, from, to }) =>
      options.log.error(
        { topic, partition, from: from.toString(), to: to.toString() },
        'The partition does not have what is to be read next; going on with its oldest record',
      ),
    onCrash: (error) => giveUp(error),
  });

  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const assigned = new Set<number>();
    for (const partitions of Object.values(payload.memberAssignment)) for (const p of partitions) assigned.add(p);
    shards = [...assigned].sort((a, b) => a - b);
    consumer.pause(perTopic(shards));
    options.onAssigned(shards);
    confirmed();
  });
  consumer.on(consumer.events.HEARTBEAT, confirmed);
  consumer.on(consumer.events.CRASH, ({ payload }) => crashed(payload.error));

  /** Whoever fails first takes the other along, once. */
  function crashed(error: Error): void {
    if (ended) return;
    end();
    options.onCrash(error);
    // Nobody will confirm anything any more; who waits looks for itself.
    confirmed();
  }

  function giveUp(error: Error): void {
    void consumer.disconnect().catch(() => undefined);
    crashed(error);
  }

  function end(): void {
    ended = true;
    unwatch?.();
    readAhead.clear();
    void fetcher.stop().catch(() => undefined);
  }

  function confirmed(): void {
    const waiting = confirmations;
    confirmations = [];
    for (const resolve of waiting) resolve();
  }

  return {
    async start() {
      await fetcher.start();
      await consumer.connect();
      await consumer.subscribe({ topics: [...topics], fromBeginning: true });
      await consumer.run({ autoCommit: false, eachBatch: async () => undefined });
      unwatch = watchHeartbeats(options.sessionTimeoutMs, giveUp);
    },
    assigned: () => shards,
    confirm: () => new Promise((resolve) => confirmations.push(resolve)),
    seek(topic, partition, offset) {
      fetcher.seek(topic, partition, offset);
      readAhead.drop(topic, partition);
    },
    pause: (partition) => readAhead.stop(partition),
    resume: (partition) => readAhead.start(partition),
    forget(partition) {
      readAhead.forget(partition);
      for (const topic of topics) fetcher.forget(topic, partition);
    },
    async stop() {
      end();
      await consumer.disconnect();
      confirmed();
    },
  };
}
