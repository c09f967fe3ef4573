import { Reader } from 'protobufjs/minimal.js';

/** The value of one extension of an options message: of a bool, its truth; of a message, its bytes, merged. */
export type ExtensionValue = boolean | Uint8Array;

/** Extension numbers in the order in which they count, each with what reads its value; undefined: not marked. */
export type ExtensionTable<T> = Iterable<readonly [number, (value: ExtensionValue) => T | undefined]>;

/** Is this a bool that is set? */
export function isTrue(value: ExtensionValue): boolean {
  return value === true;
}

/** Reads a message with `read`; a value of another wire type is not marked. */
export function ifMessage<T>(read: (bytes: Uint8Array) => T | undefined): (value: ExtensionValue) => T | undefined {
  return (value) => (value instanceof Uint8Array ? read(value) : undefined);
}

/** Calls `take` for each field with the wire type that `take` understands; everything else is skipped. */
export function eachField(bytes: Uint8Array, take: (number: number, wire: number, reader: Reader) => boolean): void {
  const reader = Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (!take(tag >>> 3, tag & 7, reader)) reader.skipType(tag & 7, 0, tag >>> 3);
  }
}

/** The last bool under `number`; false where there is none. */
export function lastBool(bytes: Uint8Array, number: number): boolean {
  let found = false;
  eachField(bytes, (field, wire, reader) => {
    if (field !== number || wire !== 0) return false;
    found = reader.bool();
    return true;
  });
  return found;
}

/** The last string under `number`; '' where there is none. */
export function lastString(bytes: Uint8Array, number: number): string {
  let found = '';
  eachField(bytes, (field, wire, reader) => {
    if (field !== number || wire !== 2) return false;
    found = reader.string();
    return true;
  });
  return found;
}

/** Reads the sub-message under `number`; its occurrences are merged, as protobuf wants it. */
export function within<T>(bytes: Uint8Array, number: number, read: (inner: Uint8Array) => T): T | undefined {
  const parts: Uint8Array[] = [];
  eachField(bytes, (field, wire, reader) => {
    if (field !== number || wire !== 2) return false;
    parts.push(reader.bytes());
    return true;
  });
  return parts.length === 0 ? undefined : read(Buffer.concat(parts));
}
