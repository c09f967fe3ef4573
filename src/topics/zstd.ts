import { Decompress } from 'fzstd';

const FRAME = 0xfd2fb528;
/** Of 0x184D2A50 to 0x184D2A5F: what is to be passed over. */
const SKIPPABLE = 0x184d2a50;
const RLE = 1;
/** What is handed to the decompressor at once, so that what it comes to is counted on the way. */
const PIECE_BYTES = 4_096;

/** What a block comes to at most (3.1.1.2.3). */
const BLOCK_BYTES = 131_072;

/**
 * Decompresses zstd (RFC 8878), of one frame or several.
 * `refuse` is to throw: it is called when the whole comes to more than `limitBytes`, and before the decompressor makes room for a frame
 * that claims more. Throws an Error for what is not zstd.
 */
export function unzstd(buffer: Buffer, limitBytes: number, refuse: () => never): Buffer {
  const bytes = withoutClaims(buffer, limitBytes, refuse);
  const chunks: Uint8Array[] = [];
  let size = 0;
  const stream = new Decompress((chunk) => {
    size += chunk.length;
    if (size > limitBytes) refuse();
    chunks.push(chunk.slice());
  });
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    stream.push(bytes.subarray(at, at + PIECE_BYTES), at + PIECE_BYTES >= bytes.length);
  }
  return Buffer.concat(chunks);
}

/**
 * The same frames, up to where none begins, without room being made for what their blocks cannot come to: a window is as large as
 * they need (3.1.1.1.2), a content that says to be larger is refused.
 */
function withoutClaims(buffer: Buffer, limitBytes: number, refuse: () => never): Buffer {
  const bytes = Buffer.from(buffer);
  for (let at = 0; at + 8 < bytes.length; ) {
    const magic = bytes.readUInt32LE(at);
    if (magic - (magic % 16) === SKIPPABLE) {
      at += 8 + bytes.readUInt32LE(at + 4);
      continue;
    }
    if (magic !== FRAME) break;
    const descriptor = bytes[at + 4] as number;
    const isSingle = (descriptor & 0x20) !== 0;
    const windowAt = at + 5;
    const window = bytes[windowAt] as number;
    const contentBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
    at += 5 + (isSingle ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] as number);
    if (at + contentBytes > bytes.length) break;
    const windowBytes = isSingle ? 0 : 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8);
    let content = contentBytes === 2 ? 256 : 0;
    for (let i = 0; i < contentBytes; i++) content += (bytes[at + i] as number) * 256 ** i;
    if (windowBytes > limitBytes || content > limitBytes) refuse();
    const { end, most } = blocksOf(bytes, at + contentBytes);
    if (content > most) throw new Error(`a frame says it has ${content} bytes, which it cannot be`);
    if (windowBytes > most) bytes[windowAt] = Math.ceil(Math.log2(most / 1_024)) << 3;
    at = end + ((descriptor & 0x04) !== 0 ? 4 : 0);
  }
  return bytes;
}

/** Where the frame's last block ends (3.1.1.2), and what all of them come to at most. */
function blocksOf(buffer: Buffer, first: number): { readonly end: number; readonly most: number } {
  let at = first;
  let most = BLOCK_BYTES;
  while (at + 3 <= buffer.length) {
    const header = buffer.readUIntLE(at, 3);
    at += 3 + (((header >> 1) & 3) === RLE ? 1 : header >> 3);
    if ((header & 1) !== 0) return { end: at, most };
    most += BLOCK_BYTES;
  }
  return { end: buffer.length, most };
}
