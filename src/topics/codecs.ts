import kafkajs from 'kafkajs';
import lz4 from 'lz4-napi';
import snappy from 'snappy';
import { boundDecompression, MAX_BATCH_BYTES, tooLarge } from './decompression.ts';
import { unzstd } from './zstd.ts';

const { CompressionCodecs, CompressionTypes } = kafkajs;

/** What batches can be written in. */
export const COMPRESSIONS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

const TYPES: Readonly<Record<Compression, kafkajs.CompressionTypes>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

/** kafkajs' name of a codec. */
export function codecOf(compression: Compression): kafkajs.CompressionTypes {
  return TYPES[compression];
}

/** Header of the framing that Java's snappy stream writes: magic (8 bytes), version and compatible version (4 each). */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER = 16;

/** @throws RangeError for a claim that no `bytes` of a codec, which makes at most `ratio` of one, can hold to. */
function checkClaim(claimed: number, bytes: number, ratio: number): void {
  if (claimed <= bytes * ratio) return;
  throw new RangeError(
    `a batch of ${bytes} bytes says that it is ${claimed} bytes when it is decompressed, which it cannot be`,
  );
}

/** Snappy's longest copy makes 64 bytes of 3. Before its data stands their length, a varint. */
function checkSnappy(block: Buffer): void {
  let claimed = 0;
  for (let at = 0, scale = 1; at < 5 && at < block.length; at++, scale *= 128) {
    claimed += ((block[at] as number) & 0x7f) * scale;
    if ((block[at] as number) < 0x80) break;
  }
  checkClaim(claimed, block.length, 64 / 3);
}

/**
 * What snappy compressed, in blocks behind the header of Java's stream or as one without it. Throws for what is neither,
 * for a block that is not all there, and for one that says it is larger than it can be.
 */
export async function uncompressSnappy(buffer: Buffer): Promise<Buffer> {
  if (!buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) {
    checkSnappy(buffer);
    return uncompressed(await snappy.uncompress(buffer));
  }
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER; at < buffer.length; ) {
    const size = buffer.readInt32BE(at);
    if (size <= 0 || at + 4 + size > buffer.length)
      throw new RangeError(`a snappy block is of ${size} bytes at ${at} of ${buffer.length}`);
    const block = buffer.subarray(at + 4, at + 4 + size);
    checkSnappy(block);
    blocks.push(uncompressed(await snappy.uncompress(block)));
    at += 4 + size;
  }
  return Buffer.concat(blocks);
}

function uncompressed(value: Buffer | string): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : value;
}

/**
 * Registers the codecs that kafkajs lacks (it has gzip only), so that batches that others compressed can be read:
 * without one, a consumer crashes on such a batch. No batch may come to more than `limitBytes`, a seam for tests.
 */
export function registerCodecs(limitBytes = MAX_BATCH_BYTES): void {
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: (encoder: { buffer: Buffer }) => snappy.compress(encoder.buffer),
    decompress: uncompressSnappy,
  });
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: (encoder: { buffer: Buffer }) => lz4.compressFrame(encoder.buffer),
    decompress: (buffer: Buffer) => lz4.decompressFrame(buffer),
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    async compress(encoder: { buffer: Buffer }) {
      // Only whoever writes in it needs the WebAssembly.
      const { Zstd } = await import('@hpcc-js/wasm-zstd');
      return Buffer.from((await Zstd.load()).compress(encoder.buffer));
    },
    decompress: async (buffer: Buffer) =>
      unzstd(buffer, limitBytes, () => {
        throw tooLarge(limitBytes);
      }),
  });
  boundDecompression(limitBytes);
}
