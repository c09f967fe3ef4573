import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer } from 'kafkajs';
import { toInputRecord } from '../../src/topics/input-record.ts';
import { harnessClient } from './client.ts';
import { numberOfCall } from './door-record.ts';
import type { Cut, SeenRecord } from './history.ts';

/** A broker that was killed remembers the member that the reader was, until that one's session has ended. */
const SESSION_TIMEOUT_MS = 2_000;
const CUT_EVERY_MS = 700;

/** A read_committed consumer of some topics, from their beginning to its end, which keeps what it gets. */
export interface Reader {
  /** In order of arrival. */
  readonly records: readonly SeenRecord[];
  /** Consistent cuts, while the reader takes them. */
  readonly cuts: readonly Cut[];
  /** Sentences: an offset that was read twice with different contents, or an order that went back. */
  readonly faults: readonly string[];
  /** One past what it has gone through, of `topic/partition`. */
  position(partition: string): bigint;
  stop(): Promise<void>;
}

export async function startReader(options: {
  readonly brokers: readonly string[];
  readonly topics: readonly string[];
  /** Whose values are no text. */
  readonly binary: string;
  readonly onRecord?: (record: SeenRecord) => void;
  /** Take cuts: see Cut. */
  readonly cuts: boolean;
}): Promise<Reader> {
  const { brokers, topics } = options;
  const kafka = harnessClient(brokers);
  const records: SeenRecord[] = [];
  const cuts: Cut[] = [];
  const faults: string[] = [];
  const next = new Map<string, bigint>();
  const known = new Map<string, SeenRecord>();
  const stopping = new AbortController();
  let consumer: Consumer | undefined;

  function take(record: SeenRecord): void {
    const at = `${record.topic}/${record.partition}`;
    const place = `${at}/${record.offset}`;
    const before = known.get(place);
    if (before !== undefined) {
      // After a broken connection it may begin anew; what it gets must be the same.
      if (before.id !== record.id || before.value !== record.value) {
        faults.push(`${place} was first ${before.id} ${before.value} and then ${record.id} ${record.value}`);
      }
      return;
    }
    if (record.offset < (next.get(at) ?? 0n)) {
      faults.push(`${place} (${record.id}) was not there when the reader had gone past it`);
    }
    known.set(place, record);
    records.push(record);
    options.onRecord?.(record);
  }

  /** One consumer's life: until it gives up, or the reader is stopped. */
  async function live(): Promise<void> {
    const mine = kafka.consumer({
      groupId: `reader-${randomUUID()}`,
      allowAutoTopicCreation: false,
      readUncommitted: false,
      maxWaitTimeInMs: 50,
      sessionTimeout: SESSION_TIMEOUT_MS,
      heartbeatInterval: SESSION_TIMEOUT_MS / 6,
      retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 1_000 },
    });
    consumer = mine;
    const gone = new Promise<void>((resolve) => {
      mine.on(mine.events.CRASH, ({ payload }) => {
        if (!payload.restart) resolve();
      });
      stopping.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    mine.on(mine.events.END_BATCH_PROCESS, ({ payload }) => {
      const at = `${payload.topic}/${payload.partition}`;
      const after = BigInt(payload.lastOffset) + 1n;
      if (after > (next.get(at) ?? 0n)) next.set(at, after);
    });
    await mine.connect();
    await mine.subscribe({ topics: [...topics], fromBeginning: true });
    await mine.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const message of batch.messages) {
          const { offset, key, value, headers } = message;
          const { topic, partition } = batch;
          const call = topic === options.binary ? numberOfCall(toInputRecord(topic, partition, message)) : undefined;
          take({
            topic,
            partition,
            offset: BigInt(offset),
            key: key?.toString() ?? '',
            id:
              call === undefined
                ? String(headers?.ce_id ?? headers?.['stateferry-origin'] ?? '')
                : `${topic}/${partition}/${offset}`,
            type: String(headers?.ce_type ?? ''),
            n: call ?? Number(headers?.['fault-n'] ?? -1),
            code: String(headers?.['stateferry-error-code'] ?? ''),
            from: `${headers?.['stateferry-topic']}/${headers?.['stateferry-partition']}/${headers?.['stateferry-offset']}`,
            value: value === null ? '' : topic === options.binary ? `${value.length} bytes` : value.toString(),
            at: performance.now(),
          });
        }
      },
    });
    await gone;
    await mine.disconnect().catch(() => undefined);
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await live().catch(() => undefined);
      if (!stopping.signal.aborted) await delay(100);
    }
  }

  /**
   * What was read by now, and then every partition up to where it ends after that: whatever a record that was read was
   * caused by is below these ends, since it had been written before its transaction committed.
   */
  async function takeCuts(): Promise<void> {
    const admin = kafka.admin();
    await admin.connect();
    while (!stopping.signal.aborted) {
      const upTo = records.length;
      const ends: Record<string, bigint> = {};
      try {
        for (const topic of topics) {
          for (const { partition, high } of await admin.fetchTopicOffsets(topic)) {
            ends[`${topic}/${partition}`] = BigInt(high);
          }
        }
        cuts.push({ upTo, ends });
      } catch {
        // A partition without its leader: the next cut will do.
      }
      await delay(CUT_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    await admin.disconnect();
  }

  const running = run();
  const cutting = options.cuts ? takeCuts().catch(() => undefined) : Promise.resolve();
  return {
    records,
    cuts,
    faults,
    position: (partition) => next.get(partition) ?? 0n,
    async stop() {
      stopping.abort();
      // A consumer that waits for a broker would do so for ever.
      await Promise.race([consumer?.disconnect().catch(() => undefined), delay(5_000)]);
      await Promise.race([Promise.all([running, cutting]), delay(5_000)]);
    },
  };
}
