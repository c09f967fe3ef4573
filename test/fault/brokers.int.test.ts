import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { OutputRecord } from '../../src/model/record.ts';
import { createTopics } from '../../src/topics/ensure.ts';
import { createTransactor } from '../../src/topics/transactor.ts';
import { readCommitted } from '../support/kafka.ts';
import { fileScope } from '../support/scope.ts';
import { harnessClient, withAdminOf } from './client.ts';
import { startBrokers } from './cluster.ts';

const file = fileScope();
const dir = await mkdtemp(path.join(tmpdir(), 'stateferry-brokers-'));
file.onTestFinished(() => rm(dir, { recursive: true, force: true }));
const { brokers } = await startBrokers(file, { dir, count: 3, log: () => undefined });

const TRANSACTIONS = 60;
const PARTITIONS = 6;
/** Of each partition, in each transaction. */
const RECORDS = 20;

it('with several brokers, every record of transactions one right after the other is there once and in order', async () => {
  const topics = ['replies', 'events'];
  await withAdminOf(brokers, (admin) =>
    createTopics(
      admin,
      topics.map((topic) => ({ topic, numPartitions: PARTITIONS, replicationFactor: 3 })),
    ),
  );
  const transactor = createTransactor({
    connect: () => harnessClient(brokers, 20),
    transactionalId: randomUUID(),
    groupId: randomUUID(),
    transactionTimeoutMs: 60_000,
  });
  await transactor.open();
  const sent: string[] = [];
  for (let nth = 0; nth < TRANSACTIONS; nth++) {
    const outputs = topics.flatMap((topic) =>
      Array.from({ length: PARTITIONS * RECORDS }, (_, i): OutputRecord => {
        const value = Buffer.from(`${nth}/${Math.floor(i / PARTITIONS)}`);
        return { topic, partition: i % PARTITIONS, key: null, value, headers: [] };
      }),
    );
    await transactor.commit({ outputs, offsets: new Map([[0, { replies: BigInt(nth) }]]) });
    for (let i = 0; i < RECORDS; i++) sent.push(`${nth}/${i}`);
  }
  await transactor.close();

  for (const topic of topics) {
    const read = await readCommitted(topic, 'end', { brokers, timeoutMs: 60_000 });
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const values = read.filter((record) => record.partition === partition).map(({ value }) => String(value));
      expect(values, `${topic}/${partition}`).toEqual(sent);
    }
  }
}, 180_000);
