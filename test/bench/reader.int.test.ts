import { describe, expect, test } from 'vitest';
import { type Counters, createCounters, encodeTotal } from '../../bench/counter.ts';
import { createReader } from '../../bench/reader.ts';
import { createClient, createTopic, produce } from '../support/kafka.ts';
import type { Scope } from '../support/scope.ts';

const PARTITIONS = 2;

/** Outputs as [number of the counter, its total], in the order in which they are written. */
async function readerOf(t: Scope, outputs: readonly (readonly [counter: number, total: number])[]) {
  const counters = createCounters(3, PARTITIONS);
  const topic = await createTopic(t, { partitions: PARTITIONS });
  for (const [counter, total] of outputs) await produce(topic, [outputOf(counters, counter, total)]);
  const reader = await createReader({ kafka: createClient(), topic, counters });
  t.onTestFinished(() => reader.close());
  return { reader, topic };
}

function outputOf(counters: Counters, counter: number, total: number) {
  const key = counters.keys[counter] as Buffer;
  const partition = counters.partitionOf[counter] as number;
  return { key, value: Buffer.from(encodeTotal(key.toString(), total)), partition };
}

describe('the reader that checks the outputs', () => {
  test('finds nothing wrong with totals that count up, and tells whose command each belongs to', async (t) => {
    const { reader } = await readerOf(t, []);
    const { reader: full } = await readerOf(t, [
      [0, 1],
      [1, 1],
      [2, 1],
      [0, 2],
    ]);
    await full.drain();
    expect([full.outputs, full.wrong]).toEqual([4, 0]);
    expect(full.allSeen).toBeDefined();
    await reader.drain();
    expect([reader.outputs, reader.wrong, reader.allSeen]).toEqual([0, 0, undefined]);
  });

  test.for([
    ['is missing', [1, 3], 'counter-0000000 gave 3 after 1'],
    ['came twice', [1, 1], 'counter-0000000 gave 1 after 1'],
    ['came out of order', [2, 1], 'counter-0000000 gave 2 after 0'],
  ] as const)('complains when an output %s', async ([, totals, problem], t) => {
    const { reader } = await readerOf(
      t,
      totals.map((total) => [0, total] as const),
    );
    await reader.drain();
    expect(reader.outputs).toBe(2);
    expect(reader.problems[0]).toBe(problem);
  });

  test('complains about an output that is none of the counters', async (t) => {
    const { reader, topic } = await readerOf(t, []);
    await produce(topic, [{ key: 'other', value: 'x', partition: 0 }]);
    await reader.drain();
    expect(reader.problems).toEqual(['an output with the key "other" is none of ours']);
  });
});
