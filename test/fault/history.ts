import type { Command } from './commands.ts';

/** A record as the read_committed reader got it. */
export interface SeenRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  /** '' where there is none. */
  readonly key: string;
  /** Which output it is: `<command>/reply`, `<command>/event-n`, `<command>/state`; of the command topic, the command: of a door's, its place. */
  readonly id: string;
  readonly type: string;
  /** Of an input: its serial number in the run; of a door's command: that of its call. -1 otherwise. */
  readonly n: number;
  /** Of a dead letter: why. */
  readonly code: string;
  /** Of a dead letter: topic/partition/offset of the record that was given up. */
  readonly from: string;
  readonly value: string;
  /** performance.now() of its arrival. */
  readonly at: number;
}

/**
 * A cut through what is committed: of the effects that were caused, what had been read when it was taken (the first
 * `upTo` records); of those that cause them, everything below `ends` (by topic/partition), which were asked for after.
 */
export interface Cut {
  readonly upTo: number;
  readonly ends: Readonly<Record<string, bigint>>;
}

/** What the one who sent a command knows of it. A send that timed out is unknown: the record may be there or not. */
export interface Sent {
  readonly n: number;
  readonly outcome: 'acknowledged' | 'unknown';
  /** Of an acknowledged one. */
  readonly partition?: number;
  readonly offset?: bigint;
  /** performance.now() when it was sent. */
  readonly at: number;
}

/** A call at the doors of a deployment, as its caller knows it. Times: performance.now(), of the process that `Sent` is of. */
export interface DoorCall {
  /** Its serial number in the run: its index among the calls. */
  readonly n: number;
  readonly command: Command;
  /** It has an idempotency key, and was made again, at any door, while its outcome was unknown. */
  readonly keyed: boolean;
  readonly invokedAt: number;
  /**
   * `answered`; `repeated`: an earlier attempt of it has taken effect, whose answer is lost; `failed`: it has no effect;
   * `unknown`: it takes effect once or not at all, then or later. As long as it is under way, it is unknown.
   */
  readonly outcome: 'answered' | 'repeated' | 'failed' | 'unknown';
  /** When it was known that it had taken effect. */
  readonly answeredAt?: number;
  readonly answer?: { readonly balance: number; readonly changes: number };
  /** For each attempt: the slot of the engine whose door it was made at, and the gRPC status that it came to. */
  readonly attempts: readonly string[];
}

/** Rows of the journal as they are when every engine has stopped in order. */
export interface JournalRows {
  readonly events: readonly { readonly entity: string; readonly seq: number; readonly commandId: string }[];
  readonly values: readonly { readonly entity: string; readonly revision: number; readonly commandId: string }[];
  readonly shards: readonly {
    readonly shard: number;
    readonly owners: readonly string[];
    /** topic → next offset */
    readonly applied: Readonly<Record<string, string>>;
    readonly shardSeq: number;
    readonly events: number;
    readonly firstSeq: number;
    readonly lastSeq: number;
  }[];
  /** Chunks in the outbox that Kafka is not known to have. */
  readonly unemitted: number;
}

/** Names of the topics of a run. */
export interface Topics {
  /** Of the input topic and the command topic. */
  readonly partitions: number;
  readonly input: string;
  readonly replies: string;
  /** Events of accounts, and states of wallets. */
  readonly events: string;
  readonly deadLetters: string;
  readonly commands: string;
}

/** All that is known of a run when it is over. */
export interface History {
  readonly topics: Topics;
  readonly sent: readonly Sent[];
  readonly calls: readonly DoorCall[];
  /** By the reader that was there from the start. */
  readonly seen: readonly SeenRecord[];
  readonly cuts: readonly Cut[];
  /** By a second reader, when everything had come to rest; absent where it did not. */
  readonly final?: readonly SeenRecord[];
  readonly journal?: JournalRows;
  /** topic → partition → offset, as the group has committed. */
  readonly committed?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** A command that is not poisoned may have become a dead letter for one of these reasons. */
  readonly excusable: readonly string[];
}
