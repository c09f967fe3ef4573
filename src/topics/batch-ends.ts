import { replaceModule } from './kafkajs-module.ts';

/** Where kafkajs 2.2.4 decodes a record batch. */
const MODULE = 'kafkajs/src/protocol/recordBatch/v0/decoder.js';

/** A record batch (version 2, KIP-98) as kafkajs has decoded it. */
export interface RecordBatchV2 {
  readonly firstOffset: string;
  readonly lastOffsetDelta: number;
  readonly maxTimestamp: string;
  readonly records: { readonly offset: string }[];
}

/**
 * Compaction removes records from a batch and leaves its end, the offset of the last record that it once had (a batch may even be kept
 * empty, for its producer's sequence). A reader has to go on behind that end: what it asks for below it, the broker answers with this same
 * batch and, where it is the last one of a segment, with nothing else. kafkajs decodes the records alone, so a reader that goes on behind the
 * last of them stands there for ever. A batch that lacks its last record is given a control record in its place, which every reader passes over.
 */
export function endBatch(batch: RecordBatchV2): void {
  const end = BigInt(batch.firstOffset) + BigInt(batch.lastOffsetDelta);
  const last = batch.records.at(-1);
  if (last !== undefined && BigInt(last.offset) >= end) return;
  const { records, ...batchContext } = batch;
  const marker = {
    offset: end.toString(),
    key: null,
    value: null,
    headers: {},
    timestamp: batch.maxTimestamp,
    isControlRecord: true,
    batchContext,
  };
  records.push(marker);
}

/** Lets every reader of this process get past batches whose end was compacted. To be called before the first fetch. */
export function installBatchEnds(): void {
  replaceModule<(decoder: unknown) => Promise<RecordBatchV2>>(MODULE, (decode) => async (decoder) => {
    const batch = await decode(decoder);
    endBatch(batch);
    return batch;
  });
}
