import type { Reader, Writer } from 'protobufjs/minimal.js';
import type { Metadata, MetadataEntry } from '../model/payload.ts';

// stateferry.internal.MetadataEntry, as tags: number << 3 | 2.
const KEY = 0x0a;
const TEXT = 0x12;
const DATA = 0x1a;

/** Writes each entry as a field with this tag. */
export function writeEntries(writer: Writer, tag: number, metadata: Metadata): void {
  for (const { key, value } of metadata) {
    writer.uint32(tag).fork().uint32(KEY).string(key);
    if (typeof value === 'string') writer.uint32(TEXT).string(value);
    else writer.uint32(DATA).bytes(value);
    writer.ldelim();
  }
}

/** Reads one entry, behind its tag. Throws RangeError for one that is longer than its length says. */
export function readEntry(reader: Reader): MetadataEntry {
  const length = reader.uint32();
  const end = reader.pos + length;
  let key = '';
  let value: string | Uint8Array = '';
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === KEY) key = reader.stringVerify();
    else if (tag === TEXT) value = reader.stringVerify();
    else if (tag === DATA) value = reader.bytes();
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  if (reader.pos !== end) throw new RangeError('a metadata entry is longer than its length says');
  return { key, value };
}
