/** Bytes with the name of their type: what protobuf calls an Any. The bytes are never re-encoded on their way through. */
export interface Payload {
  /** For example `type.googleapis.com/shop.AddItem`, or a JSON or primitive url of the dialect. */
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** One metadata entry. Keys compare case-insensitively and may repeat. */
export interface MetadataEntry {
  readonly key: string;
  readonly value: string | Uint8Array;
}

export type Metadata = readonly MetadataEntry[];

export const NO_METADATA: Metadata = Object.freeze([]);

/** First string value under `key` (lower case), or undefined. */
export function metadataValue(metadata: Metadata, key: string): string | undefined {
  for (const entry of metadata) {
    if (typeof entry.value === 'string' && entry.key.toLowerCase() === key) return entry.value;
  }
  return undefined;
}

/** `type.googleapis.com/a.B` → `a.B`; a name without a slash is returned as it is. */
export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}
