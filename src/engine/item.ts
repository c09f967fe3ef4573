import type { Command } from '../model/command.ts';
import type { Place } from '../model/control.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { Decision } from './decide.ts';

/** The shard whose window an item is in, as far as an item's handlers need to know it. */
export interface ItemOwner {
  /** The oldest record of the window is decided: there is something to journal. */
  isReady(): boolean;
  /** Goes onto topics with what `after` led to, or, where that is journaled or there is none, with the shard's next chunk. */
  publish(outputs: readonly OutputRecord[], after: Item | undefined): void;
}

/** One input record on its way through a shard, from its arrival until Kafka has what came of it. */
export interface Item {
  readonly record: InputRecord;
  readonly shard: ItemOwner;
  /** Undefined for a record that calls no function: a stray, a dead letter, one to be ignored. */
  readonly command: Command | undefined;
  /** The record as it came first, where this one is it put back; otherwise the record itself. */
  readonly origin: InputRecord;
  /** Where its command was parked before it was put back. */
  readonly place: Place | undefined;
  /** Bytes that it holds in memory. */
  readonly bytes: number;
  /** Handed to the function, and not answered yet. */
  running: boolean;
  /** Whether a command with an idempotency key has taken effect before; undefined while nobody knows. */
  duplicate: boolean | undefined;
  /** Set when all is decided; the item is then ready to be journaled. */
  decision: Decision | undefined;
  /** Called when the item's chunk is in the journal. */
  onJournaled: (() => void) | undefined;
  /** How often its command failed. */
  attempts: number;
  /** How often the function went away while it had this command. */
  losses: number;
  /** How often it did so with no other command in flight. */
  lossesAlone: number;
  /** performance.now() when it was handed to the function. */
  startedAt: number;
}

/** A decision that only publishes. */
export function publishing(outputs: readonly OutputRecord[]): Decision {
  return { events: [], outputs };
}

const OVERHEAD_BYTES = 200;

export function createItem(
  shard: ItemOwner,
  record: InputRecord,
  command: Command | undefined,
  decision?: Decision,
  from: { readonly origin?: InputRecord; readonly place?: Place | undefined } = {},
): Item {
  return {
    record,
    shard,
    command,
    origin: from.origin ?? record,
    place: from.place,
    bytes: OVERHEAD_BYTES + (record.key?.length ?? 0) + (record.value?.length ?? 0),
    running: false,
    duplicate: undefined,
    decision,
    onJournaled: undefined,
    attempts: 0,
    losses: 0,
    lossesAlone: 0,
    startedAt: 0,
  };
}
