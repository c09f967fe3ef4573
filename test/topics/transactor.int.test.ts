import { randomUUID } from 'node:crypto';
import kafkajs from 'kafkajs';
import { expect, inject, it } from 'vitest';
import type { OutputRecord } from '../../src/model/record.ts';
import { fenceProducers } from '../../src/topics/fence.ts';
import { committedOffsets } from '../../src/topics/offsets.ts';
import { groupOffsets } from '../../src/topics/stable-offsets.ts';
import { createTransactor } from '../../src/topics/transactor.ts';
import { createTopic, readCommitted, withAdmin } from '../support/kafka.ts';
import { fileScope } from '../support/scope.ts';

const t = fileScope();
const client = () => new kafkajs.Kafka({ brokers: inject('brokers'), logLevel: kafkajs.logLevel.NOTHING });

async function openTransactor(groupId: string, topics?: readonly string[]) {
  const transactor = createTransactor({
    connect: client,
    transactionalId: `test-${randomUUID()}`,
    groupId,
    ...(topics && { topics }),
    transactionTimeoutMs: 10_000,
  });
  await transactor.open();
  t.onTestFinished(() => transactor.close());
  return transactor;
}

const record = (topic: string, n: number, bytes = 10): OutputRecord => ({
  topic,
  partition: n % 2,
  key: Buffer.from(String(n)),
  value: Buffer.alloc(bytes, n),
  headers: [['n', String(n)]],
});

it('commits transactions of offsets alone one right after the other', async () => {
  const topic = await createTopic(t, { partitions: 2 });
  const groupId = randomUUID();
  const transactor = await openTransactor(groupId);
  for (let offset = 1n; offset <= 30n; offset++) {
    await transactor.commit({ outputs: [], offsets: new Map([[1, { [topic]: offset }]]) });
  }
  const committed = await withAdmin((admin) => committedOffsets(admin, groupId, [topic]));
  expect(committed.get(topic)).toEqual(new Map([[1, 30n]]));
});

it('holds nothing by being opened, whatever it is going to write to', async () => {
  const topic = await createTopic(t, { partitions: 2 });
  const groupId = randomUUID();
  const transactor = await openTransactor(groupId, [topic]);
  const ends = await withAdmin((admin) => admin.fetchTopicOffsets(topic));
  expect(ends.map(({ high }) => high)).toEqual(['0', '0']);
  const { pending, offsets } = await groupOffsets(client(), groupId, {
    topics: [topic],
    partitions: [0, 1],
    stable: true,
  });
  expect([pending.size, offsets.get(topic)?.size]).toEqual([0, 0]);
  await transactor.commit({ outputs: [record(topic, 1)], offsets: new Map([[0, { [topic]: 1n }]]) });
  expect((await readCommitted(topic, 'end')).map((r) => r.key?.toString())).toEqual(['1']);
  const committed = await withAdmin((admin) => committedOffsets(admin, groupId, [topic]));
  expect(committed.get(topic)).toEqual(new Map([[0, 1n]]));
});

it('keeps the order of each partition through many requests of one transaction', async () => {
  const topic = await createTopic(t, { partitions: 2 });
  const transactor = await openTransactor(randomUUID());
  const outputs = Array.from({ length: 1_500 }, (_, n) => record(topic, n, n % 100 === 0 ? 60_000 : 10));
  await transactor.commit({ outputs, offsets: new Map([[0, { [topic]: 1n }]]) });
  const read = await readCommitted(topic, { count: 1_500 });
  for (const partition of [0, 1]) {
    const seen = read.filter((r) => r.partition === partition).map((r) => Number(r.key?.toString()));
    expect(seen).toEqual(outputs.filter((o) => o.partition === partition).map((o) => Number(o.key?.toString())));
  }
});

it('is refused once its id was fenced, and leaves nothing visible', async () => {
  const topic = await createTopic(t, { partitions: 2 });
  const groupId = randomUUID();
  const transactor = await openTransactor(groupId);
  await transactor.commit({ outputs: [record(topic, 1)], offsets: new Map([[0, { [topic]: 1n }]]) });
  await fenceProducers(client(), [transactor.transactionalId], 10_000);
  await expect(
    transactor.commit({ outputs: [record(topic, 2)], offsets: new Map([[0, { [topic]: 2n }]]) }),
  ).rejects.toThrow();
  expect((await readCommitted(topic, 'end')).map((r) => r.key?.toString())).toEqual(['1']);
  const committed = await withAdmin((admin) => committedOffsets(admin, groupId, [topic]));
  expect(committed.get(topic)?.get(0)).toBe(1n);
});
