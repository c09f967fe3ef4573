import kafkajs from 'kafkajs';
import { COMPRESSIONS, codecOf, registerCodecs } from '../../../src/topics/codecs.ts';
import { Cursor, type FuzzTarget, joined, same } from '../target.ts';

interface Codec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}

/** Batches that others compressed: they are bytes, or an error; what is compressed here comes back. */
export async function codecs(): Promise<FuzzTarget> {
  registerCodecs();
  const { CompressionCodecs } = kafkajs;
  const table = CompressionCodecs as unknown as Readonly<Record<number, () => Codec>>;
  const known = COMPRESSIONS.filter((name) => name !== 'none').map((name) => (table[codecOf(name)] as () => Codec)());
  const text = Buffer.from('{"cartId":"cart-1","quantity":2}'.repeat(20));
  const made = await Promise.all(known.map((codec) => codec.compress({ buffer: text })));
  const block = made[1] as Buffer;
  const length = Buffer.alloc(4);
  length.writeInt32BE(block.length);
  return {
    seeds: [
      ...made.map((bytes, at) => joined(at, bytes)),
      joined(1, '\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01', length, block),
      joined(3, Buffer.from('28b52ffd20012900006161', 'hex'), ''),
    ],
    words: [
      '\x82SNAPPY\x00',
      '\xff\xff\xff\xff',
      '\xff\xff\xff\xec',
      '\x04\x22\x4d\x18',
      '\x28\xb5\x2f\xfd',
      '\x1f\x8b',
    ],
    maxBytes: 2_048,
    async run(input) {
      const cursor = new Cursor(input);
      const codec = cursor.pick(known);
      const bytes = cursor.rest();
      let read: Buffer;
      try {
        read = await codec.decompress(bytes);
      } catch {
        return;
      }
      if (read.length < 65_536) {
        same(await codec.decompress(await codec.compress({ buffer: read })), read, 'what is compressed');
      }
    },
  };
}
