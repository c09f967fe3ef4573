/**
 * The counter by hand, the way it is written first: for each message a SELECT and an UPSERT, then the outputs of the batch
 * and its offsets in one Kafka transaction. Not exactly once: a crash between the two counts a batch's messages twice.
 */
import pg from 'pg';
import { amountOf, encodeTotal } from '../counter.ts';
import { readJob } from './job.ts';
import { createSink } from './sink.ts';

const { kafka, databaseUrl, input, output, group } = readJob();

const client = new pg.Client({ connectionString: databaseUrl });
await client.connect();
const table = pg.escapeIdentifier(group);
await client.query(`create table ${table} (id text primary key, total integer not null)`);
const select = `select total from ${table} where id = $1`;
const upsert = `insert into ${table} values ($1, $2) on conflict (id) do update set total = excluded.total`;

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
      const { rows } = await client.query<{ total: number }>({ name: 'select', text: select, values: [id] });
      const total = (rows[0]?.total ?? 0) + amountOf(value);
      await client.query({ name: 'upsert', text: upsert, values: [id, total] });
      outputs.push({ key, value: encodeTotal(id, total) });
      await heartbeat();
    }
    await sink.commit(batch, outputs);
    resolveOffset(batch.lastOffset());
  },
});
