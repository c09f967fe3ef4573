import { Reader, Writer } from 'protobufjs/minimal.js';
import { asBuffer } from '../bytes.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import { decodeOutbox, encodeOutbox } from './outbox.ts';
import { unreadable } from './unreadable.ts';

// The numbers are those of stateferry.internal.Inputs in proto/stateferry/internal.proto, as tags.
const RECORDS = 0x0a;
const OFFSETS = 0x12;
const TIMESTAMPS = 0x1a;

/** The input records of a chunk as the journal keeps them, in order. */
export function encodeInputs(records: readonly InputRecord[]): Uint8Array {
  const writer = Writer.create()
    .uint32(RECORDS)
    .bytes(encodeOutbox(records.map(asOutput)));
  writer.uint32(OFFSETS).fork();
  for (const { offset } of records) writer.uint64(offset.toString());
  writer.ldelim().uint32(TIMESTAMPS).fork();
  for (const { timestamp } of records) writer.sint64(timestamp);
  return writer.ldelim().finish();
}

/**
 * The records that `encodeInputs` was given, in order; header values have become bytes. Throws JOURNAL_UNREADABLE for
 * bytes that are no inputs: they are from another version, or damaged.
 */
export function decodeInputs(bytes: Uint8Array): InputRecord[] {
  return unreadable('Inputs', bytes, () => {
    const reader = Reader.create(bytes);
    let records: readonly OutputRecord[] = [];
    const offsets: bigint[] = [];
    const timestamps: number[] = [];
    while (reader.pos < reader.len) {
      const tag = reader.tag();
      if (tag === RECORDS) records = decodeOutbox(reader.bytes());
      else if (tag === OFFSETS) packed(reader, () => offsets.push(BigInt(reader.uint64().toString())));
      else if (tag === TIMESTAMPS) packed(reader, () => timestamps.push(Number(reader.sint64())));
      else reader.skipType(tag & 7, 0, tag >>> 3);
    }
    return records.map((record, i) => asInput(record, at(offsets, i), at(timestamps, i)));
  });
}

function asOutput({ topic, partition, key, value, headers }: InputRecord): OutputRecord {
  return {
    topic,
    partition,
    key,
    value,
    headers: Object.entries(headers).flatMap(([name, held]) =>
      held === undefined ? [] : (Array.isArray(held) ? held : [held]).map((one) => [name, one] as const),
    ),
  };
}

function asInput(
  { topic, partition, key, value, headers }: OutputRecord,
  offset: bigint,
  timestamp: number,
): InputRecord {
  const named: Record<string, Buffer | Buffer[]> = {};
  for (const [name, text] of headers) {
    const one = typeof text === 'string' ? Buffer.from(text) : asBuffer(text);
    const before = named[name];
    named[name] = before === undefined ? one : Array.isArray(before) ? [...before, one] : [before, one];
  }
  return {
    topic,
    partition,
    offset,
    key: key === null ? null : asBuffer(key),
    value: value === null ? null : asBuffer(value),
    headers: named,
    timestamp,
  };
}

function packed(reader: Reader, read: () => void): void {
  const end = reader.uint32() + reader.pos;
  while (reader.pos < end) read();
}

function at<T>(list: readonly T[], place: number): T {
  const found = list[place];
  if (found === undefined) throw new RangeError(`there is no ${place + 1}th of ${list.length}`);
  return found;
}
