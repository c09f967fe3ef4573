import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { startFunction } from '../support/function-process.ts';
import { createTopic, produce, type ReadRecord, readCommitted } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { discoverRaw, openEntity } from '../support/raw-function.ts';
import { fileScope } from '../support/scope.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';

const SERVICE = 'shop.ShoppingCart';

const file = fileScope();
const fn = await startFunction(file, { source: 'cart-cloudstate' });
const raw = await discoverRaw(file, fn);

const openCart = (id: string, init = {}) => openEntity(raw, { kind: 'event-sourced', service: SERVICE, id, init });
const add = (userId: string, productId: string, quantity: number) =>
  raw.pack('shop.AddLineItem', { userId, productId, name: `A ${productId}`, quantity });
const item = (productId: string, quantity: number) => ({ productId, name: `A ${productId}`, quantity });

describe('the Cloudstate cart example', () => {
  it('offers one event sourced entity, and tells no protocol version', () => {
    expect(raw.spec).toEqual({
      entities: [
        { entity_type: 'cloudstate.eventsourced.EventSourced', service_name: SERVICE, persistence_id: 'carts' },
      ],
      service_info: {
        service_name: 'stateferry-example-cart-cloudstate',
        service_version: '0.1.0',
        service_runtime: expect.stringContaining(process.version),
        support_library_name: 'cloudstate',
        support_library_version: '0.0.3',
      },
    });
  });

  it('emits what is put in and taken out, and fails what cannot be, without an event', async () => {
    const cart = openCart('c1');

    expect(await cart.command('AddItem', add('c1', 'pen', 2))).toEqual({
      reply: {
        command_id: 1,
        client_action: { reply: { payload: { '@type': 'google.protobuf.Empty' } } },
        events: [{ '@type': 'shop.domain.ItemAdded', item: item('pen', 2) }],
      },
    });
    expect(await cart.command('AddItem', add('c1', 'pen', 0))).toEqual({
      reply: {
        command_id: 2,
        client_action: { failure: { command_id: 2, description: 'Cannot add negative quantity of item pen' } },
      },
    });
    const remove = (productId: string) => raw.pack('shop.RemoveLineItem', { userId: 'c1', productId });
    expect(await cart.command('RemoveItem', remove('ink'))).toMatchObject({
      reply: {
        client_action: { failure: { description: 'Cannot remove item ink because it is not in the cart.' } },
      },
    });
    expect(await cart.command('RemoveItem', remove('pen'))).toMatchObject({
      reply: { events: [{ '@type': 'shop.domain.ItemRemoved', productId: 'pen' }] },
    });
  });

  it('goes on from a snapshot and later events as if it had never been away', async () => {
    const cart = openCart('c2', {
      snapshot: { snapshot_sequence: 5, snapshot: raw.pack('shop.domain.Cart', { items: [item('pen', 5)] }) },
    });
    cart.replay(6, raw.pack('shop.domain.ItemAdded', { item: item('ink', 1) }));

    expect(await cart.command('GetCart', raw.pack('shop.GetShoppingCart', { userId: 'c2' }))).toMatchObject({
      reply: { client_action: { reply: { payload: { items: [item('pen', 5), item('ink', 1)] } } } },
    });
  });

  it('is not troubled by metadata, which its SDK does not know', async () => {
    const stream = raw.open(raw.names.eventSourced);
    stream.send({ init: { service_name: SERVICE, entity_id: 'c3' } });
    const metadata = { entries: [{ key: 'ce-id', string_value: 'x' }] };
    stream.send({ command: { entity_id: 'c3', id: 1, name: 'AddItem', payload: add('c3', 'pen', 1), metadata } });

    expect(await stream.next()).toMatchObject({ reply: { events: [{ item: item('pen', 1) }] } });
  });
});

describe('the Cloudstate cart example behind a runtime', () => {
  it('keeps its carts through a restart of the function, from a snapshot and the events after it', async (t) => {
    const [adds, removes, gets, replies, events, deadLetters] = (await Promise.all(
      ['adds', 'removes', 'gets', 'replies', 'events', 'dead-letters'].map((name) =>
        createTopic(t, { partitions: 1, name }),
      ),
    )) as [string, string, string, string, string, string];
    const databaseUrl = await createDatabase(t);
    const journal = new pg.Pool({ connectionString: databaseUrl, max: 1, options: '-c search_path=stateferry' });
    t.onTestFinished(() => journal.end());
    const runtime = startRuntime(t, {
      'deployment.name': deploymentName(t),
      'postgres.url': databaseUrl,
      'function.url': `http://${fn.url}`,
      'topics.subscriptions': [
        { topic: adds, service: SERVICE, method: 'AddItem' },
        { topic: removes, service: SERVICE, method: 'RemoveItem' },
        { topic: gets, service: SERVICE, method: 'GetCart' },
      ],
      'topics.destinations': {
        replies: [{ service: SERVICE, method: 'GetCart', topic: replies, format: 'json' }],
        events: [{ service: SERVICE, topic: events, format: 'json' }],
      },
      'deadLetters.topic': deadLetters,
    });
    await runtime.ready();
    const send = (topic: string, command: object) =>
      produce(topic, [{ key: 'ada', value: JSON.stringify(command), headers: { 'content-type': 'application/json' } }]);
    const json = ({ value }: ReadRecord) => JSON.parse(String(value)) as unknown;
    const last = async (topic: string, count: number) => (await readCommitted(topic, { count })).at(-1) as ReadRecord;
    const addOf = (productId: string, quantity: number) =>
      send(adds, { userId: 'ada', productId, name: `A ${productId}`, quantity });

    for (let n = 1; n <= 5; n += 1) await addOf('pen', 1);
    await addOf('ink', 2);
    expect(json(await last(events, 6))).toEqual({ item: item('ink', 2) });
    await send(gets, { userId: 'ada' });
    expect(json(await last(replies, 1))).toEqual({ items: [item('pen', 5), item('ink', 2)] });

    await addOf('pen', -1);
    await send(removes, { userId: 'ada', productId: 'nib' });
    const failed = await readCommitted(deadLetters, { count: 2 });
    expect(failed.map(({ headers }) => Object.values(headers).map(String).join('\n')).sort()).toEqual([
      expect.stringContaining('Cannot add negative quantity of item pen'),
      expect.stringContaining('Cannot remove item nib because it is not in the cart.'),
    ]);

    const { rows } = await journal.query('select seq::int, type_url from snapshot where entity_id = $1', ['ada']);
    expect(rows).toEqual([{ seq: 5, type_url: 'type.googleapis.com/shop.domain.Cart' }]);

    await fn.stop();
    await startFunction(t, { source: 'cart-cloudstate', port: fn.port });
    await send(removes, { userId: 'ada', productId: 'pen' });
    expect(json(await last(events, 7))).toEqual({ productId: 'pen' });
    await send(gets, { userId: 'ada' });
    expect(json(await last(replies, 2))).toEqual({ items: [item('ink', 2)] });
    expect(runtime.status().function).toMatchObject({ up: true, dialect: 'cloudstate-first' });
  });
});
