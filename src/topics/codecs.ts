import kafkajs from 'kafkajs';
import lz4 from 'lz4-napi';
import snappy from 'snappy';
import { boundDecompression, MAX_BATCH_BYTES, tooLarge } from './decompression.ts';
import { unsnappy } from './snappy.ts';
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

/**
 * Registers the codecs that kafkajs lacks (it has gzip only), so that batches that others compressed can be read:
 * without one, a consumer crashes on such a batch. No batch may come to more than `limitBytes`, a seam for tests.
 */
export function registerCodecs(limitBytes = MAX_BATCH_BYTES): void {
  const refuse = (): never => {
    throw tooLarge(limitBytes);
  };
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: (encoder: { buffer: Buffer }) => snappy.compress(encoder.buffer),
    decompress: (buffer: Buffer) => unsnappy(buffer, limitBytes, refuse),
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
    decompress: async (buffer: Buffer) => unzstd(buffer, limitBytes, refuse),
  });
  boundDecompression(limitBytes);
}
