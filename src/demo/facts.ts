import { setTimeout as delay } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import { committedOffsets, offsetRanges } from '../topics/offsets.ts';
import { DEPLOYMENT, PARTITIONS, TOPICS } from './ground.ts';
import type { JournalReader, Offsets } from './journal.ts';
import { type Facts, isCovered } from './judge.ts';
import type { Reader } from './reader.ts';

/** How long the engine may take to come to rest, and the reader to come to the ends, after the last expected record. */
const REST_WITHIN_MS = 15_000;
const POLL_MS = 100;
const READ: readonly string[] = [TOPICS.statuses, TOPICS.events, TOPICS.alerts, TOPICS.commands, TOPICS.deadLetters];

/**
 * Waits until nothing moves any more and the reader has read to the very end of every topic, so that a record too many
 * is seen as well; then gathers everything. What does not come to rest in time is gathered as it is.
 */
export async function gatherFacts(options: {
  readonly admin: Admin;
  readonly journal: JournalReader;
  readonly reader: Reader;
  readonly signal: AbortSignal;
}): Promise<Facts> {
  const { admin, journal, reader, signal } = options;
  const ends = new Map(
    [...(await offsetRanges(admin, TOPICS.flights))].map(([partition, { high }]) => [partition, Number(high)]),
  );
  const giveUp = performance.now() + REST_WITHIN_MS;
  while (performance.now() < giveUp && !(await isAtRest(admin, journal, ends))) {
    await delay(POLL_MS, undefined, { signal });
  }
  const late = AbortSignal.timeout(REST_WITHIN_MS);
  for (const topic of READ) {
    const highs = [...(await offsetRanges(admin, topic))].map(([partition, { high }]) => [partition, high] as const);
    // Of an untouched partition there is nothing to read.
    const written = new Map(highs.filter(([, high]) => high > 0n));
    await reader.past(topic, written, AbortSignal.any([signal, late])).catch((error) => {
      if (!late.aborted) throw error;
    });
  }
  signal.throwIfAborted();
  return {
    published: [...ends.values()].reduce((sum, end) => sum + end, 0),
    statuses: reader.seen(TOPICS.statuses),
    events: reader.seen(TOPICS.events),
    alerts: reader.seen(TOPICS.alerts),
    commands: reader.seen(TOPICS.commands),
    deadLetters: reader.seen(TOPICS.deadLetters),
    journal: await journal.read(),
    ends,
    committed: await committed(admin),
  };
}

/** How many journaled chunks with outputs Kafka does not have: after a kill, what the next engine emits first. */
export async function unemittedChunks(admin: Admin, journal: JournalReader): Promise<number> {
  const outbox = await journal.outbox();
  const known = await committed(admin);
  return outbox.filter(({ shard, positions }) => !isCovered(positions, known.get(shard) ?? {})).length;
}

/** All input is applied, and everything applied is in Kafka. */
async function isAtRest(admin: Admin, journal: JournalReader, ends: ReadonlyMap<number, number>): Promise<boolean> {
  const shards = await journal.shards();
  const known = await committed(admin);
  return [...ends].every(([partition, end]) => {
    const applied = shards.find(({ shard }) => shard === partition)?.applied ?? {};
    return applied[TOPICS.flights] === end && isCovered(applied, known.get(partition) ?? {});
  });
}

/** The engine's group's committed offsets, by shard. */
async function committed(admin: Admin): Promise<Map<number, Offsets>> {
  const byTopic = await committedOffsets(admin, DEPLOYMENT, [TOPICS.flights, TOPICS.commands]);
  return new Map(
    Array.from({ length: PARTITIONS }, (_, shard) => {
      const offsets = [...byTopic].flatMap(([topic, byPartition]) => {
        const offset = byPartition.get(shard);
        return offset === undefined ? [] : [[topic, Number(offset)] as const];
      });
      return [shard, Object.fromEntries(offsets)];
    }),
  );
}
