import type { Gathering } from './findings.ts';
import type { Ground } from './ground.ts';

/** What the outbox must have, since it keeps everything from some chunk on. */
export interface OutboxCoverage {
  /** Every row of the shard that was read so far could be. */
  isReadable(shard: number): boolean;
  /** It has everything that was ever journaled. */
  isWhole(): boolean;
  /** It has what a record of the shard's input at `offset` led to. */
  has(shard: number, topic: string, offset: bigint): boolean;
  /** A row cannot be read, for this reason: a finding, the first time that it is told. */
  unreadable(shard: number, chunk: number, reason: string): void;
}

export function coverageOf(ground: Pick<Ground, 'shards' | 'chunks'>, found: Gathering): OutboxCoverage {
  const unreadable = new Set<number>();
  const told = new Set<string>();
  const firstOf = (shard: number) => ground.chunks.get(shard)?.[0];
  return {
    isReadable: (shard) => !unreadable.has(shard),
    isWhole: () =>
      unreadable.size === 0 &&
      [...ground.shards.values()].every(
        ({ shard, chunk, heldChunk }) => chunk === heldChunk || firstOf(shard)?.chunk === heldChunk + 1,
      ),
    has(shard, topic, offset) {
      const first = firstOf(shard);
      if (first === undefined || unreadable.has(shard)) return false;
      const row = ground.shards.get(shard);
      const from = first.chunk === (row?.heldChunk ?? 0) + 1 ? row?.countedFrom[topic] : first.positions[topic];
      return from !== undefined && offset >= from;
    },
    unreadable(shard, chunk, reason) {
      unreadable.add(shard);
      const where = `shard ${shard}, chunk ${chunk}`;
      if (told.has(where)) return;
      told.add(where);
      found.find({
        what: 'a row of the outbox cannot be read',
        where,
        found: reason,
        expected: 'an outbox as it was written',
      });
    },
  };
}
