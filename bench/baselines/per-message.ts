/**
 * The counter by hand, the way it is written first: for each message a SELECT, an UPSERT and a produce, with the
 * partitions side by side. At least once: a crash in between counts a message twice.
 */
import pg from 'pg';
import { amountOf, encodeTotal } from '../counter.ts';
import { readJob } from './job.ts';

const { kafka, databaseUrl, input, output, group, partitions } = readJob();

const pool = new pg.Pool({ connectionString: databaseUrl, max: partitions });
const table = pg.escapeIdentifier(group);
await pool.query(`create table ${table} (id text primary key, total integer not null)`);

const producer = kafka.producer({ allowAutoTopicCreation: false });
await producer.connect();
const consumer = kafka.consumer({ groupId: group, maxWaitTimeInMs: 100, allowAutoTopicCreation: false });
await consumer.connect();
await consumer.subscribe({ topics: [input], fromBeginning: true });
await consumer.run({
  partitionsConsumedConcurrently: partitions,
  eachMessage: async ({ partition, message: { key, value } }) => {
    if (key === null || value === null) return;
    const id = key.toString();
    const { rows } = await pool.query<{ total: number }>({
      name: 'select',
      text: `select total from ${table} where id = $1`,
      values: [id],
    });
    const total = (rows[0]?.total ?? 0) + amountOf(value);
    await pool.query({
      name: 'upsert',
      text: `insert into ${table} (id, total) values ($1, $2) on conflict (id) do update set total = excluded.total`,
      values: [id, total],
    });
    await producer.send({
      topic: output,
      messages: [{ key, value: Buffer.from(encodeTotal(id, total)), partition }],
    });
  },
});
