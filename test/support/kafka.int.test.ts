import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { createClient, createTopic, endOffsets, produce, readCommitted, withAdmin } from './kafka.ts';
import { eventually } from './processes.ts';

describe('readCommitted', () => {
  it('gets every committed record and none of an aborted transaction, and knows the end behind its markers', async (t) => {
    const topic = await createTopic(t, { partitions: 2 });
    await produce(topic, [
      { key: 'a', value: '1', partition: 0, headers: { kind: 'first' } },
      { key: 'b', value: '2', partition: 1 },
    ]);
    const producer = createClient().producer({ transactionalId: topic, maxInFlightRequests: 1 });
    await producer.connect();
    t.onTestFinished(() => producer.disconnect());
    for (const [value, commit] of [
      ['aborted', false],
      ['committed', true],
      ['aborted last', false],
    ] as const) {
      const transaction = await producer.transaction();
      await transaction.send({ topic, messages: [{ key: 'a', value, partition: 0 }] });
      await (commit ? transaction.commit() : transaction.abort());
    }

    const records = await readCommitted(topic, 'end');

    const seen = records.map(({ partition, key, value }) => `${partition} ${key} ${value}`).sort();
    expect(seen).toEqual(['0 a 1', '0 a committed', '1 b 2']);
    expect(records.find((record) => record.offset === 0n && record.partition === 0)?.headers).toEqual({
      kind: 'first',
    });
    // 1 record, then three transactions of a record and a marker each.
    const known = new Map([
      [0, 7n],
      [1, 1n],
    ]);
    await eventually('the last marker is written', async () => isDeepStrictEqual(await endOffsets(topic), known));
  });

  it('resolves as soon as so many records are there', async (t) => {
    const topic = await createTopic(t, { partitions: 1 });
    const reading = readCommitted(topic, { count: 3 });
    for (const value of ['1', '2', '3']) await produce(topic, [{ value }]);
    expect((await reading).map(({ value }) => String(value))).toEqual(['1', '2', '3']);
  });

  it('says how far it came when the records do not come', async (t) => {
    const topic = await createTopic(t, { partitions: 1 });
    await produce(topic, [{ value: 'only' }]);
    await expect(readCommitted(topic, { count: 2 }, { timeoutMs: 1_500 })).rejects.toThrow(
      /read 1 committed records of .* waited for 2 records; came to 0:1/,
    );
  });

  it('is done at once with an empty topic', async (t) => {
    const topic = await createTopic(t, { partitions: 3 });
    expect(await readCommitted(topic, 'end')).toEqual([]);
  });
});

describe('createTopic', () => {
  it('makes the topic with the partitions and settings asked for', async (t) => {
    const topic = await createTopic(t, { partitions: 3, config: { 'cleanup.policy': 'compact' } });
    const { topics } = await withAdmin((admin) => admin.fetchTopicMetadata({ topics: [topic] }));
    expect(topics[0]?.partitions).toHaveLength(3);
  });
});
