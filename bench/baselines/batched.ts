/**
 * The counter by hand, made fast: totals in memory, the outputs of a batch and its offsets in one Kafka transaction.
 * Exactly once for as long as it runs; after a restart, or beside a second process, the totals are wrong, and there is no
 * journal.
 */
import { amountOf, encodeTotal } from '../counter.ts';
import { readJob } from './job.ts';
import { createSink } from './sink.ts';

const { kafka, input, output, group } = readJob();

const totals = new Map<string, number>();
const sink = await createSink({ kafka, output, group });
const consumer = kafka.consumer({ groupId: group, maxWaitTimeInMs: 100, allowAutoTopicCreation: false });
await consumer.connect();
await consumer.subscribe({ topics: [input], fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachBatchAutoResolve: false,
  eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
    const outputs = [];
    for (const { key, value } of batch.messages) {
      if (key === null || value === null) continue;
      const id = key.toString();
      const total = (totals.get(id) ?? 0) + amountOf(value);
      totals.set(id, total);
      outputs.push({ key, value: encodeTotal(id, total) });
    }
    await sink.commit(batch, outputs);
    resolveOffset(batch.lastOffset());
    await heartbeat();
  },
});
