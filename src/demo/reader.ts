import type { Kafka } from 'kafkajs';

/** A record as a read_committed consumer got it. */
export interface SeenRecord {
  readonly partition: number;
  readonly offset: bigint;
  /** The key's text; empty where there is none. */
  readonly key: string;
  readonly value: Buffer;
  /** Of the CloudEvents header `ce_type`; empty where there is none. */
  readonly type: string;
  /** performance.now() when it arrived here, in ms. */
  readonly at: number;
}

/** A read_committed consumer of some topics from their beginning, which keeps what it gets. */
export interface Reader {
  /** Resolves when the group has given it its partitions: from then on nothing is waited for. */
  start(): Promise<void>;
  /** What it got of a topic so far, in order within a partition. */
  seen(topic: string): readonly SeenRecord[];
  /** Resolves as soon as it has so many records of the topic. Rejects with the signal's reason. */
  reached(topic: string, count: number, signal: AbortSignal): Promise<void>;
  /** Resolves when it is past these offsets of a topic, by partition; markers of transactions count. */
  past(topic: string, ends: ReadonlyMap<number, bigint>, signal: AbortSignal): Promise<void>;
  /** performance.now() of the last arrival of anything, in ms. */
  lastArrival(): number;
  stop(): Promise<void>;
}

export function createReader(options: {
  readonly kafka: Kafka;
  readonly groupId: string;
  readonly topics: readonly string[];
  /** It gave up and will not come back. */
  readonly onCrash: (error: Error) => void;
}): Reader {
  const { topics } = options;
  const records = new Map<string, SeenRecord[]>(topics.map((topic) => [topic, []]));
  const positions = new Map<string, Map<number, bigint>>(topics.map((topic) => [topic, new Map()]));
  let waiting: { readonly holds: () => boolean; readonly resolve: () => void }[] = [];
  let lastArrival = performance.now();

  const consumer = options.kafka.consumer({
    groupId: options.groupId,
    readUncommitted: false,
    allowAutoTopicCreation: false,
    maxWaitTimeInMs: 100,
  });

  const seen = (topic: string): SeenRecord[] => records.get(topic) ?? [];

  function check(): void {
    const ready = waiting.filter(({ holds }) => holds());
    if (ready.length === 0) return;
    waiting = waiting.filter((wait) => !ready.includes(wait));
    for (const { resolve } of ready) resolve();
  }

  function until(holds: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (holds()) return resolve();
      if (signal.aborted) return reject(signal.reason);
      const wait = {
        holds,
        resolve() {
          signal.removeEventListener('abort', giveUp);
          resolve();
        },
      };
      const giveUp = () => {
        waiting = waiting.filter((other) => other !== wait);
        reject(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      waiting.push(wait);
    });
  }

  return {
    async start() {
      await consumer.connect();
      await consumer.subscribe({ topics: [...topics], fromBeginning: true });
      const joined = new Promise<void>((resolve) => {
        consumer.on(consumer.events.GROUP_JOIN, () => resolve());
      });
      consumer.on(consumer.events.CRASH, ({ payload }) => {
        if (!payload.restart) options.onCrash(payload.error);
      });
      // Also told of batches that hold nothing but markers and aborted records, which eachBatch never sees.
      consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
        positions.get(payload.topic)?.set(payload.partition, BigInt(payload.lastOffset) + 1n);
        check();
      });
      await consumer.run({
        autoCommit: false,
        async eachBatch({ batch }) {
          const at = performance.now();
          lastArrival = at;
          const list = seen(batch.topic);
          for (const { offset, key, value, headers } of batch.messages) {
            list.push({
              partition: batch.partition,
              offset: BigInt(offset),
              key: key?.toString() ?? '',
              value: value ?? Buffer.alloc(0),
              type: String(headers?.ce_type ?? ''),
              at,
            });
          }
          check();
        },
      });
      await joined;
    },
    seen,
    reached: (topic, count, signal) => until(() => seen(topic).length >= count, signal),
    past: (topic, ends, signal) =>
      until(() => [...ends].every(([partition, end]) => (positions.get(topic)?.get(partition) ?? 0n) >= end), signal),
    lastArrival: () => lastArrival,
    stop: () => consumer.disconnect(),
  };
}
