import type { OutputRecord, Positions } from '../model/record.ts';
import { createPacedLoop } from '../paced.ts';
import type { Transactor } from '../topics/transactor.ts';
import type { Shard } from './shard.ts';

/** Records of one transaction at most: beyond a few thousand a larger one gains nothing. */
const TRANSACTION_RECORDS = 8_000;

/** A journaled chunk that waits for its transaction. */
export interface JournaledChunk {
  readonly shard: Shard;
  readonly number: number;
  readonly positions: Positions;
  readonly outputs: readonly OutputRecord[];
  /** Nothing was journaled: a record of the shard to itself, with the positions that it has. */
  readonly isNudge?: true;
}

export interface Emission {
  /** In order: a shard's chunks are emitted as they are pushed. */
  push(chunk: JournaledChunk): void;
  /** Nothing more is begun, and what waits is forgotten. A transaction in flight goes on, its outcome is ignored. */
  stop(): void;
}

/**
 * The third stage, the process's one emitter: one Kafka transaction for all chunks that wait, of all shards, with the
 * group's offsets. While one commits, the next gathers.
 */
export function createEmission(options: {
  intervalMs: number;
  transactor: Transactor;
  onEmitted: (chunks: readonly JournaledChunk[]) => void;
  /** Fenced, or nobody knows whether the transaction was committed. Nothing more is emitted. */
  onUnknown: (error: unknown) => void;
  onTransaction: (measured: { chunks: number; records: number; ms: number }) => void;
}): Emission {
  let waiting: JournaledChunk[] = [];
  let stopped = false;

  const loop = createPacedLoop({
    intervalMs: options.intervalMs,
    async work() {
      const chunks = take();
      if (chunks.length === 0) return false;
      const outputs: OutputRecord[] = [];
      const offsets = new Map<number, Positions>();
      for (const chunk of chunks) {
        for (const output of chunk.outputs) outputs.push(output);
        offsets.set(chunk.shard.number, chunk.positions);
      }
      const start = performance.now();
      try {
        await options.transactor.commit({ outputs, offsets });
      } catch (error) {
        if (!stopped) options.onUnknown(error);
        return true;
      }
      if (stopped) return true;
      options.onTransaction({ chunks: chunks.length, records: outputs.length, ms: performance.now() - start });
      options.onEmitted(chunks);
      return true;
    },
  });

  function take(): JournaledChunk[] {
    let records = 0;
    let count = 0;
    while (count < waiting.length && (count === 0 || records < TRANSACTION_RECORDS)) {
      records += waiting[count]?.outputs.length ?? 0;
      count++;
    }
    const taken = waiting.slice(0, count);
    waiting = waiting.slice(count);
    return taken;
  }

  return {
    push(chunk) {
      if (stopped) return;
      waiting.push(chunk);
      loop.wake();
    },
    stop() {
      stopped = true;
      waiting = [];
      loop.stop();
    },
  };
}
