import { randomUUID } from 'node:crypto';
import type { Producer } from 'kafkajs';
import { expect, inject, it } from 'vitest';
import { createKafka } from '../../src/topics/client.ts';
import { createTopic, produce } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';

it('a consumer that begins inside two aborted transactions gets none of their records', async (t) => {
  const topic = await createTopic(t, { partitions: 1 });
  const kafka = createKafka({
    brokers: inject('brokers'),
    clientId: 'test',
    connectionTimeoutMs: 3_000,
    requestTimeoutMs: 10_000,
    logCreator: () => () => undefined,
  });
  const producer = async (): Promise<Producer> => {
    const made = kafka.producer({ transactionalId: randomUUID(), maxInFlightRequests: 1, idempotent: true });
    await made.connect();
    t.onTestFinished(() => made.disconnect());
    return made;
  };
  const [one, other] = [await (await producer()).transaction(), await (await producer()).transaction()];
  await one.send({ topic, messages: [{ value: 'aborted, at 0' }] });
  await other.send({ topic, messages: [{ value: 'aborted, at 1' }] });
  await one.abort();
  await other.abort();
  await produce(topic, [{ value: 'committed' }]);

  const consumer = kafka.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 50 });
  t.onTestFinished(() => consumer.disconnect());
  const got: string[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ message }) => void got.push(String(message.value)),
  });
  consumer.seek({ topic, partition: 0, offset: '1' });
  await eventually('the committed record comes', () => got.includes('committed'));

  expect(got.filter((value) => value !== 'committed')).toEqual([]);
});
