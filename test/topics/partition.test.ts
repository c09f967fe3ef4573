import { Partitioners } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { partitionFor } from '../../src/topics/partition.ts';
import { createRandom } from '../support/random.ts';

function kafkajsPartition(key: Buffer, partitions: number): number {
  return Partitioners.DefaultPartitioner()({
    topic: 'any',
    partitionMetadata: Array.from({ length: partitions }, (_, partitionId) => ({
      partitionId,
      partitionErrorCode: 0,
      leader: 0,
      replicas: [0],
      isr: [0],
    })),
    message: { key, value: null },
  });
}

describe('partitionFor', () => {
  it("puts a key where kafkajs' Java-compatible partitioner puts it, for 5,000 random keys of 0 to 40 bytes", () => {
    const random = createRandom(7);
    for (let round = 0; round < 5_000; round += 1) {
      const key = random.bytes(random.int(41));
      const partitions = 1 + random.int(64);

      expect(partitionFor(key, partitions), `${key.toString('hex')} of ${partitions}`).toBe(
        kafkajsPartition(key, partitions),
      );
    }
  });

  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])("hashes %s as Kafka's own tests say", (key, hash) => {
    expect(partitionFor(Buffer.from(key), 2 ** 31)).toBe(hash & 0x7fffffff);
  });

  it('reads a view of other memory as it reads the bytes alone', () => {
    const memory = Buffer.from('xxcart-17yy');

    expect(partitionFor(memory.subarray(2, 9), 32)).toBe(partitionFor(Buffer.from('cart-17'), 32));
  });
});
