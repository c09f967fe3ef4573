import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { startStack } from '../../src/local/stack.ts';
import { fenceProducers } from '../../src/topics/fence.ts';
import {
  endTransactions,
  knownProducers,
  openOffsetTransactions,
  openTransactions,
} from '../../src/topics/open-transactions.ts';
import { groupOffsets } from '../../src/topics/stable-offsets.ts';
import { leaveHanging } from '../support/hanging.ts';
import { createClient, createTopic, readCommitted } from '../support/kafka.ts';
import { fileScope } from '../support/scope.ts';

/** Its broker takes what hangs: transactional writes that were never announced to the coordinator. */
const file = fileScope();
const { brokers, stop } = await startStack({
  databaseUrl: 'postgres://unused',
  kafkaConfig: { 'transaction.partition.verification.enable': 'false' },
  log: () => undefined,
});
file.onTestFinished(stop);
const kafka = createClient(brokers);

async function hanging() {
  const input = await createTopic(file, { partitions: 2, brokers });
  const output = await createTopic(file, { partitions: 2, brokers });
  const [groupId, id] = [`group-${randomUUID()}`, `id-${randomUUID()}`];
  await leaveHanging(kafka, id, {
    outputs: [{ topic: output, partition: 1, messages: [{ key: Buffer.from('k'), value: Buffer.from('v') }] }],
    groupId,
    offsets: [{ topic: input, partition: 0, offset: 7n }],
  });
  // As at every opening.
  await fenceProducers(kafka, [id], 60_000);
  const offsets = () => groupOffsets(kafka, groupId, { topics: [input, 'gone'], partitions: [0, 1], stable: true });
  return { input, output, groupId, id, offsets };
}

it.each([
  { result: 'commit', values: ['v'], offset: 7n },
  { result: 'abort', values: [], offset: undefined },
] as const)('ends with $result what hangs, which a fence does not', async ({ result, values, offset }) => {
  const { input, output, groupId, id, offsets } = await hanging();
  expect(await offsets()).toEqual({
    offsets: new Map([
      [input, new Map()],
      ['gone', new Map()],
    ]),
    pending: new Map([[input, [0]]]),
  });
  const inGroup = await openOffsetTransactions(kafka, groupId);
  const known = await knownProducers(
    kafka,
    inGroup.map(({ producerId }) => producerId),
  );
  expect(known.filter(({ transactionalId }) => transactionalId === id)).toEqual([
    { transactionalId: id, producerId: expect.any(BigInt), isUnderWay: false },
  ]);
  const of = known.find(({ transactionalId }) => transactionalId === id)?.producerId;
  const isOf = ({ producerId }: { readonly producerId: bigint }) => producerId === of;

  const onOutput = (await openTransactions(kafka, new Map([[output, [0, 1]]]))).filter(isOf);
  expect(onOutput.map(({ partition }) => partition)).toEqual([1]);
  await endTransactions(kafka, [...onOutput, ...inGroup.filter(isOf)], result);

  expect(await offsets()).toEqual({
    offsets: new Map([
      [input, new Map(offset === undefined ? [] : [[0, offset]])],
      ['gone', new Map()],
    ]),
    pending: new Map(),
  });
  const records = await readCommitted(output, 'end', { brokers });
  expect(records.map(({ value }) => String(value))).toEqual(values);
  expect((await openTransactions(kafka, new Map([[output, [0, 1]]]))).filter(isOf)).toEqual([]);
});
