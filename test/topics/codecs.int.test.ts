import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { promisify } from 'node:util';
import kafkajs from 'kafkajs';
import { expect, inject, it } from 'vitest';
import type { OutputRecord } from '../../src/model/record.ts';
import { type Compression, codecOf, registerCodecs } from '../../src/topics/codecs.ts';
import { createTransactor } from '../../src/topics/transactor.ts';
import { createTopic, produce, readCommitted } from '../support/kafka.ts';
import { fileScope } from '../support/scope.ts';

const t = fileScope();
const brokers = inject('brokers').join(',');

/** librdkafka's codecs are others than Java's and ours. */
const kcat = (() => {
  try {
    execFileSync('kcat', ['-V'], { stdio: 'ignore' });
    return true;
  } catch {
    console.log('kcat is not installed: what librdkafka compresses is not read, and nothing that it is given.');
    return false;
  }
})();

registerCodecs();
const { CompressionCodecs, CompressionTypes } = kafkajs;
type Codec = { compress(encoder: unknown): Promise<Buffer>; decompress(buffer: Buffer): Promise<Buffer> };
const codecs = CompressionCodecs as unknown as Record<number, () => Codec>;
const decompressed = new Map<number, number>();
for (const type of [1, 2, 3, 4]) {
  const codec = (codecs[type] as () => Codec)();
  codecs[type] = () => ({
    ...codec,
    decompress: (buffer) => {
      decompressed.set(type, (decompressed.get(type) ?? 0) + 1);
      return codec.decompress(buffer);
    },
  });
}
const timesOf = (type: number): number => decompressed.get(type) ?? 0;

/** What compresses well, what does not, and what is empty. */
const VALUES = [
  ...Array.from({ length: 200 }, (_, n) => Buffer.from(`{"cartId":"cart-${n}","quantity":${n}}`)),
  ...Array.from({ length: 20 }, () => randomBytes(20_000)),
  Buffer.alloc(0),
];

async function expectRead(topic: string): Promise<void> {
  const read = await readCommitted(topic, { count: VALUES.length });
  expect(read.map(({ value }) => value?.toString('hex'))).toEqual(VALUES.map((value) => value.toString('hex')));
}

it.each<Exclude<Compression, 'none'>>(['gzip', 'snappy', 'lz4', 'zstd'])(
  'the broker and others read what is written in %s',
  async (compression) => {
    const topic = await createTopic(t, { partitions: 1 });
    const transactor = createTransactor({
      connect: () => new kafkajs.Kafka({ brokers: inject('brokers'), logLevel: kafkajs.logLevel.NOTHING }),
      transactionalId: `test-${randomUUID()}`,
      groupId: randomUUID(),
      transactionTimeoutMs: 10_000,
      compression,
    });
    await transactor.open();
    t.onTestFinished(() => transactor.close());
    const before = timesOf(codecOf(compression));

    const outputs = VALUES.map(
      (value): OutputRecord => ({ topic, partition: 0, key: Buffer.from('k'), value, headers: [['h', 'x']] }),
    );
    await transactor.commit({ outputs, offsets: new Map([[0, { [topic]: 1n }]]) });

    await expectRead(topic);
    expect(timesOf(codecOf(compression))).toBeGreaterThan(before);
    if (!kcat) return;
    const { stdout } = await promisify(execFile)(
      'kcat',
      ['-C', '-b', brokers, '-t', topic, '-e', '-q', '-o', 'beginning', '-X', 'check.crcs=true', '-f', '%S %h\n'],
      { maxBuffer: 1_000_000 },
    );
    expect(stdout.trim().split('\n')).toEqual(VALUES.map((value) => `${value.length} h=x`));
  },
);

it.each([
  ['gzip', CompressionTypes.GZIP],
  ['snappy', CompressionTypes.Snappy],
  ['lz4', CompressionTypes.LZ4],
  ['zstd', CompressionTypes.ZSTD],
])("what Kafka's own %s compresses is read, and what librdkafka's does", async (name, type) => {
  // The broker writes what it is given anew, with the libraries of the Java clients.
  const topic = await createTopic(t, { partitions: 1, config: { 'compression.type': name } });
  const before = timesOf(type);
  await produce(
    topic,
    VALUES.map((value) => ({ key: 'k', value, partition: 0 })),
  );
  await expectRead(topic);
  expect(timesOf(type)).toBeGreaterThan(before);
  if (!kcat) return;
  const from = await createTopic(t, { partitions: 1 });
  const child = spawn('kcat', ['-P', '-b', brokers, '-t', from, '-z', name, '-X', 'linger.ms=100'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  child.stdin.end(Array.from({ length: 500 }, (_, n) => `a line, number ${n}\n`).join(''));
  expect(await once(child, 'exit')).toEqual([0, null]);
  const between = timesOf(type);
  const read = await readCommitted(from, { count: 500 });
  expect(read.map(({ value }) => String(value))).toEqual(Array.from({ length: 500 }, (_, n) => `a line, number ${n}`));
  expect(timesOf(type)).toBeGreaterThan(between);
});
