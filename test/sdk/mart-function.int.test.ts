import type { JsonObject } from '@bufbuild/protobuf';
import { type ServiceError, status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { asBuffer } from '../../src/bytes.ts';
import { createFunctionClient, type FunctionClient } from '../../src/functions/client.ts';
import { discover } from '../../src/functions/discovery.ts';
import { type EntitySession, type Outcome, openEntitySession } from '../../src/functions/session.ts';
import type { Effect } from '../../src/model/effect.ts';
import type { Payload } from '../../src/model/payload.ts';
import type { EntityInit } from '../../src/protocol/dialect.ts';
import { allDialects } from '../../src/protocol/dialects.ts';
import { createDoorClient, type DoorClient } from '../support/door-client.ts';
import { startFunction } from '../support/function-process.ts';
import { createTopic, produce, type ReadRecord, readCommitted } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { discoverRaw } from '../support/raw-function.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';

/* A function of the last Cloudstate protocol, spoken to with what the runtime itself speaks it with. */

const file = fileScope();
const fn = await startFunction(file, { source: 'mart' });
const raw = await discoverRaw(file, fn);
const client = clientOf(file, fn.url);
const { dialect, spec } = await discoverAt(client);

function clientOf(t: Scope, url: string): FunctionClient {
  const made = createFunctionClient(new URL(`http://${url}`));
  t.onTestFinished(async () => made.close());
  return made;
}

function discoverAt(at: FunctionClient) {
  const proxy = { name: 'test', version: '1', hostname: '127.0.0.1', port: 9, devMode: true };
  return discover({ client: at, dialects: allDialects(), proxy, timeoutMs: 5_000 });
}

/** As it is decoded: bytes are a view of the message, unless there are none. */
function pack(typeName: string, json: JsonObject): Payload {
  const { type_url, value } = raw.pack(typeName, json);
  return { typeUrl: type_url, value: value.length === 0 ? new Uint8Array() : asBuffer(value) };
}

const note = (text: string) => pack('mart.Note', { text });
const noteReply = (text: string) => ({ answer: { kind: 'reply', payload: note(text) } });
const empty = { kind: 'reply', payload: { typeUrl: 'type.googleapis.com/google.protobuf.Empty' } };

describe('discovery', () => {
  it('takes a function that tells version 0.2 for one of the last Cloudstate protocol', () => {
    expect(spec).toMatchObject({ dialect: 'cloudstate', protocolVersion: '0.2', serviceName: 'mart' });
    expect(
      [...spec.components.values()].map(({ kind, service, entityType, passivationMs }) => [
        kind,
        service,
        entityType,
        passivationMs,
      ]),
    ).toEqual([
      ['event-sourced', 'mart.Cart', 'carts', 60_000],
      ['value', 'mart.Counter', 'counters', undefined],
      ['action', 'mart.Desk', 'mart.Desk', undefined],
    ]);
    expect(spec.components.get('mart.Cart')?.methods.get('Add')?.entityKeyFields).toEqual([
      { number: 1, name: 'cart', scalar: 'string' },
    ]);
  });

  it.for([
    ['0.3', 'speaks cloudstate 0.3, and this runtime speaks 0.2'],
    ['', 'speaks cloudstate without a version, and this runtime speaks 0.2'],
  ] as const)('refuses version "%s", and tells the function why', async ([version, sentence], t) => {
    const other = await startFunction(t, { source: 'mart', env: { PROTOCOL: version } });

    await expect(discoverAt(clientOf(t, other.url))).rejects.toMatchObject({
      code: 'FUNCTION_PROTOCOL',
      message: expect.stringContaining(sentence),
    });
    await eventually('the function has printed it', () => other.output().includes(sentence));
  });
});

/** The stream of one entity. */
function open(service: string, start: Pick<EntityInit, 'snapshot' | 'state'> = {}) {
  const component = spec.components.get(service);
  if (component === undefined) throw new Error(`no ${service}`);
  const init = { service, entityId: 'e1', ...start };
  const session: EntitySession = openEntitySession({ client, dialect, component, init, onEnd: () => undefined });
  return {
    replay: session.replay,
    send: (name: string, payload: Payload) =>
      new Promise<Outcome>((resolve) => session.send({ name, payload, metadata: [] }, resolve)),
  };
}

describe('an event sourced entity', () => {
  const add = (product: string, quantity: number) => pack('mart.AddItem', { cart: 'e1', item: { product, quantity } });
  const look = pack('mart.LookIntoCart', { cart: 'e1' });
  const added = (product: string) => pack('mart.ItemAdded', { item: { product, quantity: 1 } });
  const contents = (...products: string[]) =>
    pack('mart.CartContents', { items: products.map((product) => ({ product, quantity: 1 })) });

  it('answers with events, and fails without any', async () => {
    const cart = open('mart.Cart');

    expect(await cart.send('Add', add('a', 1))).toMatchObject({ effect: { answer: empty, events: [added('a')] } });
    expect(await cart.send('Add', add('a', -1))).toMatchObject({
      effect: { answer: { kind: 'failure', description: 'Cannot add -1 of a.', restart: false }, events: [] },
    });
    expect(await cart.send('Look', look)).toMatchObject({ effect: { answer: { payload: contents('a') } } });
  });

  it('hands over a snapshot, and goes on from one and the events after it', async () => {
    const products = ['a', 'b', 'c', 'd', 'e', 'f'];
    const items = products.map((product) => ({ product, quantity: 1 }));

    expect(await open('mart.Cart').send('AddAll', pack('mart.AddItems', { cart: 'e1', items }))).toMatchObject({
      effect: { events: products.map(added), snapshot: contents(...products) },
    });

    const again = open('mart.Cart', { snapshot: { seq: 6, payload: contents('a', 'b') } });
    again.replay(7, added('g'));
    expect(await again.send('Look', look)).toMatchObject({ effect: { answer: { payload: contents('a', 'b', 'g') } } });
  });

  it('says with a failure that it wants to be opened again', async () => {
    expect(await open('mart.Cart').send('Drop', pack('mart.DropCart', { cart: 'e1' }))).toMatchObject({
      effect: { answer: { kind: 'failure', description: 'dropped as told', restart: true } },
    });
  });

  it('may answer with nothing at all', async () => {
    expect(await open('mart.Cart').send('Shrug', look)).toMatchObject({ effect: { answer: { kind: 'none' } } });
  });
});

describe('a value entity', () => {
  const increase = pack('mart.IncreaseBy', { counter: 'e1', amount: 3 });
  const three: Payload = { typeUrl: 'p.cloudstate.io/int64', value: Buffer.from([8, 3]) };

  it('starts from no state, keeps one, and goes on in the same stream after it was deleted', async () => {
    const counter = open('mart.Counter');

    expect(await counter.send('Increase', increase)).toMatchObject({
      effect: { state: { kind: 'update', value: three } },
    });
    expect(await counter.send('Reset', pack('mart.ResetCounter', { counter: 'e1' }))).toMatchObject({
      effect: { state: { kind: 'delete', cleanupAfterMs: 0 } },
    });
    expect(await counter.send('Read', pack('mart.ReadCounter', { counter: 'e1' }))).toMatchObject({
      effect: { answer: { payload: pack('mart.CounterValue', { value: 0 }) } },
    });
  });

  it('goes on from the state that it had', async () => {
    expect(await open('mart.Counter', { state: three }).send('Increase', increase)).toMatchObject({
      effect: { answer: { payload: pack('mart.CounterValue', { value: 6 }) } },
    });
  });
});

describe('an action', () => {
  const { paths, encodeCommand, openInput, decodeResponse } = dialect.action;
  const call = (name: string) => ({ service: 'mart.Desk', name, metadata: [] });
  const unary = async (name: string, payload: Payload): Promise<Effect> =>
    decodeResponse(await client.unary(paths.unary, encodeCommand(call(name), payload), 5_000));
  const order = pack('mart.Order', { counter: 'c', amount: 2, synchronous: true });
  const increase = {
    service: 'mart.Counter',
    method: 'Increase',
    payload: pack('mart.IncreaseBy', { counter: 'c', amount: 2 }),
  };

  /** Writes the messages, half-closes, and resolves to what comes back until the function ends the call. */
  async function stream(path: string, messages: readonly Uint8Array[]): Promise<Effect[]> {
    const duplex = client.stream(path);
    for (const message of messages) duplex.write(asBuffer(message));
    duplex.end();
    const effects: Effect[] = [];
    for await (const bytes of duplex) effects.push(decodeResponse(bytes as Buffer));
    return effects;
  }

  function input(name: string, texts: readonly string[]): Uint8Array[] {
    const { first, encode } = openInput(call(name));
    if (first === undefined) throw new Error('the protocol has a first message');
    return [first, ...texts.map((text) => encode(note(text)))];
  }

  it('answers one command with one response', async () => {
    expect(await unary('Echo', note('hey'))).toMatchObject(noteReply('hey'));
    expect(await unary('Echo', note(''))).toMatchObject({
      answer: { kind: 'failure', description: 'There is nothing to echo.' },
    });
    expect(await unary('PassOn', order)).toMatchObject({ answer: { kind: 'forward', call: increase } });
    expect(await unary('Tally', order)).toMatchObject({
      ...noteReply('c'),
      sideEffects: [{ ...increase, synchronous: true }],
    });
  });

  it('answers a stream of commands with one response', async () => {
    expect(await stream(paths.streamedIn, input('Gather', ['a', 'b']))).toMatchObject([noteReply('a b')]);
    expect(await stream(paths.streamedIn, input('Gather', []))).toMatchObject([noteReply('')]);
  });

  it('answers one command with a stream of responses', async () => {
    const command = encodeCommand(call('Repeat'), pack('mart.RepeatNote', { text: 'a', times: 3 }));

    expect(await stream(paths.streamedOut, [command])).toMatchObject(['a 1', 'a 2', 'a 3'].map(noteReply));
  });

  it('answers a stream with a stream', async () => {
    expect(await stream(paths.streamed, input('Shout', ['a', 'b']))).toMatchObject(['A', 'B'].map(noteReply));
  });
});

describe('behind a runtime', () => {
  it('carts, counters and the desk work together, and an entity that was dropped is opened again as it was', async (t) => {
    const [orders, adds, drops, looks, values, events, contents] = (await Promise.all(
      ['orders', 'adds', 'drops', 'looks', 'values', 'events', 'contents'].map((name) =>
        createTopic(t, { partitions: 1, name }),
      ),
    )) as [string, string, string, string, string, string, string];
    const deadLetters = await createTopic(t, { partitions: 1, name: 'dead-letters' });
    const runtime = startRuntime(t, {
      'deployment.name': deploymentName(t),
      'postgres.url': await createDatabase(t),
      'function.url': `http://${fn.url}`,
      'topics.subscriptions': [
        { topic: orders, service: 'mart.Desk', method: 'PassOn' },
        { topic: adds, service: 'mart.Cart', method: 'Add' },
        { topic: drops, service: 'mart.Cart', method: 'Drop' },
        { topic: looks, service: 'mart.Cart', method: 'Look' },
      ],
      'topics.destinations': {
        replies: [
          { service: 'mart.Counter', method: 'Increase', topic: values, format: 'json' },
          { service: 'mart.Cart', method: 'Look', topic: contents, format: 'json' },
        ],
        events: [{ service: 'mart.Cart', topic: events, format: 'json' }],
      },
      'deadLetters.topic': deadLetters,
    });
    await runtime.ready();
    const send = (topic: string, command: object) =>
      produce(topic, [{ key: 'e1', value: JSON.stringify(command), headers: { 'content-type': 'application/json' } }]);
    const read = async (topic: string, count: number) =>
      (await readCommitted(topic, { count })).map(({ value }: ReadRecord) => JSON.parse(String(value)) as unknown);

    await send(orders, { counter: 'e1', amount: 2 });
    await read(values, 1);
    await send(orders, { counter: 'e1', amount: 3 });
    expect(await read(values, 2)).toEqual([{ value: 2 }, { value: 5 }]);

    await send(adds, { cart: 'e1', item: { product: 'pen', quantity: 1 } });
    await read(events, 1);
    await send(drops, { cart: 'e1' });
    expect(Object.values((await readCommitted(deadLetters, { count: 1 }))[0]?.headers ?? {}).join()).toContain(
      'dropped as told',
    );
    await send(looks, { cart: 'e1' });
    const pen = { items: [{ product: 'pen', quantity: 1 }] };
    expect(await read(contents, 1)).toEqual([pen]);
    expect(runtime.status().function).toMatchObject({ up: true, dialect: 'cloudstate' });
  });
});

describe('at the doors', () => {
  const scope = fileScope();
  let at: string;
  /** Entities that have a stream at the function. */
  let active: () => number;
  let door: DoorClient;

  beforeAll(async () => {
    const runtime = startRuntime(scope, {
      'deployment.name': deploymentName(scope),
      'deployment.shards': 4,
      'postgres.url': await createDatabase(scope),
      'function.url': `http://${fn.url}`,
      'function.maxStreams': 2,
      'function.passivationMs': 300,
      'doors.enabled': true,
      'doors.port': 0,
    });
    at = await runtime.doors();
    await runtime.ready();
    door = await createDoorClient(scope, { at, source: 'mart' });
    active = () => runtime.status().shards.reduce((sum, { activeEntities }) => sum + activeEntities, 0);
  });

  const ask = async (method: string, message: JsonObject) => (await door.call(method, message)).output;
  const refusal = (asked: Promise<unknown>) =>
    asked.then(
      () => Promise.reject(new Error('the call was expected to fail')),
      ({ code, details }: ServiceError) => `${status[code]} ${details}`,
    );
  const post = async (method: string, message: object) => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`http://${at}/${method}`, { method: 'POST', headers, body: JSON.stringify(message) });
    return `${response.status} ${await response.text()}`;
  };
  const one = (product: string) => ({ product, quantity: 1 });
  async function texts(stream: AsyncIterable<unknown>): Promise<unknown[]> {
    const found: unknown[] = [];
    for await (const message of stream) found.push((message as JsonObject).text);
    return found;
  }

  it('carts are changed, passivated and read', async () => {
    const carts = ['c1', 'c2', 'c3', 'c4', 'c5'];
    await Promise.all(carts.map((cart) => ask('mart.Cart/Add', { cart, item: one(cart) })));
    await Promise.all(carts.map((cart) => ask('mart.Cart/AddAll', { cart, items: 'vwxyz'.split('').map(one) })));
    for (const cart of carts) {
      const items = [cart, ...'vwxyz'].map(one);
      expect(await ask('mart.Cart/Look', { cart })).toEqual({ items });
      expect(await post('mart.Cart/Look', { cart })).toBe(`200 ${JSON.stringify({ items })}`);
    }
  });

  it('a failure is told in its own words and changes nothing, also one that asks for the entity to be opened again', async () => {
    await ask('mart.Cart/Add', { cart: 'c6', item: one('a') });
    const bad = { cart: 'c6', item: { product: 'a', quantity: -1 } };
    expect(await refusal(ask('mart.Cart/Add', bad))).toBe('UNKNOWN Cannot add -1 of a.');
    expect(await post('mart.Cart/Add', bad)).toBe('500 Cannot add -1 of a.');
    expect(await refusal(ask('mart.Cart/Drop', { cart: 'c6' }))).toBe('UNKNOWN dropped as told');
    expect(await ask('mart.Cart/Look', { cart: 'c6' })).toEqual({ items: [one('a')] });
  });

  it('a reply without an action is the default of the output', async () => {
    expect(await ask('mart.Cart/Shrug', { cart: 'c7' })).toEqual({});
  });

  it('counters are changed, deleted, forwarded to and reached by side effects', async () => {
    expect(await ask('mart.Counter/Increase', { counter: 'n1', amount: 2 })).toEqual({ value: 2 });
    expect(await ask('mart.Desk/PassOn', { counter: 'n1', amount: 3 })).toEqual({ value: 5 });
    expect(await ask('mart.Desk/Tally', { counter: 'n1', amount: 4, synchronous: true })).toEqual({ text: 'n1' });
    expect(await post('mart.Counter/Read', { counter: 'n1' })).toBe('200 {"value":9}');
    await ask('mart.Counter/Reset', { counter: 'n1' });
    expect(await ask('mart.Counter/Read', { counter: 'n1' })).toEqual({});
  });

  it('entities that nobody calls give their streams back, and are as they were for the next one who does', async () => {
    // They take both streams, which carts keep for longer.
    for (const counter of ['n8', 'n9']) await ask('mart.Counter/Increase', { counter, amount: 3 });
    await eventually('no entity has a stream', () => active() === 0);
    expect(await ask('mart.Counter/Increase', { counter: 'n8', amount: 1 })).toEqual({ value: 4 });
  });

  it('actions answer one message, and streams of them in, out and both ways', async () => {
    expect(await ask('mart.Desk/Echo', { text: 'a' })).toEqual({ text: 'a' });
    expect(await refusal(ask('mart.Desk/Echo', {}))).toBe('UNKNOWN There is nothing to echo.');
    const gather = door.stream('mart.Desk/Gather');
    gather.write({ text: 'a' });
    gather.end({ text: 'b' });
    expect(await texts(gather)).toEqual(['a b']);
    const repeat = door.stream('mart.Desk/Repeat');
    repeat.end({ text: 'a', times: 2 });
    expect(await texts(repeat)).toEqual(['a 1', 'a 2']);
    const shout = door.stream('mart.Desk/Shout');
    shout.write({ text: 'a' });
    shout.end({ text: 'b' });
    expect(await texts(shout)).toEqual(['A', 'B']);
  });
});
