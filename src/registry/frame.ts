import { StateferryError } from '../errors.ts';

// The frame of Confluent's serializers ("wire format" in its manual): a zero byte, the schema's id as a big-endian
// 32-bit number, the payload. Protobuf has the indexes of the message in its schema between the two.
const MAGIC = 0;
export const FRAME_BYTES = 5;

/** The id of the schema of a framed value; undefined: it is not framed. */
export function frameId(value: Uint8Array | null): number | undefined {
  if (value === null || value.length < FRAME_BYTES || value[0] !== MAGIC) return undefined;
  return new DataView(value.buffer, value.byteOffset, FRAME_BYTES).getUint32(1);
}

/** As `frameId`. @throws StateferryError RECORD_UNDECODABLE where it is not framed */
export function requireFrameId(value: Uint8Array): number {
  const id = frameId(value);
  if (id !== undefined) return id;
  const found =
    value.length < FRAME_BYTES
      ? `The value has ${value.length} bytes, and the frame of a schema registry alone has ${FRAME_BYTES}`
      : `The value begins with the byte ${value[0]}, and the frame of a schema registry with ${MAGIC}`;
  throw new StateferryError(
    'RECORD_UNDECODABLE',
    `${found}. Produce with a serializer of the schema registry, or give the subscription another format than registry.`,
  );
}

/** The bytes before the payload. */
export function frame(id: number, indexes?: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(FRAME_BYTES + (indexes?.length ?? 0));
  new DataView(bytes.buffer).setUint32(1, id);
  if (indexes !== undefined) bytes.set(indexes, FRAME_BYTES);
  return bytes;
}

export function framed(head: Uint8Array, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(head.length + payload.length);
  bytes.set(head);
  bytes.set(payload, head.length);
  return bytes;
}

/** Path of a message in its file, as Confluent writes it: count and indexes as zigzag varints; [0] is one zero byte. */
export function writeIndexes(indexes: readonly number[]): Uint8Array {
  if (indexes.length === 1 && indexes[0] === 0) return Uint8Array.of(0);
  const bytes: number[] = [];
  for (const number of [indexes.length, ...indexes]) {
    let rest = number * 2;
    while (rest > 0x7f) {
      bytes.push((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
  }
  return Uint8Array.from(bytes);
}

/** No schema nests deeper than this, nor has so many messages; anything larger is not a path. */
const MOST_INDEXES = 100;

/** The path at `start`, and where the payload begins. @throws StateferryError RECORD_UNDECODABLE */
export function readIndexes(
  value: Uint8Array,
  start: number,
): { readonly indexes: readonly number[]; readonly end: number } {
  let pos = start;
  const next = (): number => {
    let number = 0;
    for (let scale = 1, count = 0; count < 5; count += 1, scale *= 128) {
      const byte = value[pos++];
      if (byte === undefined) throw badIndexes(value, 'they end too early');
      number += (byte & 0x7f) * scale;
      if (byte < 0x80) return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
    }
    throw badIndexes(value, 'a number in them is longer than 5 bytes');
  };
  const count = next();
  if (count === 0) return { indexes: [0], end: pos };
  if (count < 0 || count > MOST_INDEXES) throw badIndexes(value, `there are to be ${count} of them`);
  const indexes = Array.from({ length: count }, next);
  return { indexes, end: pos };
}

function badIndexes(value: Uint8Array, why: string): StateferryError {
  return new StateferryError(
    'RECORD_UNDECODABLE',
    `The value (${value.length} bytes) has no message indexes after its schema id: ${why}. Produce with a Protobuf serializer of the schema registry.`,
  );
}
