import type { Reader } from 'protobufjs/minimal.js';

/**
 * The 64 bits of the varint at the reader's position, unsigned. protobufjs itself gives them as a Long or, where that
 * package is missing, as a number that cannot hold them all.
 */
export function readVarint(reader: Reader): bigint {
  let low = 0;
  let scale = 1;
  let high = 0n;
  for (let count = 0; count < 10; count += 1) {
    if (reader.pos >= reader.len) throw new RangeError('the bytes end inside a varint');
    const byte = reader.buf[reader.pos++] as number;
    if (count < 7) {
      low += (byte & 0x7f) * scale;
      scale *= 128;
    } else {
      high |= BigInt(byte & 0x7f) << BigInt(7 * count);
    }
    if (byte < 0x80) return BigInt.asUintN(64, high | BigInt(low));
  }
  throw new Error('a varint is longer than 10 bytes');
}
