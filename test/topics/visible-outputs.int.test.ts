import { randomUUID } from 'node:crypto';
import kafkajs, { type Transaction } from 'kafkajs';
import { expect, inject, it } from 'vitest';
import type { OutputRecord } from '../../src/model/record.ts';
import { seenOutputs } from '../../src/topics/visible-outputs.ts';
import { createTopic, withAdmin } from '../support/kafka.ts';
import { fileScope } from '../support/scope.ts';

const t = fileScope();
const kafka = new kafkajs.Kafka({ brokers: inject('brokers'), logLevel: kafkajs.logLevel.NOTHING });
const began = Date.now();

const output = (topic: string, text: string, partition = 0): OutputRecord => ({
  topic,
  partition,
  key: Buffer.from('key'),
  value: Buffer.from(text),
  headers: [
    ['ce_id', text],
    ['ce_type', Buffer.from('t')],
  ],
});

/** A transaction that has written these outputs, and is neither committed nor aborted. */
async function written(...outputs: readonly OutputRecord[]): Promise<Transaction> {
  const producer = kafka.producer({
    transactionalId: randomUUID(),
    maxInFlightRequests: 1,
    transactionTimeout: 30_000,
  });
  await producer.connect();
  t.onTestFinished(() => producer.disconnect());
  const transaction = await producer.transaction();
  for (const { topic, partition, key, value, headers } of outputs) {
    const message = {
      partition,
      key: key as Buffer,
      value: value as Buffer,
      headers: Object.fromEntries(headers) as never,
    };
    await transaction.send({ topic, messages: [message] });
  }
  return transaction;
}

const texts = async (outputs: readonly OutputRecord[]) =>
  [...(await seenOutputs(kafka, { outputs, after: began }))].map(({ value }) => String(value));

it('are those that are committed, on their own partition', async () => {
  const topic = await createTopic(t, { partitions: 2 });
  const [there, aborted, never, elsewhere] = ['there', 'aborted', 'never', 'elsewhere'].map((text) =>
    output(topic, text),
  );
  await (await written(there as OutputRecord, output(topic, 'elsewhere', 1))).commit();
  await (await written(aborted as OutputRecord)).abort();
  expect(await texts([there, aborted, never, elsewhere] as OutputRecord[])).toEqual(['there']);
});

it('are as many of those that are alike as there are', async () => {
  const topic = await createTopic(t, { partitions: 1 });
  await (await written(output(topic, 'alike'))).commit();
  expect(await texts([output(topic, 'alike'), output(topic, 'alike')])).toEqual(['alike']);
});

it('are told when what is open beside them has ended', async () => {
  const topic = await createTopic(t, { partitions: 1 });
  const before = await written(output(topic, 'of another one'));
  await (await written(output(topic, 'there'))).commit();
  const asked = texts([output(topic, 'there')]);
  const isEarly = await Promise.race([asked.then(() => true), before.commit().then(() => false)]);
  expect(isEarly).toBe(false);
  expect(await asked).toEqual(['there']);
});

it('may be those that retention has removed', async () => {
  const topic = await createTopic(t, { partitions: 1 });
  await (await written(output(topic, 'removed'), output(topic, 'there'))).commit();
  await withAdmin(async (admin) => {
    // It loads the metadata that the removal needs.
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '1' }] });
  });
  expect(await texts([output(topic, 'removed'), output(topic, 'never')])).toEqual(['removed', 'never']);
});
