import { randomUUID } from 'node:crypto';
import { createClient, type ReadRecord } from './kafka.ts';
import type { Scope } from './scope.ts';

/** A broker that is away is waited for, in connections and in requests. */
const RETRIES = 1_000;
/**
 * A broker that was killed remembers the member that the follower was before, and lets it in again only when that one's
 * session has ended.
 */
const SESSION_TIMEOUT_MS = 3_000;

/** What a read_committed consumer has got of some topics so far, each record once, in order within a partition. */
export interface Follower {
  /** Live. */
  of(topic: string): readonly ReadRecord[];
}

/** Follows topics from their beginning until the scope ends; a broker that goes away is waited for. */
export async function follow(
  t: Scope,
  options: { readonly topics: readonly string[]; readonly brokers?: readonly string[] },
): Promise<Follower> {
  const got = new Map<string, ReadRecord[]>(options.topics.map((topic) => [topic, []]));
  const next = new Map<string, bigint>();
  const consumer = createClient(options.brokers, RETRIES).consumer({
    groupId: `follower-${randomUUID()}`,
    allowAutoTopicCreation: false,
    maxWaitTimeInMs: 50,
    sessionTimeout: SESSION_TIMEOUT_MS,
    heartbeatInterval: SESSION_TIMEOUT_MS / 6,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: RETRIES },
  });
  t.onTestFinished(() => consumer.disconnect());
  await consumer.connect();
  await consumer.subscribe({ topics: [...options.topics], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch }) => {
      const at = `${batch.topic}/${batch.partition}`;
      for (const { offset, key, value, headers, timestamp } of batch.messages) {
        // After a broken connection it may begin anew.
        if (BigInt(offset) < (next.get(at) ?? 0n)) continue;
        next.set(at, BigInt(offset) + 1n);
        got.get(batch.topic)?.push({
          partition: batch.partition,
          offset: BigInt(offset),
          key,
          value,
          headers: Object.fromEntries(Object.entries(headers ?? {}).map(([name, text]) => [name, String(text)])),
          timestamp: Number(timestamp),
        });
      }
    },
  });
  return { of: (topic) => got.get(topic) ?? [] };
}
