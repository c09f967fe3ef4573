import { Reader, Writer } from 'protobufjs/minimal.js';
import type { OutputRecord } from '../model/record.ts';
import { unreadable } from './unreadable.ts';

// The numbers are those of stateferry.internal.Outbox, OutboxRecord and OutboxHeader in
// proto/stateferry/internal.proto, as tags: number << 3 | wire type.
const TOPICS = 0x0a;
const HEADER_NAMES = 0x12;
const RECORDS = 0x1a;
const RECORD_TOPIC = 0x08;
const RECORD_PARTITION = 0x10;
const RECORD_KEY = 0x1a;
const RECORD_VALUE = 0x22;
const RECORD_HEADERS = 0x2a;
const HEADER_NAME = 0x08;
const HEADER_VALUE = 0x12;

/**
 * The output records of a chunk as the journal's outbox holds them, in order. A null key or value stays null. Header
 * values become bytes (of strings, their UTF-8), which is all that they are to Kafka.
 */
export function encodeOutbox(outputs: readonly OutputRecord[]): Uint8Array {
  const topics = new Map<string, number>();
  const names = new Map<string, number>();
  const writer = Writer.create();
  for (const { topic, partition, key, value, headers } of outputs) {
    writer.uint32(RECORDS).fork();
    writer.uint32(RECORD_TOPIC).uint32(positionOf(topics, topic));
    writer.uint32(RECORD_PARTITION).uint32(partition);
    if (key !== null) writer.uint32(RECORD_KEY).bytes(key);
    if (value !== null) writer.uint32(RECORD_VALUE).bytes(value);
    for (const [name, text] of headers) {
      writer.uint32(RECORD_HEADERS).fork();
      writer.uint32(HEADER_NAME).uint32(positionOf(names, name)).uint32(HEADER_VALUE);
      if (typeof text === 'string') writer.string(text);
      else writer.bytes(text);
      writer.ldelim();
    }
    writer.ldelim();
  }
  // Protobuf does not mind the order of fields, so the tables go behind the records that fill them.
  for (const topic of topics.keys()) writer.uint32(TOPICS).string(topic);
  for (const name of names.keys()) writer.uint32(HEADER_NAMES).string(name);
  return writer.finish();
}

function positionOf(table: Map<string, number>, text: string): number {
  const known = table.get(text);
  if (known !== undefined) return known;
  const position = table.size;
  table.set(text, position);
  return position;
}

/**
 * The records that `encodeOutbox` was given, in order. Keys, values and header values share memory with `bytes`.
 * Throws JOURNAL_UNREADABLE for bytes that are no outbox: they are from another version, or damaged.
 */
export function decodeOutbox(bytes: Uint8Array): OutputRecord[] {
  return unreadable('An outbox', bytes, () => read(bytes));
}

function read(bytes: Uint8Array): OutputRecord[] {
  const topics: string[] = [];
  const names: string[] = [];
  const spans: number[] = [];
  const reader = Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === TOPICS) topics.push(reader.stringVerify());
    else if (tag === HEADER_NAMES) names.push(reader.stringVerify());
    else if (tag === RECORDS) {
      const end = endOf(reader);
      spans.push(reader.pos, end);
      reader.pos = end;
    } else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  const records: OutputRecord[] = [];
  for (let i = 0; i < spans.length; i += 2) {
    reader.pos = spans[i] as number;
    records.push(readRecord(reader, spans[i + 1] as number, topics, names));
  }
  return records;
}

function readRecord(reader: Reader, end: number, topics: readonly string[], names: readonly string[]): OutputRecord {
  let topic = 0;
  let partition = 0;
  let key: Uint8Array | null = null;
  let value: Uint8Array | null = null;
  const headers: [string, Uint8Array][] = [];
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === RECORD_TOPIC) topic = reader.uint32();
    else if (tag === RECORD_PARTITION) partition = reader.uint32();
    else if (tag === RECORD_KEY) key = reader.bytes();
    else if (tag === RECORD_VALUE) value = reader.bytes();
    else if (tag === RECORD_HEADERS) headers.push(readHeader(reader, endOf(reader), names));
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  exactly(reader, end);
  return { topic: at(topics, topic, 'topic'), partition, key, value, headers };
}

function readHeader(reader: Reader, end: number, names: readonly string[]): [string, Uint8Array] {
  let name = 0;
  let value: Uint8Array = reader.buf.subarray(0, 0);
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === HEADER_NAME) name = reader.uint32();
    else if (tag === HEADER_VALUE) value = reader.bytes();
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  exactly(reader, end);
  return [at(names, name, 'header name'), value];
}

/** Reads a length and returns where it ends; beyond the end of the bytes, the next read throws. */
function endOf(reader: Reader): number {
  const length = reader.uint32();
  return reader.pos + length;
}

function exactly(reader: Reader, end: number): void {
  if (reader.pos !== end) throw new RangeError('a message is longer than its length says');
}

function at(table: readonly string[], position: number, what: string): string {
  const text = table[position];
  if (text === undefined) throw new RangeError(`a record names the ${what} ${position} of ${table.length}`);
  return text;
}
