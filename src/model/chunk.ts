import type { ControlWrites } from './control.ts';
import type { EntityKey } from './entity.ts';
import type { FeedMove } from './feed.ts';
import type { InputRecord, OutputRecord, Positions } from './record.ts';

export type { EntityKey } from './entity.ts';

export interface JournalEvent extends EntityKey {
  /** From 1, without a gap, per entity. */
  readonly seq: number;
  readonly typeUrl: string;
  readonly payload: Uint8Array;
  /** The command that caused it. */
  readonly commandId: string;
}

export interface JournalSnapshot extends EntityKey {
  /** Sequence of the last event that is in it. */
  readonly seq: number;
  readonly typeUrl: string;
  readonly payload: Uint8Array;
}

export interface JournalValue extends EntityKey {
  /** How many changes the value has seen; from 1. */
  readonly revision: number;
  /** Absent: deleted. */
  readonly typeUrl?: string;
  readonly payload?: Uint8Array;
  readonly commandId: string;
}

/** An event sourced entity that asked for its deletion: its history up to `seq` is void from `dueAt` on. */
export interface JournalDeletion extends EntityKey {
  readonly seq: number;
  readonly cleanupAfterMs: number;
}

/** A command that took effect, and what it is not to take effect under again. */
export interface JournalKey {
  /** SHA-256 in base64. */
  readonly idempotencyKey: string;
  readonly commandId: string;
}

/**
 * The run of consecutive input records of one shard that is journaled in one Postgres transaction.
 * `from` must be the journal's `applied`, exactly; `to` is what it becomes.
 */
export interface Chunk {
  readonly shard: number;
  readonly epoch: number;
  /** Gapless number of the chunk in its shard. */
  readonly number: number;
  readonly from: Positions;
  readonly to: Positions;
  /** shard_seq of the first of `events`. */
  readonly firstShardSeq: number;
  readonly events: readonly JournalEvent[];
  readonly snapshots: readonly JournalSnapshot[];
  /** The last of each entity. */
  readonly values: readonly JournalValue[];
  /** All changes of values, in order. */
  readonly revisions: readonly JournalValue[];
  readonly deletions: readonly JournalDeletion[];
  readonly outputs: readonly OutputRecord[];
  /** Its input records (commands, strays, dead letters), in the order in which they were applied. */
  readonly inputs: readonly InputRecord[];
  /** Places in `inputs` of records whose commands were parked. Absent: none. */
  readonly parked?: readonly number[];
  /** Idempotency keys that its commands took effect under. */
  readonly keys: readonly JournalKey[];
  /** Chunks up to this number are known to be in Kafka: their outbox rows may go. */
  readonly emittedThrough: number;
  /** Absent: nothing of that kind. */
  readonly control?: ControlWrites;
  /** A feed that was behind, and where the chunk's outputs bring it. */
  readonly feedMove?: FeedMove;
  /** Commands of feeds among its outputs, by the feed's name. Absent: none. */
  readonly fed?: ReadonlyMap<string, number>;
}
