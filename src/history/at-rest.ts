import type { Admin } from 'kafkajs';
import type pg from 'pg';
import { readReach } from '../journal/chunks.ts';
import type { Positions } from '../model/record.ts';
import { committedOffsets } from '../topics/offsets.ts';
import type { PartitionLogs } from '../topics/partition-log.ts';

export interface RestOptions {
  readonly pool: pg.Pool;
  readonly admin: Admin;
  readonly logs: PartitionLogs;
  readonly generation: number;
  readonly groupId: string;
  /** Where entities of the generation send each other commands. */
  readonly commands: string;
  readonly signal: AbortSignal;
}

/**
 * Where the shards of a generation stand, if nothing follows from what they have applied that is still on its way: all of
 * it is in Kafka, and the command topic holds nothing that is not applied. Undefined: something does.
 */
export async function restOf(options: RestOptions): Promise<Map<number, Positions> | undefined> {
  const { pool, admin, logs, generation, groupId, commands, signal } = options;
  const shards = await readReach(pool, generation);
  const topics = [...new Set(shards.flatMap(({ applied }) => Object.keys(applied)))];
  const committed = await committedOffsets(admin, groupId, topics);
  const isCommitted = (shard: number, applied: Positions) =>
    Object.entries(applied).every(([topic, offset]) => (committed.get(topic)?.get(shard) ?? -1n) >= offset);
  if (shards.some(({ shard, chunk, applied }) => chunk > 0 && !isCommitted(shard, applied))) return undefined;
  const ends = (await logs.ranges([commands])).get(commands);
  for (const { shard, applied } of shards) {
    const from = applied[commands] ?? 0n;
    const to = ends?.get(shard)?.stable ?? from;
    for await (const records of logs.read({ topic: commands, partition: shard, from, to }, signal)) {
      if (records.length > 0) return undefined;
    }
  }
  return new Map(shards.map(({ shard, applied }) => [shard, applied]));
}
