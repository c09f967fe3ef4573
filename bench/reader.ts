import { randomUUID } from 'node:crypto';
import type { Kafka } from 'kafkajs';
import { type Counters, counterOf, totalOf } from './counter.ts';

/** With no new output for so long, none will come. */
const STALL_MS = 60_000;
const PROBLEMS_KEPT = 10;

/** How far the outputs had come at a moment of performance.now(). */
export interface Milestone {
  readonly at: number;
  readonly outputs: number;
}

/**
 * Reads the output topic as its consumers do, read_committed, and checks each output as it comes: counter n's totals have
 * to be 1, 2, 3 and so on, without a gap and none twice.
 */
export interface Reader {
  /** Outputs so far. */
  readonly outputs: number;
  /** What was wrong with the outputs so far: the first few, and how many. */
  readonly problems: readonly string[];
  readonly wrong: number;
  /** One for each batch that came since `mark`. */
  readonly milestones: readonly Milestone[];
  /** When every counter had given its first output, or undefined. */
  readonly allSeen: Milestone | undefined;
  /** Forgets the milestones so far. */
  mark(): void;
  /** Resolves when so many outputs have come, in all; rejects when they stop coming. */
  until(outputs: number): Promise<void>;
  /** Called with each output: the command's number (publisher.ts), and now, as performance.now() has it. */
  onOutput: ((k: number, now: number) => void) | undefined;
  /** Resolves when everything that is on the topic now has been read; nothing may be writing to it any more. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export async function createReader(options: { kafka: Kafka; topic: string; counters: Counters }): Promise<Reader> {
  const { kafka, topic, counters } = options;
  const totals = new Int32Array(counters.count);
  const problems: string[] = [];
  let wrong = 0;
  let outputs = 0;
  let milestones: Milestone[] = [];
  let unseen = counters.count;
  let allSeen: Milestone | undefined;
  let onOutput: Reader['onOutput'];
  let ends = 0;
  let waiting: { until: () => boolean; resolve: () => void; reject: (error: Error) => void } | undefined;
  let stall: NodeJS.Timeout | undefined;

  const complain = (problem: string): void => {
    wrong++;
    if (problems.length < PROBLEMS_KEPT) problems.push(problem);
  };
  const take = (key: Buffer, value: Buffer | null, now: number): void => {
    const counter = counterOf(key);
    const before = totals[counter];
    if (before === undefined || value === null) {
      complain(`an output with the key ${JSON.stringify(key.toString())} is none of ours`);
      return;
    }
    const total = totalOf(value);
    if (total !== before + 1) complain(`${key.toString()} gave ${total} after ${before}`);
    if (before === 0) unseen--;
    totals[counter] = total;
    onOutput?.((total - 1) * counters.count + counter, now);
  };
  const wait = (what: string, until: () => boolean): Promise<void> => {
    if (until()) return Promise.resolve();
    const promise = new Promise<void>((resolve, reject) => {
      waiting = { until, resolve, reject };
    });
    const watch = () => {
      const seen = outputs;
      stall = setTimeout(() => {
        if (outputs > seen) watch();
        else
          waiting?.reject(new Error(`no output for ${STALL_MS / 1_000} s: ${outputs} came, and ${what} are awaited`));
      }, STALL_MS);
    };
    watch();
    return promise.finally(() => {
      clearTimeout(stall);
      waiting = undefined;
    });
  };

  const consumer = kafka.consumer({
    groupId: `bench-reader-${randomUUID()}`,
    readUncommitted: false,
    maxWaitTimeInMs: 100,
    minBytes: 1,
    allowAutoTopicCreation: false,
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const joined = new Promise<void>((resolve) => consumer.on(consumer.events.GROUP_JOIN, () => resolve()));
  consumer.on(consumer.events.CRASH, ({ payload }) => waiting?.reject(payload.error));
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch }) => {
      const now = performance.now();
      for (const { key, value } of batch.messages) {
        if (key === null) ends++;
        else {
          outputs++;
          take(key, value, now);
        }
      }
      milestones.push({ at: now, outputs });
      if (unseen === 0) allSeen ??= { at: now, outputs };
      if (waiting?.until() === true) waiting.resolve();
    },
  });
  await joined;

  return {
    get outputs() {
      return outputs;
    },
    get problems() {
      return problems;
    },
    get wrong() {
      return wrong;
    },
    get milestones() {
      return milestones;
    },
    get allSeen() {
      return allSeen;
    },
    get onOutput() {
      return onOutput;
    },
    set onOutput(listener) {
      onOutput = listener;
    },
    mark() {
      milestones = [];
    },
    until: (count) => wait(`${count}`, () => outputs >= count),
    async drain() {
      // Whatever was written before it on its partition comes before it: a record without a key, which no output is.
      const producer = kafka.producer({ allowAutoTopicCreation: false });
      await producer.connect();
      const wanted = ends + counters.partitions;
      const messages = Array.from({ length: counters.partitions }, (_, partition) => ({
        partition,
        key: null,
        value: '',
      }));
      await producer.send({ topic, messages });
      await producer.disconnect();
      await wait('the ends of the partitions', () => ends >= wanted);
    },
    close: () => consumer.disconnect(),
  };
}
