import protobuf from 'protobufjs';
import { partitionFor } from '../src/topics/partition.ts';

/** Names of kalix-counter/proto/counter.proto. */
export const SERVICE = 'bench.CounterService';
export const METHOD = 'Increase';
export const ENTITY_TYPE = 'counters';
export const INCREASED = 'type.googleapis.com/bench.Increased';
export const COUNTER = 'type.googleapis.com/bench.Counter';
export const TOTAL = 'type.googleapis.com/bench.Total';

const PREFIX = 'counter-';
const DIGITS = 7;
/** With it an Increment has 53 bytes. */
const FILLER = Buffer.alloc(32, 0x2e);

/** The counter that a key names, by number. */
export interface Counters {
  readonly count: number;
  readonly partitions: number;
  /** The record key and entity id. */
  readonly keys: readonly Buffer[];
  /** The command, which is the same each time: increase by one. */
  readonly increments: readonly Buffer[];
  /** The partition that a counter's key belongs to. */
  readonly partitionOf: Uint16Array;
}

/** The job's counters, with everything about them encoded before any clock starts. */
export function createCounters(count: number, partitions: number): Counters {
  const keys = Array.from({ length: count }, (_, i) => Buffer.from(PREFIX + String(i).padStart(DIGITS, '0')));
  return {
    count,
    partitions,
    keys,
    increments: keys.map(encodeIncrement),
    partitionOf: Uint16Array.from(keys, (key) => partitionFor(key, partitions)),
  };
}

/** The number of the counter that a key names; NaN for what is no key of ours. */
export function counterOf(key: Buffer): number {
  return key.toString('latin1', 0, PREFIX.length) === PREFIX
    ? Number(key.toString('latin1', PREFIX.length))
    : Number.NaN;
}

/** Total{counter_id, total}. */
export function encodeTotal(counterId: string, total: number): Uint8Array {
  return protobuf.Writer.create().uint32(10).string(counterId).uint32(16).int32(total).finish();
}

/** The amount in an Increment. */
export function amountOf(bytes: Uint8Array): number {
  return int32Field(bytes, 2);
}

/** The total in a Total. */
export function totalOf(bytes: Uint8Array): number {
  return int32Field(bytes, 2);
}

/** An int32 field of a message; 0 where it is absent. Later occurrences win, as protobuf has it. */
export function int32Field(bytes: Uint8Array, field: number): number {
  const reader = protobuf.Reader.create(bytes);
  let value = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === ((field << 3) | 0)) value = reader.int32();
    else reader.skipType(tag & 7);
  }
  return value;
}

function encodeIncrement(key: Buffer): Buffer {
  const writer = protobuf.Writer.create();
  return Buffer.from(writer.uint32(10).bytes(key).uint32(16).int32(1).uint32(26).bytes(FILLER).finish());
}
