import { setTimeout as delay } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import type { Positions } from '../model/record.ts';
import { committedOffsets } from '../topics/offsets.ts';
import type { ShardRow } from './journal.ts';

const POLL_MS = 100;

/** The group's committed offsets, by shard. */
export async function committedByShard(
  admin: Admin,
  options: { readonly group: string; readonly topics: readonly string[]; readonly shards: number },
): Promise<Map<number, Positions>> {
  const byTopic = await committedOffsets(admin, options.group, options.topics);
  return new Map(
    Array.from({ length: options.shards }, (_, shard) => [
      shard,
      Object.fromEntries(
        [...byTopic].flatMap(([topic, offsets]) => {
          const offset = offsets.get(shard);
          return offset === undefined ? [] : [[topic, offset] as const];
        }),
      ),
    ]),
  );
}

/** Gives the deployment some time to commit what its journal has applied; resolves to what is committed then. */
export async function untilCommitted(
  look: () => Promise<Map<number, Positions>>,
  options: {
    readonly shards: ReadonlyMap<number, ShardRow>;
    readonly topics: readonly string[];
    readonly patienceMs: number;
    readonly signal: AbortSignal;
  },
): Promise<Map<number, Positions>> {
  const giveUp = performance.now() + options.patienceMs;
  for (;;) {
    const committed = await look();
    const isDone = [...options.shards.values()].every(
      ({ shard, applied, chunk }) =>
        chunk === 0 ||
        options.topics.every((topic) => (committed.get(shard)?.[topic] ?? -1n) >= (applied[topic] ?? -1n)),
    );
    if (isDone || performance.now() >= giveUp) return committed;
    await delay(POLL_MS, undefined, { signal: options.signal });
  }
}
