import type { CommandId } from './command.ts';
import type { Method } from './component.ts';

/** Which feed it is, for ever: whose position in which entities' journal. */
export interface FeedKey {
  /** The consumer group, or the service of the subscriber where it names none. */
  readonly name: string;
  /** What it takes: the events of event sourced entities, or the changes of value entities. */
  readonly source: 'event-sourced' | 'value';
  /** Of the entities that it takes them of. */
  readonly entityType: string;
}

/** Methods that are called with what the journal gains of one entity type. */
export interface Feed extends FeedKey {
  /** No two of them take the same input type. */
  readonly methods: readonly Method[];
  /** Takes the deletions of a value entity. */
  readonly deletes?: Method;
  /** Input types that are passed over. */
  readonly ignored: readonly string[];
  /** Types that no method takes are passed over; otherwise each is a dead letter. */
  readonly ignoreUnknown: boolean;
}

/** What a feed takes: an event, or a value as a command left it. */
export interface Change {
  readonly entityId: string;
  /** Sequence of the event, or how many changes the value has seen. */
  readonly number: number;
  /** The command that caused it. */
  readonly commandId: CommandId;
  /** Absent: the value was deleted. */
  readonly typeUrl?: string;
  readonly payload?: Uint8Array;
}

/**
 * Where a feed stands in one shard. `live`: whatever the shard has journaled of its source has been handed on, in the
 * chunk that journaled it or before.
 */
export type FeedPosition =
  | { readonly state: 'live'; readonly position: number }
  | {
      readonly state: 'catching-up';
      /** Events: shard_seq of the last one that was handed on. Values: what was journaled by later chunks is to be. */
      readonly position: number;
      /** Values: changes of later chunks than this one are handed on as they come. */
      readonly through: number;
      /** Values: the last entity that was looked at. */
      readonly cursor: string;
    };

/** A feed's new place, journaled with the commands that lead there. */
export type FeedMove = FeedKey & FeedPosition;
