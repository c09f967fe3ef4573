import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import kafkajs from 'kafkajs';
import lz4 from 'lz4-napi';
import snappy from 'snappy';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { registerCodecs } from '../../src/topics/codecs.ts';
import { boundDecompression } from '../../src/topics/decompression.ts';

const { CompressionCodecs, CompressionTypes } = kafkajs;
const MIB = 1024 * 1024;
const LIMIT = 4 * MIB;

type Decompress = (buffer: Buffer) => Promise<Buffer>;
const decompress = (type: number): Decompress =>
  (CompressionCodecs[type as keyof typeof CompressionCodecs] as () => { decompress: Decompress })().decompress;

/** As Java's snappy stream frames it. */
async function xerial(bytes: Buffer): Promise<Buffer> {
  const blocks: Buffer[] = [Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])];
  for (let at = 0; at < bytes.length; at += 32 * 1024) {
    const block = await snappy.compress(bytes.subarray(at, at + 32 * 1024));
    const size = Buffer.alloc(4);
    size.writeInt32BE(block.length);
    blocks.push(size, block);
  }
  return Buffer.concat(blocks);
}

/** A frame of zstd whose blocks each repeat one byte 128 KiB times (RFC 8878, 3.1.1.2), as zlib of Node 20 makes none. */
function zstdOfZeros(bytes: number): Buffer {
  const blockBytes = 128 * 1024;
  const blocks = bytes / blockBytes;
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]);
  const frame = [header];
  for (let n = 1; n <= blocks; n++) {
    const word = (blockBytes << 3) | (1 << 1) | (n === blocks ? 1 : 0);
    frame.push(Buffer.from([word & 0xff, (word >> 8) & 0xff, (word >> 16) & 0xff, 0]));
  }
  return Buffer.concat(frame);
}

beforeAll(() => {
  registerCodecs();
  boundDecompression(LIMIT);
});
afterAll(registerCodecs);

const zeros = (bytes: number) => Buffer.alloc(bytes);
const CASES: readonly [name: string, type: number, compress: (bytes: number) => Promise<Buffer> | Buffer][] = [
  ['gzip', CompressionTypes.GZIP, (bytes) => gzipSync(zeros(bytes))],
  ['snappy', CompressionTypes.Snappy, (bytes) => snappy.compress(zeros(bytes))],
  ['snappy in blocks', CompressionTypes.Snappy, (bytes) => xerial(zeros(bytes))],
  ['lz4', CompressionTypes.LZ4, (bytes) => lz4.compressFrame(zeros(bytes))],
  ['zstd', CompressionTypes.ZSTD, zstdOfZeros],
];

it.each(CASES)(
  '%s: a batch that comes to more than the limit is refused, one that comes to less is read',
  async (_, type, compress) => {
    expect((await decompress(type)(await compress(LIMIT / 2))).equals(zeros(LIMIT / 2))).toBe(true);
    await expect(decompress(type)(await compress(16 * LIMIT))).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' });
  },
);

it('lz4: what could not be compressed counts as it is', async () => {
  const random = randomBytes(LIMIT - MIB);
  expect((await decompress(CompressionTypes.LZ4)(await lz4.compressFrame(random))).equals(random)).toBe(true);
});
