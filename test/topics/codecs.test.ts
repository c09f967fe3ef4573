import { randomBytes } from 'node:crypto';
import kafkajs from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { COMPRESSIONS, codecOf, registerCodecs } from '../../src/topics/codecs.ts';
import { beforeCompression } from '../../src/topics/limits.ts';
import { unsnappy } from '../../src/topics/snappy.ts';

registerCodecs();
type Codec = { compress(encoder: { buffer: Buffer }): Promise<Buffer> };
const codecs = kafkajs.CompressionCodecs as unknown as Record<number, () => Codec>;

describe.each(COMPRESSIONS.filter((name) => name !== 'none'))('%s', (name) => {
  it.each([0, 1, 100, 5_000, 65_537, 1_048_588])('makes no more of %i bytes than a topic takes', async (most) => {
    const bytes = randomBytes(Math.max(0, beforeCompression(most)));
    const compressed = await (codecs[codecOf(name)] as () => Codec)().compress({ buffer: bytes });

    expect(compressed.length).toBeLessThanOrEqual(Math.max(most, 64));
  });
});

describe('unsnappy', () => {
  const read = (buffer: Buffer): Promise<Buffer> =>
    unsnappy(buffer, 1_000, () => {
      throw new Error('it is not that large');
    });
  const HEADER = Buffer.from('82534e41505059000000000100000001', 'hex');
  const block = (size: number, bytes: Buffer): Buffer => {
    const head = Buffer.alloc(4);
    head.writeInt32BE(size);
    return Buffer.concat([head, bytes]);
  };
  const hello = Buffer.from([5, 16, ...Buffer.from('hello')]);

  it('reads blocks behind the header of Java’s stream, and a stream without one', async () => {
    expect(String(await read(Buffer.concat([HEADER, block(7, hello), block(7, hello)])))).toBe('hellohello');
    expect(String(await read(hello))).toBe('hello');
  });

  it.each([0, -4, -20, 8, 0x7fffffff])('refuses a block that says it has %i bytes', async (size) => {
    await expect(read(Buffer.concat([HEADER, block(size, hello)]))).rejects.toThrow(/block/);
  });
});

describe('a batch that says it is far larger than it can be', () => {
  const decompress = (type: number, hex: string) =>
    (codecs[type] as unknown as () => { decompress(buffer: Buffer): Promise<Buffer> })().decompress(
      Buffer.from(hex, 'hex'),
    );

  it.each([
    ['snappy', kafkajs.CompressionTypes.Snappy, 'ffffffff01ffffef'],
    [
      'snappy in a stream of Java',
      kafkajs.CompressionTypes.Snappy,
      '82534e4150505900000000010000000100000008ffffffff01ffffef',
    ],
    ['zstd, by its content', kafkajs.CompressionTypes.ZSTD, '28b52ffda000000040'],
    ['zstd, by its window', kafkajs.CompressionTypes.ZSTD, '28b52ffd00a8010000'],
  ])('is refused before room is made for it: %s', async (_title, type, hex) => {
    await expect(decompress(type, hex)).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' });
  });

  it.each([
    ['snappy', kafkajs.CompressionTypes.Snappy, '80c2d72f01ffffef'],
    ['zstd', kafkajs.CompressionTypes.ZSTD, '28b52ffda00000000701000000'],
  ])(
    'is refused though a larger batch would be read, where its bytes cannot come to so much: %s',
    async (_title, type, hex) => {
      await expect(decompress(type, hex)).rejects.toThrow('which it cannot be');
    },
  );

  it('has no room made for a window that its blocks cannot fill, and is read', async () => {
    // 64 MiB, and one last block without compression.
    const before = process.memoryUsage().arrayBuffers;
    const read = await decompress(kafkajs.CompressionTypes.ZSTD, '28b52ffd0080190000616161');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
    expect(read.toString()).toBe('aaa');
  });

  it('a batch with a window larger than all of it, far back references and several frames is read', async () => {
    const { Zstd } = await import('@hpcc-js/wasm-zstd');
    const zstd = await Zstd.load();
    const text = Buffer.concat([randomBytes(300_000), Buffer.alloc(500_000, 'ab')]);
    const twice = Buffer.concat([text, text]);
    const frame = Buffer.from(zstd.compress(twice, 19));
    const read = (await (
      codecs[kafkajs.CompressionTypes.ZSTD] as unknown as () => { decompress(buffer: Buffer): Promise<Buffer> }
    )().decompress(Buffer.concat([frame, frame]))) as Buffer;
    expect(read.equals(Buffer.concat([twice, twice]))).toBe(true);
  });
});
