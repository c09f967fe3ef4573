import pg from 'pg';
import { expect, inject, it } from 'vitest';
import { decodeOutbox } from '../../src/codec/outbox.ts';
import { diff } from '../../src/commands/diff.ts';
import { reprocess } from '../../src/commands/reprocess.ts';
import { loadConfig } from '../../src/config/load.ts';
import { COMPONENTS, DESK_SERVICE, ORDER_SERVICE, ORDERS } from '../bad-input/orders.ts';
import { createTopic, produce, type ReadRecord, readCommitted, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { replyWith, startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';

const PASSED = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'x-tenant-id': 'north' };

it('headers that are to go on are on all that comes of a record, however far, and on all that a reprocess makes of it', async (t) => {
  const fn = await startScriptedFunction(t, {
    descriptor: ORDERS,
    components: COMPONENTS,
    onCommand: ({ id, input }) => ({
      reply: {
        command_id: id,
        ...replyWith(fn.pack('orders.Done', { text: String(input.text) })),
        events: [fn.pack('orders.Placed', { text: String(input.text) })],
        side_effects: [
          {
            service_name: DESK_SERVICE,
            command_name: 'Log',
            payload: fn.pack('orders.Slip', { text: String(input.text) }),
            synchronous: false,
          },
        ],
      },
    }),
    onAction: ({ input }) => ({ reply: { payload: fn.pack('orders.Done', { text: String(input.text) }) } }),
  });
  const topic = () => createTopic(t, { partitions: 1 });
  const [orders, replies, events, logged] = await Promise.all([topic(), topic(), topic(), topic()]);
  const assumed = {
    'kafka.brokers': inject('brokers'),
    'deployment.name': deploymentName(t),
    'postgres.url': await createDatabase(t),
    'function.url': fn.url,
    'journal.keepInputs': true,
    'topics.subscriptions': [{ topic: orders, service: ORDER_SERVICE, method: 'Place', format: 'json' }],
    'topics.destinations': {
      replies: [
        { service: ORDER_SERVICE, method: 'Place', topic: replies },
        { service: DESK_SERVICE, method: 'Log', topic: logged },
      ],
      events: [{ entityType: 'orders', topic: events }],
    },
    'topics.passHeaders': ['traceparent', 'x-tenant-*'],
  };
  const runtime = startRuntime(t, assumed);
  await runtime.ready();
  const value = JSON.stringify({ id: 'a', text: 'it' });
  await produce(orders, [
    { key: 'a', value, headers: { TraceParent: PASSED.traceparent, 'x-tenant-id': PASSED['x-tenant-id'], other: 'o' } },
  ]);
  const passedOf = ({ headers }: Pick<ReadRecord, 'headers'>) =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => /^(traceparent|x-tenant-id|other)$/i.test(name)));
  for (const output of [replies, events, logged]) {
    const [record] = await readCommitted(output, { count: 1 });
    expect(passedOf(record as ReadRecord)).toEqual(PASSED);
  }
  await runtime.stop();

  // What the topic has no more, the journal has kept, with its headers.
  await withAdmin(async (admin) => {
    // kafkajs looks for the leaders only among topics that it has been asked for.
    await admin.fetchTopicOffsets(orders);
    await admin.deleteTopicRecords({ topic: orders, partitions: [{ partition: 0, offset: '-1' }] });
  });
  const { config } = loadConfig({ argvFlags: {}, env: {}, cwd: '/', readFile: () => undefined, assumed });
  const said: string[] = [];
  const out = { write: (text: string) => said.push(text) };
  const io = { out, err: out, signal: AbortSignal.any([]) };
  const options = {
    functionUrl: undefined,
    state: undefined,
    components: undefined,
    perSecond: undefined,
    follow: false,
  } as const;
  expect(
    await reprocess(config, { kind: 'start', name: 'again', mode: 'cascade', from: 'beginning', ...options }, io),
    said.join(''),
  ).toBe(0);
  const journal = new pg.Client({ connectionString: assumed['postgres.url'] });
  await journal.connect();
  const { rows } = await journal.query<{ records: Buffer }>(
    'select o.records from stateferry.outbox o join stateferry.generation g using (generation) where g.name = $1 order by chunk',
    ['again'],
  );
  await journal.end();
  const made = rows.flatMap(({ records }) => decodeOutbox(records));
  expect(made.map((output) => output.topic)).toEqual(expect.arrayContaining([replies, events, logged]));
  for (const { topic: to, headers } of made) {
    const text = Object.fromEntries(headers.map(([name, held]) => [name, Buffer.from(held as Uint8Array).toString()]));
    if ([replies, events, logged].includes(to)) expect(passedOf({ headers: text }), to).toEqual(PASSED);
  }
  const same = await diff(config, { name: 'again', json: false, html: undefined, ignore: [] }, io);
  expect(same, said.join('')).toBe(0);
  expect(await reprocess(config, { kind: 'discard', name: 'again' }, io)).toBe(0);
});
