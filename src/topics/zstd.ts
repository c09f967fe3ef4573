import { Decompress } from 'fzstd';

const FRAME = 0xfd2fb528;
/** Of 0x184D2A50 to 0x184D2A5F: what is to be passed over. */
const SKIPPABLE = 0x184d2a50;
const RLE = 1;
/** What is handed to the decompressor at once, so that what it comes to is counted on the way. */
const PIECE_BYTES = 4_096;

/**
 * Decompresses zstd (RFC 8878), of one frame or several.
 * `refuse` is to throw: it is called when the whole comes to more than `limitBytes`, and before the decompressor makes room for a frame
 * that claims more.
 */
export function unzstd(buffer: Buffer, limitBytes: number, refuse: () => never): Buffer {
  for (const claimed of claims(buffer)) if (claimed > limitBytes) refuse();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const stream = new Decompress((chunk) => {
    bytes += chunk.length;
    if (bytes > limitBytes) refuse();
    chunks.push(chunk.slice());
  });
  for (let at = 0; at < buffer.length; at += PIECE_BYTES) {
    stream.push(buffer.subarray(at, at + PIECE_BYTES), at + PIECE_BYTES >= buffer.length);
  }
  return Buffer.concat(chunks);
}

/** What each frame has room made for: its content, or its window (3.1.1.1). Ends where no frame begins. */
function* claims(buffer: Buffer): Generator<number> {
  for (let at = 0; at + 8 < buffer.length; ) {
    const magic = buffer.readUInt32LE(at);
    if (magic - (magic % 16) === SKIPPABLE) {
      at += 8 + buffer.readUInt32LE(at + 4);
      continue;
    }
    if (magic !== FRAME) return;
    const descriptor = buffer[at + 4] as number;
    const isSingle = (descriptor & 0x20) !== 0;
    const window = buffer[at + 5] as number;
    const contentBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
    at += 5 + (isSingle ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] as number);
    if (at + contentBytes > buffer.length) return;
    if (!isSingle) yield 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8);
    let content = contentBytes === 2 ? 256 : 0;
    for (let i = 0; i < contentBytes; i++) content += (buffer[at + i] as number) * 256 ** i;
    yield content;
    at = afterBlocks(buffer, at + contentBytes) + ((descriptor & 0x04) !== 0 ? 4 : 0);
  }
}

/** Where the frame's last block ends (3.1.1.2). */
function afterBlocks(buffer: Buffer, first: number): number {
  let at = first;
  while (at + 3 <= buffer.length) {
    const header = buffer.readUIntLE(at, 3);
    at += 3 + (((header >> 1) & 3) === RLE ? 1 : header >> 3);
    if ((header & 1) !== 0) return at;
  }
  return buffer.length;
}
