import type { Kafka, RecordMetadata } from 'kafkajs';
import { expect, it } from 'vitest';
import { checkAcknowledged } from '../../src/topics/acknowledged.ts';
import { createTransactor } from '../../src/topics/transactor.ts';

const message = (partition: number) => ({ key: 'k', value: 'v', partition });
const ack = (topicName: string, partition: number): RecordMetadata => ({ topicName, partition, errorCode: 0 });

it('what every partition acknowledged is sent', () => {
  const sent = [
    { topic: 'a', messages: [message(0), message(1), message(0)] },
    { topic: 'b', messages: [message(0)] },
  ];
  expect(() => checkAcknowledged(sent, [ack('a', 0), ack('a', 1), ack('b', 0)])).not.toThrow();
});

it('a partition that acknowledged nothing is named', () => {
  const sent = [
    { topic: 'a', messages: [message(0), message(1)] },
    { topic: 'b', messages: [message(1), message(1)] },
  ];
  expect(() => checkAcknowledged(sent, [ack('a', 0), ack('a', 1)])).toThrow('acknowledged nothing for b/1:');
});

it('a transaction in which a partition acknowledged nothing is not committed', async () => {
  const calls: string[] = [];
  const transaction = {
    sendOffsets: async () => void calls.push('offsets'),
    // As kafkajs does it where its metadata lack a partition.
    sendBatch: async () => {
      calls.push('batch');
      return [ack('out', 0)];
    },
    commit: async () => void calls.push('commit'),
  };
  const kafka = { producer: () => ({ transaction: async () => transaction, disconnect: async () => undefined }) };
  const transactor = createTransactor({
    connect: () => kafka as unknown as Kafka,
    transactionalId: 'id',
    groupId: 'group',
    transactionTimeoutMs: 1_000,
  });
  const output = (partition: number) => ({ topic: 'out', partition, key: null, value: Buffer.from('v'), headers: [] });
  const commit = transactor.commit({ outputs: [output(0), output(1)], offsets: new Map() });
  await expect(commit).rejects.toThrow('out/1');
  expect(calls).toEqual(['offsets', 'batch']);
});
