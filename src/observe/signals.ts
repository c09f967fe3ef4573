import type { ErrorCode } from '../errors.ts';
import type { RegistryAsked } from '../model/registry-asked.ts';
import type { ShardState } from './status.ts';

/**
 * The one list of what the engine tells the world. The tally, the metrics and tests listen; none of them is known to
 * the engine. Called per batch or chunk, not per record, wherever that is possible; a call costs well under a
 * microsecond. Listeners are called in the engine's own turn: they count and note, they neither wait nor throw.
 * What has a level rather than a count (lag, in flight, active entities) is read from the status, not signalled.
 */
export interface Signals {
  /** Input records that came from a topic, before anything is decided about them. */
  recordsIn(topic: string, count: number): void;
  /** Commands that a component has answered or failed. */
  commands(component: string, count: number): void;
  /** Records that the emitter has got into a topic, in a committed transaction. */
  outputs(topic: string, count: number): void;
  /** A record or command that went to the dead-letter topic. */
  deadLetters(code: ErrorCode): void;
  /** Records re-published because their entity belongs to another shard. */
  strays(count: number): void;
  /** Commands that were tried again. */
  retries(count: number): void;
  /** Commands that were parked, since their entity is paused. */
  parked(count: number): void;
  /** Commands passed over, since one with their idempotency key took effect before. */
  duplicates(count: number): void;
  /** Commands that a feed was given, in the journal. */
  fed(feed: string, count: number): void;
  /** Records below the journal's position, delivered once more and passed over. */
  skipped(count: number): void;
  /** A chunk is in the journal; `ms` is the time of its Postgres transaction. */
  chunkJournaled(chunk: {
    readonly shard: number;
    readonly records: number;
    readonly events: number;
    readonly outputs: number;
    readonly ms: number;
  }): void;
  /** A Kafka transaction is committed; `ms` is from its begin to its commit's answer. */
  transactionCommitted(transaction: { readonly chunks: number; readonly records: number; readonly ms: number }): void;
  /** What retention has removed: events, or chunks whose inputs or outputs they were. */
  retentionRemoved(kind: string, rows: number, bytes: number): void;
  /** The process drops what it has in memory and opens its shards again under a new transactional id. */
  rebuild(reason: ErrorCode): void;
  /** A transaction of an earlier owner that Kafka had left hanging was ended. */
  hangingEnded(ending: 'commit' | 'abort'): void;
  /** An address of the schema registry was asked something. */
  registryAsked(asked: RegistryAsked): void;
  /** A shard that waited for no schema stands before a record now whose schema is not known yet. */
  schemaAwaited(shard: number): void;
  entitiesOpened(count: number): void;
  entitiesClosed(count: number): void;
  functionUp(): void;
  functionDown(reason: string): void;
  shardState(shard: number, state: ShardState): void;
}

/** What a listener wants to hear. */
export type SignalListener = Partial<Signals>;

export interface SignalHub {
  /** What the engine calls. */
  readonly signals: Signals;
  /** Adds a listener; the answer takes it off again. */
  subscribe(listener: SignalListener): () => void;
}

/** A hub without listeners: every signal goes nowhere until somebody subscribes. */
export function createSignals(): SignalHub {
  let listeners: readonly SignalListener[] = [];
  return {
    subscribe(listener) {
      listeners = [...listeners, listener];
      return () => {
        listeners = listeners.filter((other) => other !== listener);
      };
    },
    // Written out rather than made in a loop: each call site stays of one shape, which is what keeps it cheap.
    signals: {
      recordsIn(topic, count) {
        for (const listener of listeners) listener.recordsIn?.(topic, count);
      },
      commands(component, count) {
        for (const listener of listeners) listener.commands?.(component, count);
      },
      outputs(topic, count) {
        for (const listener of listeners) listener.outputs?.(topic, count);
      },
      deadLetters(code) {
        for (const listener of listeners) listener.deadLetters?.(code);
      },
      strays(count) {
        for (const listener of listeners) listener.strays?.(count);
      },
      retries(count) {
        for (const listener of listeners) listener.retries?.(count);
      },
      parked(count) {
        for (const listener of listeners) listener.parked?.(count);
      },
      duplicates(count) {
        for (const listener of listeners) listener.duplicates?.(count);
      },
      fed(feed, count) {
        for (const listener of listeners) listener.fed?.(feed, count);
      },
      skipped(count) {
        for (const listener of listeners) listener.skipped?.(count);
      },
      chunkJournaled(chunk) {
        for (const listener of listeners) listener.chunkJournaled?.(chunk);
      },
      transactionCommitted(transaction) {
        for (const listener of listeners) listener.transactionCommitted?.(transaction);
      },
      retentionRemoved(kind, rows, bytes) {
        for (const listener of listeners) listener.retentionRemoved?.(kind, rows, bytes);
      },
      rebuild(reason) {
        for (const listener of listeners) listener.rebuild?.(reason);
      },
      hangingEnded(ending) {
        for (const listener of listeners) listener.hangingEnded?.(ending);
      },
      registryAsked(asked) {
        for (const listener of listeners) listener.registryAsked?.(asked);
      },
      schemaAwaited(shard) {
        for (const listener of listeners) listener.schemaAwaited?.(shard);
      },
      entitiesOpened(count) {
        for (const listener of listeners) listener.entitiesOpened?.(count);
      },
      entitiesClosed(count) {
        for (const listener of listeners) listener.entitiesClosed?.(count);
      },
      functionUp() {
        for (const listener of listeners) listener.functionUp?.();
      },
      functionDown(reason) {
        for (const listener of listeners) listener.functionDown?.(reason);
      },
      shardState(shard, state) {
        for (const listener of listeners) listener.shardState?.(shard, state);
      },
    },
  };
}
