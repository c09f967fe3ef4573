import { decompress as zstdDecompress } from 'fzstd';
import kafkajs from 'kafkajs';
import lz4 from 'lz4-napi';
import snappy from 'snappy';
import { boundDecompression } from './decompression.ts';

const { CompressionCodecs, CompressionTypes } = kafkajs;

/** What batches can be written in. zstd is read only: there is no compressor of it that npm alone brings to Node 20. */
export const COMPRESSIONS = ['none', 'gzip', 'snappy', 'lz4'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

const TYPES: Readonly<Record<Compression, kafkajs.CompressionTypes>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
};

/** kafkajs' name of a codec. */
export function codecOf(compression: Compression): kafkajs.CompressionTypes {
  return TYPES[compression];
}

/** Header of the framing that Java's snappy stream writes: magic (8 bytes), version and compatible version (4 each). */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER = 16;

/**
 * What snappy compressed, in blocks behind the header of Java's stream or as one without it. Throws for what is neither,
 * and for a block that is not all there.
 */
export async function uncompressSnappy(buffer: Buffer): Promise<Buffer> {
  if (!buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC))
    return uncompressed(await snappy.uncompress(buffer));
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER; at < buffer.length; ) {
    const size = buffer.readInt32BE(at);
    if (size <= 0 || at + 4 + size > buffer.length)
      throw new RangeError(`a snappy block is of ${size} bytes at ${at} of ${buffer.length}`);
    blocks.push(uncompressed(await snappy.uncompress(buffer.subarray(at + 4, at + 4 + size))));
    at += 4 + size;
  }
  return Buffer.concat(blocks);
}

function uncompressed(value: Buffer | string): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : value;
}

/**
 * Registers the codecs that kafkajs lacks (it has gzip only), so that batches that others compressed can be read:
 * without one, a consumer crashes on such a batch.
 */
export function registerCodecs(): void {
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: (encoder: { buffer: Buffer }) => snappy.compress(encoder.buffer),
    decompress: uncompressSnappy,
  });
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: (encoder: { buffer: Buffer }) => lz4.compressFrame(encoder.buffer),
    decompress: (buffer: Buffer) => lz4.decompressFrame(buffer),
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: () => {
      throw new TypeError('batches are read in zstd here, and never written in it');
    },
    decompress: async (buffer: Buffer) => Buffer.from(zstdDecompress(buffer)),
  });
  boundDecompression();
}
