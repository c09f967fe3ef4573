import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Kafka, Message, Producer } from 'kafkajs';
import type { Counters } from './counter.ts';

/** Records of one partition in one request: kafkajs' cost of a record grows with their number. */
const SLICE_RECORDS = 400;
/** A million commands take less to write; the broker aborts what is open for longer. */
const TRANSACTION_TIMEOUT_MS = 600_000;
const PACE_MS = 5;

/** Commands on the input topic that no read_committed consumer sees yet. */
export interface Backlog {
  /** Makes all of them visible at once. Resolves when they are. */
  release(): Promise<void>;
}

/**
 * The load: command k is for counter k modulo their number, so every counter gets one before any gets its second, and
 * the total after command k is k / count + 1, rounded down.
 */
export interface Publisher {
  /** Commands published so far. */
  readonly published: number;
  /** Writes the next commands within a transaction that stays open: publishing costs nothing while they are measured. */
  hold(commands: number): Promise<Backlog>;
  /**
   * Publishes `rate` commands a second for `seconds`, a few ms' worth at a time. `onSent(k, at)`: command k is about to be
   * sent, `at` as performance.now() has it.
   */
  pace(rate: number, seconds: number, onSent: (k: number, at: number) => void): Promise<void>;
  close(): Promise<void>;
}

export async function createPublisher(options: {
  kafka: Kafka;
  topic: string;
  counters: Counters;
}): Promise<Publisher> {
  const { kafka, topic, counters } = options;
  let published = 0;
  const paced: Producer = kafka.producer({ allowAutoTopicCreation: false });
  await paced.connect();

  const message = (k: number): Message => {
    const counter = k % counters.count;
    return {
      key: counters.keys[counter] as Buffer,
      value: counters.increments[counter] as Buffer,
      partition: counters.partitionOf[counter] as number,
    };
  };
  const next = (commands: number): Message[] => {
    const messages = Array.from({ length: commands }, (_, i) => message(published + i));
    published += commands;
    return messages;
  };

  return {
    get published() {
      return published;
    },
    async hold(commands) {
      const producer = kafka.producer({
        transactionalId: `bench-${randomUUID()}`,
        idempotent: true,
        maxInFlightRequests: 1,
        transactionTimeout: TRANSACTION_TIMEOUT_MS,
        allowAutoTopicCreation: false,
      });
      await producer.connect();
      const transaction = await producer.transaction();
      const slice = SLICE_RECORDS * counters.partitions;
      for (let left = commands; left > 0; left -= slice) {
        await transaction.send({ topic, messages: next(Math.min(left, slice)) });
      }
      return {
        async release() {
          await transaction.commit();
          // Its connections are of no more use; that they close need not be waited for.
          void producer.disconnect();
        },
      };
    },
    async pace(rate, seconds, onSent) {
      const total = rate * seconds;
      const start = performance.now();
      const sends: Promise<unknown>[] = [];
      for (let sent = 0; sent < total; ) {
        const due = Math.min(total, Math.floor(((performance.now() - start) * rate) / 1_000));
        if (due > sent) {
          const first = published;
          const messages = next(due - sent);
          const at = performance.now();
          for (let k = first; k < published; k++) onSent(k, at);
          sends.push(paced.send({ topic, messages }));
          sent = due;
        }
        await delay(PACE_MS);
      }
      await Promise.all(sends);
    },
    close: () => paced.disconnect(),
  };
}
