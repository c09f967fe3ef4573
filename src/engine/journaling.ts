import { encodeInputOrder } from '../codec/input-order.ts';
import { encodeInputs } from '../codec/inputs.ts';
import { encodeOutbox } from '../codec/outbox.ts';
import type { EncodedChunk } from '../journal/append.ts';
import type { Chunk } from '../model/chunk.ts';
import { createPacedLoop, type PacedLoop } from '../paced.ts';
import type { Item } from './item.ts';
import type { Shard } from './shard.ts';

/** Bytes of one shard's chunk at most: the outbox row is one value in Postgres. */
const CHUNK_BYTES = 4 * 1024 * 1024;

export interface JournalingOptions {
  readonly intervalMs: number;
  readonly maxChunkRecords: number;
  /** The journal keeps the input records. */
  readonly keepInputs: boolean;
  readonly shards: () => Iterable<Shard>;
  /** One transaction for all of them; answers the shards that moved (journal/append.ts). */
  readonly append: (chunks: readonly EncodedChunk[]) => Promise<ReadonlySet<number>>;
  /** `ms`: the time of the transaction that wrote it. */
  readonly onJournaled: (shard: Shard, chunk: Chunk, ms: number) => void;
  /** The epoch of these shards is not ours any more; nothing of their chunks was written. */
  readonly onFenced: (shards: readonly number[]) => void;
  /** Nobody knows whether the chunks were written. */
  readonly onUnknown: (error: unknown) => void;
}

/**
 * The second stage: takes what is decided from every shard, at most one chunk each, and journals it in one Postgres
 * transaction. One is in flight at a time; what is decided meanwhile goes together in the next.
 */
export function createJournaling(options: JournalingOptions): PacedLoop {
  return createPacedLoop({
    intervalMs: options.intervalMs,
    async work() {
      const taken: { shard: Shard; chunk: Chunk; items: Item[] }[] = [];
      for (const shard of options.shards()) {
        const next = shard.takeChunk(options.maxChunkRecords, CHUNK_BYTES);
        if (next !== undefined) taken.push({ shard, ...next });
      }
      if (taken.length === 0) return false;
      const start = performance.now();
      let moved: ReadonlySet<number>;
      try {
        moved = await options.append(
          taken.map(({ chunk }) => ({
            chunk,
            outbox: encodeOutbox(chunk.outputs),
            inputOrder: encodeInputOrder(Object.keys(chunk.to), chunk.inputs),
            inputs: options.keepInputs ? encodeInputs(chunk.inputs) : undefined,
          })),
        );
      } catch (error) {
        options.onUnknown(error);
        return true;
      }
      const ms = performance.now() - start;
      const fenced: number[] = [];
      for (const { shard, chunk, items } of taken) {
        // Dropped meanwhile: its next owner finds the chunk in the outbox.
        if (shard.state === 'stopped') continue;
        if (!moved.has(shard.number)) {
          fenced.push(shard.number);
          continue;
        }
        for (const item of items) item.onJournaled?.();
        options.onJournaled(shard, chunk, ms);
      }
      if (fenced.length > 0) options.onFenced(fenced);
      return true;
    },
  });
}
