import type { Destination } from '../codec/encode.ts';
import type { Component } from '../model/component.ts';
import type { FramedValues } from '../model/framed.ts';
import type { Positions } from '../model/record.ts';
import type { Descriptors } from '../protocol/descriptors.ts';
import type { LogRange, PartitionLogs } from '../topics/partition-log.ts';
import type { ChunkRow, JournalView, ShardRow } from './journal.ts';
import type { Steps } from './steps.ts';

/** What a deployment's topics are to it. */
export interface Topics {
  /** All that are read, the command topic included. */
  readonly inputs: readonly string[];
  /** All that are written, the deployment's own included. */
  readonly outputs: readonly string[];
  readonly commands: string;
  readonly answers: string;
  /** Where others may write too: what does not name this deployment is none of its business there. */
  readonly shared: ReadonlySet<string>;
  /** Where compaction may remove any record. */
  readonly compacted: ReadonlySet<string>;
}

/** What is judged, and up to where. */
export interface Ground {
  readonly deployment: string;
  readonly topics: Topics;
  readonly components: ReadonlyMap<string, Component>;
  readonly descriptors: Descriptors;
  /** Where state events go, by entity type. */
  readonly eventDestinations: ReadonlyMap<string, readonly Destination[]>;
  readonly framed: FramedValues;
  readonly journal: JournalView;
  readonly shards: ReadonlyMap<number, ShardRow>;
  /** The chunks that are still in the outbox, by shard, in order. */
  readonly chunks: ReadonlyMap<number, readonly ChunkRow[]>;
  /** The group's committed offsets, by shard, as of after the journal's instant. */
  readonly committed: ReadonlyMap<number, Positions>;
  /** The same as of before that instant. */
  readonly committedBefore: ReadonlyMap<number, Positions>;
  readonly logs: PartitionLogs;
  /** Before the journal's instant: what was on a topic below these stable offsets must be in the journal. */
  readonly before: Ranges;
  /** After the group had committed what the journal had applied: every output of that is below these stable offsets. */
  readonly after: Ranges;
  readonly steps: Steps;
  readonly signal: AbortSignal;
}

export type Ranges = ReadonlyMap<string, ReadonlyMap<number, LogRange>>;

/** A chunk that Kafka is not known to have: what it leads to may or may not be on the topics. */
export function isInFlight({ shard, positions }: ChunkRow, ground: Pick<Ground, 'committed' | 'shards'>): boolean {
  const committed = ground.committed.get(shard) ?? {};
  const applied = ground.shards.get(shard)?.applied ?? {};
  return Object.entries(positions).some(
    ([topic, offset]) => applied[topic] !== undefined && offset > (committed[topic] ?? -1n),
  );
}

/** Another generation served when the record was applied whose place this is: what it led to is not this one's to explain. */
export function isOfEarlierGeneration(
  { topic, partition, offset }: { readonly topic: string; readonly partition: number; readonly offset: bigint },
  shards: ReadonlyMap<number, ShardRow>,
): boolean {
  const shard = shards.get(partition);
  return shard !== undefined && shard.heldEpoch > 0 && offset < (shard.countedFrom[topic] ?? 0n);
}
