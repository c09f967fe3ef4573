import type { OutputRecord } from '../model/record.ts';

/** Kafka's record batch, version 2: what it takes besides its records. */
export const BATCH_BYTES = 61;
/** Of a record: its length, attributes, time and offset deltas, lengths of key and value, count of headers; at most. */
const RECORD_BYTES = 5 + 1 + 10 + 5 + 5 + 5 + 5;
/** Of a header: the lengths of its name and its value, at most. */
const HEADER_BYTES = 5 + 5;

/** Bytes that a record takes in a batch at most, before any compression: what a topic's `max.message.bytes` is held against. */
export function recordBytes({ key, value, headers }: OutputRecord): number {
  let bytes = RECORD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, text] of headers) {
    bytes +=
      HEADER_BYTES + Buffer.byteLength(name) + (typeof text === 'string' ? Buffer.byteLength(text) : text.length);
  }
  return bytes;
}
