import { randomUUID } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import kafkajs, { CompressionTypes } from 'kafkajs';
import { expect, inject, it, type TestContext } from 'vitest';
import { freePorts } from '../../src/local/ports.ts';
import { createKafka } from '../../src/topics/client.ts';
import { Fetcher } from '../../src/topics/fetcher.ts';
import type { RecordBatch } from '../../src/topics/read-ahead.ts';
import { createTopic, produce, withAdmin } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';

const clientOf = (brokers: readonly string[]) =>
  createKafka({
    brokers,
    clientId: 'test',
    connectionTimeoutMs: 3_000,
    requestTimeoutMs: 10_000,
    logCreator: () => () => undefined,
  });
const kafka = clientOf(inject('brokers'));

interface Fetched {
  readonly fetcher: Fetcher;
  /** `partition/offset value` of all that came, in order. */
  readonly got: string[];
  readonly removed: { partition: number; from: bigint; to: bigint }[];
  onBatch: (batch: RecordBatch) => void;
}

async function open(t: TestContext, topic: string, maxWaitMs = 50): Promise<Fetched> {
  const opened: Omit<Fetched, 'fetcher'> = { got: [], removed: [], onBatch: () => undefined };
  const fetcher = new Fetcher({
    kafka,
    topics: [topic],
    maxWaitMs,
    maxBytesPartition: 256 * 1024,
    onRecords(batch) {
      opened.onBatch(batch);
      for (const { partition, offset, value } of batch.records) opened.got.push(`${partition}/${offset} ${value}`);
    },
    onRemoved: ({ partition, from, to }) => opened.removed.push({ partition, from, to }),
    onCrash: (error) => {
      throw error;
    },
  });
  await fetcher.start();
  t.onTestFinished(() => fetcher.stop());
  return Object.assign(opened, { fetcher });
}

const values = (...those: string[]) => those.map((value) => ({ value, partition: 0 }));

it('brings the committed records of a partition, in order, from the offset that it is sent to', async (t) => {
  const topic = await createTopic(t, { partitions: 1 });
  const producer = kafka.producer({ transactionalId: randomUUID(), maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  t.onTestFinished(() => producer.disconnect());
  await produce(topic, values('before'));
  const aborted = await producer.transaction();
  await aborted.send({ topic, messages: values('aborted') });
  await aborted.abort();
  const committed = await producer.transaction();
  // One batch, which comes whole: from its middle on.
  await committed.send({ topic, compression: CompressionTypes.GZIP, messages: values('a', 'b', 'c') });
  await committed.commit();
  await produce(topic, values('last'));

  const all = await open(t, topic);
  all.fetcher.seek(topic, 0, 0n);
  all.fetcher.want(topic, 0, true);
  await eventually('the last one comes', () => all.got.some((line) => line.endsWith('last')));
  expect(all.got).toEqual(['0/0 before', '0/3 a', '0/4 b', '0/5 c', '0/7 last']);

  const some = await open(t, topic);
  some.fetcher.seek(topic, 0, 4n);
  some.fetcher.want(topic, 0, true);
  await eventually('the last one comes', () => some.got.some((line) => line.endsWith('last')));
  expect(some.got).toEqual(['0/4 b', '0/5 c', '0/7 last']);
});

it('brings nothing of a partition that is not wanted, and goes on where it was once it is', async (t) => {
  const topic = await createTopic(t, { partitions: 2 });
  const { fetcher, got } = await open(t, topic);
  for (const partition of [0, 1]) {
    fetcher.seek(topic, partition, 0n);
    fetcher.want(topic, partition, true);
  }
  await produce(topic, [
    { value: 'one', partition: 0 },
    { value: 'one', partition: 1 },
  ]);
  await eventually('both come', () => got.length === 2);
  fetcher.want(topic, 0, false);
  await produce(topic, [{ value: 'two', partition: 0 }]);
  await produce(topic, [{ value: 'two', partition: 1 }]);
  await eventually('the wanted one comes', () => got.length === 3);
  fetcher.want(topic, 0, true);
  await eventually('the other one comes', () => got.length === 4);
  expect(got.slice(2)).toEqual(['1/1 two', '0/1 two']);
});

it('asks at once for all partitions that are wanted in one turn', async (t) => {
  const topic = await createTopic(t, { partitions: 2 });
  await produce(topic, [{ value: 'there already', partition: 1 }]);
  // The broker holds a request open for as long as the first partition alone has nothing new.
  const { fetcher, got } = await open(t, topic, 6_000);
  for (const partition of [0, 1]) {
    fetcher.seek(topic, partition, 0n);
    fetcher.want(topic, partition, true);
  }
  await eventually('it comes before that', () => got.length === 1, 3_500);
  expect(got).toEqual(['1/0 there already']);
});

it('brings nothing more of the former position once it was sent elsewhere', async (t) => {
  const topic = await createTopic(t, { partitions: 1 });
  const fetched = await open(t, topic);
  await produce(topic, values('a', 'b', 'c'));
  let turns = 0;
  fetched.onBatch = () => {
    turns++;
    // Within the answer that moves the position on.
    if (turns === 1) fetched.fetcher.seek(topic, 0, 1n);
  };
  fetched.fetcher.seek(topic, 0, 0n);
  fetched.fetcher.want(topic, 0, true);
  await eventually('it comes again', () => turns === 2);
  expect(fetched.got).toEqual(['0/0 a', '0/1 b', '0/2 c', '0/1 b', '0/2 c']);
});

it('goes on with the oldest record, and says so, where the next one was removed', async (t) => {
  const topic = await createTopic(t, { partitions: 1 });
  await produce(topic, values('a', 'b', 'c'));
  await withAdmin(async (admin) => {
    // Deleting needs metadata, and does not ask for it.
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '2' }] });
  });
  const { fetcher, got, removed } = await open(t, topic);
  fetcher.seek(topic, 0, 1n);
  fetcher.want(topic, 0, true);
  await eventually('the oldest comes', () => got.length === 1);
  expect(got).toEqual(['0/2 c']);
  expect(removed).toEqual([{ partition: 0, from: 1n, to: 2n }]);
});

it('a topic that is not there is told at the start', async () => {
  const topic = `missing-${randomUUID()}`;
  const options = { kafka, topics: [topic], maxWaitMs: 50, maxBytesPartition: 1_024 };
  const ignore = () => undefined;
  const fetcher = new Fetcher({ ...options, onRecords: ignore, onRemoved: ignore, onCrash: ignore });
  await expect(fetcher.start()).rejects.toThrow(kafkajs.KafkaJSProtocolError);
  await fetcher.stop();
});

it('that is stopped while it looks for a broker leaves no connection to one that comes back', async (t) => {
  const topic = await createTopic(t, { partitions: 1 });
  const [host = '', brokerPort] = inject('brokers')[0]?.split(':') ?? [];
  const [port = 0] = await freePorts(1);
  const open = new Set<Socket>();
  let connections = 0;
  const broker = createServer((client) => {
    connections++;
    open.add(client);
    const server = connect(Number(brokerPort), host);
    client.pipe(server).pipe(client);
    for (const socket of [client, server]) socket.on('error', () => undefined);
    client.on('close', () => open.delete(client));
  });
  t.onTestFinished(() => {
    for (const client of open) client.destroy();
    broker.close();
  });
  const ignore = () => undefined;
  const fetcher = new Fetcher({
    kafka: clientOf([`127.0.0.1:${port}`]),
    topics: [topic],
    maxWaitMs: 50,
    maxBytesPartition: 1_024,
    onRecords: ignore,
    onRemoved: ignore,
    onCrash: ignore,
  });
  const started = expect(fetcher.start()).rejects.toThrow();
  await fetcher.stop();
  broker.listen(port, '127.0.0.1');
  await started;
  expect(connections).toBeGreaterThan(0);
  await eventually('all connections are closed', () => open.size === 0);
});
