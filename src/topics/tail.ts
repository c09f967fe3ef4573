import { randomUUID } from 'node:crypto';
import kafkajs, { type Consumer, type EachBatchPayload, type Kafka, type PartitionAssigner } from 'kafkajs';
import type { InputRecord } from '../model/record.ts';
import { watchHeartbeats } from './clock.ts';
import { toInputRecord } from './input-record.ts';
import { offsetRanges } from './offsets.ts';

const { AssignerProtocol } = kafkajs;

/** A member that is silent for so long is no member any more, in ms: Kafka's default. */
const SESSION_MS = 30_000;

/** Reads one partition from its present end on, read_committed, for this process alone. */
export interface Tail {
  /** Resolves when everything that is committed from now on will come. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * `onRecord` gets each record once, in order, aborted ones left out. `onCrash`: nothing more comes.
 *
 * kafkajs reads partitions only as a member of a group, so this one has a group to itself, which commits nothing and
 * leaves nothing behind.
 */
export function createTail(options: {
  kafka: Kafka;
  topic: string;
  partition: number;
  /** What the group's name begins with. */
  groupPrefix: string;
  maxWaitMs: number;
  onRecord: (record: InputRecord) => void;
  onCrash: (error: Error) => void;
}): Tail {
  const { kafka, topic, partition, onRecord } = options;
  const consumer: Consumer = kafka.consumer({
    groupId: `${options.groupPrefix}-${randomUUID()}`,
    sessionTimeout: SESSION_MS,
    maxWaitTimeInMs: options.maxWaitMs,
    minBytes: 1,
    readUncommitted: false,
    allowAutoTopicCreation: false,
    partitionAssigners: [assigner(topic, partition)],
    retry: { initialRetryTime: 100, maxRetryTime: 2_000, retries: 8, restartOnFailure: async () => false },
  });
  let next: bigint | undefined;
  let unwatch: (() => void) | undefined;

  async function eachBatch({ batch, isStale, isRunning, resolveOffset }: EachBatchPayload): Promise<void> {
    if (isStale() || !isRunning()) return;
    for (const message of batch.messages) {
      const record = toInputRecord(topic, partition, message);
      // A rebalance of the group, which a slow broker can cause, begins where it was sent to last.
      if (next !== undefined && record.offset < next) continue;
      next = record.offset + 1n;
      onRecord(record);
    }
    resolveOffset(batch.lastOffset());
  }

  return {
    async start() {
      const admin = kafka.admin();
      await admin.connect();
      try {
        next = (await offsetRanges(admin, topic)).get(partition)?.high ?? 0n;
      } finally {
        await admin.disconnect();
      }
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      const joined = new Promise<void>((resolve, reject) => {
        consumer.on(consumer.events.GROUP_JOIN, () => {
          consumer.seek({ topic, partition, offset: String(next) });
          resolve();
        });
        consumer.on(consumer.events.CRASH, ({ payload }) => {
          reject(payload.error);
          options.onCrash(payload.error);
        });
      });
      await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch });
      await joined;
      unwatch = watchHeartbeats(SESSION_MS, options.onCrash);
    },
    async stop() {
      unwatch?.();
      await consumer.disconnect();
    },
  };
}

/** Gives every member the one partition. */
function assigner(topic: string, partition: number): PartitionAssigner {
  const name = 'stateferry-one-partition';
  const version = 1;
  return () => ({
    name,
    version,
    assign: async ({ members }) =>
      members.map(({ memberId }) => ({
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({
          version,
          assignment: { [topic]: [partition] },
          userData: Buffer.alloc(0),
        }),
      })),
    protocol: ({ topics }) => ({
      name,
      metadata: AssignerProtocol.MemberMetadata.encode({ version, topics, userData: Buffer.alloc(0) }),
    }),
  });
}
