import { promisify } from 'node:util';
import { unzip } from 'node:zlib';
import { Decompress } from 'fzstd';
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
 * Puts a bound to what batches come to when they are decompressed: a few kilobytes can be written so that they come to
 * gigabytes. Each codec is asked for the size first where that is told, and else stopped on the way.
 * @param limitBytes a seam for tests
 */
export function boundDecompression(limitBytes = MAX_BATCH_BYTES): void {
  bound(CompressionTypes.Snappy, (buffer) => refuseOver(snappySize(buffer), limitBytes));
  bound(CompressionTypes.LZ4, (buffer) => refuseOver(lz4Size(buffer), limitBytes));
  replace(CompressionTypes.ZSTD, async (buffer) => unzstd(buffer, limitBytes));
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

function tooLarge(limitBytes: number): StateferryError {
  return new StateferryError(
    'BATCH_TOO_LARGE',
    `a batch of a topic comes to more than ${limitBytes} bytes when it is decompressed, expected less: no process can take it. ` +
      'Find out who writes such batches, and move the group past it (kafka-consumer-groups.sh --reset-offsets) or let retention take it.',
  );
}

/** What Java's snappy stream begins with, and the length of its header. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER = 16;

/** The sum of what the blocks say that they come to; each begins with it as a varint (snappy's format description, 1). */
function snappySize(buffer: Buffer): number {
  if (!buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return varint(buffer, 0);
  let sum = 0;
  for (let at = XERIAL_HEADER; at + 4 <= buffer.length; ) {
    const size = buffer.readInt32BE(at);
    if (size <= 0) break;
    sum += varint(buffer, at + 4);
    at += 4 + size;
  }
  return sum;
}

function varint(buffer: Buffer, at: number): number {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = buffer[at++] ?? 0;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  return value;
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

function unzstd(buffer: Buffer, limitBytes: number): Buffer {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const stream = new Decompress((chunk) => {
    bytes += chunk.length;
    refuseOver(bytes, limitBytes);
    chunks.push(chunk.slice());
  });
  // In pieces: what one push comes to is handed over before the next.
  for (let at = 0; at < buffer.length; at += 4_096) {
    stream.push(buffer.subarray(at, at + 4_096), at + 4_096 >= buffer.length);
  }
  return Buffer.concat(chunks);
}
