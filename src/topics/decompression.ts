import { promisify } from 'node:util';
import { unzip } from 'node:zlib';
import kafkajs from 'kafkajs';
import { StateferryError } from '../errors.ts';

const { CompressionCodecs, CompressionTypes } = kafkajs;

/**
 * What one batch may come to, in bytes: room for batches of Kafka's default size (1 MiB) that shrank to less than a hundredth,
 * and no more than a process can spare.
 */
export const MAX_BATCH_BYTES = 128 * 1024 * 1024;

interface Codec {
  compress(encoder: { buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}

/**
 * Puts a bound to what batches in gzip and lz4 come to when they are decompressed: a few kilobytes can be written so that they come to
 * gigabytes. Each codec is asked for the size first where that is told, and else stopped on the way.
 */
export function boundDecompression(limitBytes: number): void {
  bound(CompressionTypes.LZ4, (buffer) => refuseOver(lz4Size(buffer), limitBytes));
  replace(CompressionTypes.GZIP, async (buffer) => {
    try {
      return await promisify(unzip as (data: Buffer, options: object, done: Done) => void)(buffer, {
        maxOutputLength: limitBytes,
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limitBytes);
      throw error;
    }
  });
}

type Done = (error: Error | null, result: Buffer) => void;

function bound(type: number, check: (buffer: Buffer) => void): void {
  const inner = codecOf(type);
  replace(type, async (buffer) => {
    check(buffer);
    return inner.decompress(buffer);
  });
}

function replace(type: number, decompress: Codec['decompress']): void {
  const inner = codecOf(type);
  CompressionCodecs[type as keyof typeof CompressionCodecs] = () => ({
    ...inner,
    compress: inner.compress,
    decompress,
  });
}

/** kafkajs has its own codec of gzip as an object that is made by a function, too. */
function codecOf(type: number): Codec {
  return (CompressionCodecs[type as keyof typeof CompressionCodecs] as () => Codec)();
}

function refuseOver(bytes: number, limitBytes: number): void {
  if (bytes > limitBytes) throw tooLarge(limitBytes);
}

/** What a batch is refused with that comes to more. */
export function tooLarge(limitBytes: number): StateferryError {
  const error = new StateferryError(
    'BATCH_TOO_LARGE',
    `a batch of a topic comes to more than ${limitBytes} bytes when it is decompressed, expected less: no process can take it. ` +
      'Find out who writes such batches, and move the group past it (kafka-consumer-groups.sh --reset-offsets) or let retention take it.',
  );
  // What kafkajs looks at: to fetch it again would not make it smaller.
  return Object.assign(error, { retriable: false });
}

/** Of a frame's descriptor (LZ4's frame format description). */
const LZ4_BLOCK_BYTES = [65_536, 65_536, 65_536, 65_536, 65_536, 262_144, 1_048_576, 4_194_304];
const LZ4_STORED = 0x8000_0000;

/** What the frame's blocks come to at most: all but the last are full where they were written by any known compressor. */
function lz4Size(buffer: Buffer): number {
  if (buffer.length < 7) return 0;
  const flags = buffer[4] ?? 0;
  const blockBytes = LZ4_BLOCK_BYTES[((buffer[5] ?? 0) >> 4) & 7] ?? 65_536;
  const checksum = flags & 0x10 ? 4 : 0;
  let at = 6 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0) + 1;
  let sum = 0;
  let last = 0;
  while (at + 4 <= buffer.length) {
    const word = buffer.readUInt32LE(at);
    if (word === 0) break;
    const size = word % LZ4_STORED;
    // LZ4 shrinks nothing to less than a 255th.
    last = word >= LZ4_STORED ? size : Math.min(blockBytes, size * 255);
    sum += last;
    at += 4 + size + checksum;
  }
  return sum;
}
