import { setImmediate as turn } from 'node:timers/promises';
import { messageOf, StateferryError } from '../errors.ts';
import type { Positions } from '../model/record.ts';
import type { Consumption } from '../topics/consumption.ts';
import type { HistoryBatch } from './history.ts';

export interface HistoryConsumerOptions {
  /** Membership in the generation's group, and what its own command topic brings. */
  readonly group: Consumption;
  readonly commandTopic: string;
  /** What a shard of the source applied from these positions on (history.ts). */
  readonly read: (
    at: { readonly shard: number; readonly from: Positions },
    signal: AbortSignal,
  ) => AsyncGenerator<HistoryBatch>;
  readonly onRecords: (batch: HistoryBatch) => void;
  /** Resolves when so many records more may be given. */
  readonly pace: (records: number) => Promise<void>;
  /** History could not be read, and it may work the next time. Nothing more is given. */
  readonly onCrash: (error: Error) => void;
  /** History cannot be read. Nothing more is given. */
  readonly onFailed: (error: StateferryError) => void;
}

/** A consumer that brings, instead of what the topics bring now, what another generation has applied. */
export function createHistoryConsumer(options: HistoryConsumerOptions): Consumption {
  const { group, commandTopic } = options;
  const shards = new Map<number, ShardHistory>();
  let stopped = false;

  const crashed = (error: unknown): void => {
    if (stopped) return;
    stopped = true;
    for (const shard of shards.values()) shard.stop();
    if (error instanceof StateferryError && error.fate === 'stop') {
      options.onFailed(error);
      return;
    }
    void group.stop().catch(() => undefined);
    options.onCrash(error instanceof Error ? error : new Error(messageOf(error)));
  };
  const shardOf = (number: number): ShardHistory => {
    let shard = shards.get(number);
    if (shard === undefined) {
      shard = new ShardHistory(number, options, crashed);
      shards.set(number, shard);
    }
    return shard;
  };

  return {
    assigned: () => group.assigned(),
    confirm: () => group.confirm(),
    seek(topic, partition, offset) {
      if (topic === commandTopic) group.seek(topic, partition, offset);
      else shardOf(partition).seek(topic, offset);
    },
    pause(partition) {
      group.pause(partition);
      shardOf(partition).pause();
    },
    resume(partition) {
      group.resume(partition);
      if (!stopped) shardOf(partition).resume();
    },
    forget(partition) {
      group.forget(partition);
      shards.get(partition)?.stop();
      shards.delete(partition);
    },
    start: () => group.start(),
    async stop() {
      stopped = true;
      for (const shard of shards.values()) shard.stop();
      await group.stop();
    },
  };
}

/** The history of one shard, given while it is resumed. */
class ShardHistory {
  readonly #shard: number;
  readonly #options: HistoryConsumerOptions;
  readonly #onError: (error: unknown) => void;
  #from: Record<string, bigint> = {};
  /** Ends the reading from the positions of before. */
  #reading: AbortController | undefined;
  #flowing = false;
  #flows: (() => void) | undefined;

  constructor(shard: number, options: HistoryConsumerOptions, onError: (error: unknown) => void) {
    this.#shard = shard;
    this.#options = options;
    this.#onError = onError;
  }

  seek(topic: string, offset: bigint): void {
    this.stop();
    this.#from = { ...this.#from, [topic]: offset };
  }

  pause(): void {
    this.#flowing = false;
  }

  resume(): void {
    this.#flowing = true;
    this.#flows?.();
    if (this.#reading !== undefined) return;
    const reading = new AbortController();
    this.#reading = reading;
    this.#run(reading.signal).catch((error: unknown) => {
      if (!reading.signal.aborted) this.#onError(error);
    });
  }

  stop(): void {
    this.#reading?.abort();
    this.#reading = undefined;
    this.#flows?.();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { read, pace, onRecords } = this.#options;
    for await (const batch of read({ shard: this.#shard, from: this.#from }, signal)) {
      await pace(batch.records.length);
      while (!this.#flowing && !signal.aborted) {
        await new Promise<void>((resolve) => {
          this.#flows = resolve;
        });
      }
      if (signal.aborted) return;
      onRecords(batch);
      // What the engine makes of them comes before the next.
      await turn();
    }
  }
}
