import { beforeAll, describe, expect, it } from 'vitest';
import { createTopic, produce, readCommitted } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import type { Plain, RawPayload } from '../support/raw-function.ts';
import { fileScope } from '../support/scope.ts';
import {
  type Answer,
  replyWith,
  type ScriptedEntity,
  type ScriptedFunction,
  startScriptedFunction,
} from '../support/scripted-function.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';
import { COMPONENTS, ORDERS, replyAll, subscribeAll } from './orders.ts';

const file = fileScope();
let fn: ScriptedFunction;
let input: string;
let replies: string;
/** What the next command's reply has besides the answer for the client, by entity. */
const next = new Map<string, Plain>();
let sent = 0;

beforeAll(async () => {
  fn = await startScriptedFunction(file, {
    descriptor: ORDERS,
    components: COMPONENTS,
    onCommand({ id, input: { text } }, entity): Answer {
      const fields = next.get(entity.id) ?? {};
      next.delete(entity.id);
      return { reply: { command_id: id, ...replyWith(fn.pack('orders.Done', { text: text ?? '' })), ...fields } };
    },
  });
  input = await createTopic(file, { partitions: 1 });
  replies = await createTopic(file, { partitions: 1 });
  const runtime = startRuntime(file, {
    'deployment.name': deploymentName(file),
    'postgres.url': await createDatabase(file),
    'function.url': fn.url,
    // Each command of another entity takes the stream away from the one before.
    'function.maxStreams': 1,
    'topics.subscriptions': subscribeAll(input),
    'topics.destinations': replyAll(replies),
  });
  await runtime.ready();
});

/** Sends one command and resolves when its reply is published: what it did is journaled then. */
async function command(type: 'Order' | 'BoxOrder', id: string, fields: Plain = {}): Promise<void> {
  next.set(id, fields);
  const text = String(++sent);
  await produce(input, [
    { key: id, value: fn.pack(`orders.${type}`, { id, text }).value, headers: { ce_type: `orders.${type}` } },
  ]);
  await eventually(`command ${text} is answered`, async () =>
    (await readCommitted(replies, 'end')).some(({ value }) => value?.subarray(2).toString() === text),
  );
}

/** Passivates `id`, if it is active, and opens a stream for it again by a command that changes nothing. */
async function reactivate(type: 'Order' | 'BoxOrder', id: string): Promise<ScriptedEntity> {
  await command('BoxOrder', 'somebody-else');
  await command(type, id);
  return streamsOf(id).at(-1) as ScriptedEntity;
}

const streamsOf = (id: string) => fn.entities.filter((entity) => entity.id === id);
const stateOf = ({ init }: ScriptedEntity) => (init.state as { value: RawPayload | null } | null)?.value;
const snapshotOf = ({ init }: ScriptedEntity) => init.snapshot as Plain | null;
const payloadOf = ({ type_url, value }: RawPayload): unknown => ({
  type_url,
  value: Buffer.from(value).toString('hex'),
});
const updateTo = (value: RawPayload): Plain => ({ state_action: { update: { value } } });

describe('a value entity', () => {
  it('that is new starts with a state that is there and has no value', async () => {
    await command('BoxOrder', 'new');

    const [stream] = streamsOf('new');
    expect(stream?.service).toBe('orders.BoxService');
    expect(stream?.init.state).not.toBeNull();
    expect(stateOf(stream as ScriptedEntity)).toBeNull();
  });

  it.for<[string, RawPayload]>([
    [
      // Field 2 before field 1, and a field that no schema has: nobody re-encodes it.
      'protobuf that no encoder would write so',
      { type_url: 'type.googleapis.com/orders.Placed', value: Buffer.from('1201620a0161fa3e0178', 'hex') },
    ],
    ['JSON', { type_url: 'json.kalix.io/box', value: Buffer.from('\n\x0d{"a":  1.50}\n') }],
    ['a primitive', { type_url: 'type.kalix.io/string', value: Buffer.from('\n\x02\xc3\xa4', 'latin1') }],
    ['of a type of which the runtime knows nothing', { type_url: 'custom/x', value: Buffer.from([0, 255, 1]) }],
    ['without content', { type_url: 'type.googleapis.com/orders.Placed', value: Buffer.alloc(0) }],
  ])('gets back its state as it gave it: %s', async ([what, state]) => {
    const id = `state ${what}`;
    await command('BoxOrder', id, updateTo(state));

    const stream = await reactivate('BoxOrder', id);

    expect(streamsOf(id)).toHaveLength(2);
    expect(payloadOf(stateOf(stream) as RawPayload)).toEqual(payloadOf(state));
  });

  it('keeps its state where a command changes nothing, has the last of several, and none after a delete', async () => {
    const state = (text: string) => fn.pack('orders.Placed', { text });
    await command('BoxOrder', 'box', updateTo(state('one')));
    await command('BoxOrder', 'box');
    await command('BoxOrder', 'box', updateTo(state('two')));
    expect(streamsOf('box')).toHaveLength(1);
    expect(payloadOf(stateOf(await reactivate('BoxOrder', 'box')) as RawPayload)).toEqual(payloadOf(state('two')));

    await command('BoxOrder', 'box', { state_action: { delete: {} } });
    await command('BoxOrder', 'box');
    expect(streamsOf('box')).toHaveLength(2);
    const deleted = await reactivate('BoxOrder', 'box');
    expect(deleted.init.state).not.toBeNull();
    expect(stateOf(deleted)).toBeNull();

    await command('BoxOrder', 'box', updateTo(state('three')));
    expect(payloadOf(stateOf(await reactivate('BoxOrder', 'box')) as RawPayload)).toEqual(payloadOf(state('three')));
  });
});

describe('an event sourced entity', () => {
  const event = (text: string) => fn.pack('orders.Placed', { text });
  const replayed = ({ events }: ScriptedEntity) =>
    events.map(({ sequence, payload }) => `${sequence} ${Buffer.from((payload as RawPayload).value).subarray(2)}`);

  it('that is passivated gets its last snapshot, and the events behind it, and nothing else', async () => {
    await command('Order', 'order', { events: [event('a')] });
    await command('Order', 'order', { events: [event('b'), event('c')] });
    expect(streamsOf('order')).toHaveLength(1);
    const first = await reactivate('Order', 'order');
    expect(snapshotOf(first)).toBeNull();
    expect(replayed(first)).toEqual(['1 a', '2 b', '3 c']);

    // A snapshot holds the state after all the events of its reply.
    const snapshot = { type_url: 'json.kalix.io/order', value: Buffer.from('\n\x02{}') };
    await command('Order', 'order', { events: [event('d'), event('e')], snapshot });
    const second = await reactivate('Order', 'order');
    expect(snapshotOf(second)).toMatchObject({ snapshot_sequence: 5 });
    expect(payloadOf(snapshotOf(second)?.snapshot as RawPayload)).toEqual(payloadOf(snapshot));
    expect(replayed(second)).toEqual([]);

    await command('Order', 'order', { events: [event('f')] });
    const third = await reactivate('Order', 'order');
    expect(snapshotOf(third)).toMatchObject({ snapshot_sequence: 5 });
    expect(replayed(third)).toEqual(['6 f']);

    // Newer snapshots take the place of older ones; one without events stands for the state as it is.
    await command('Order', 'order', { snapshot: event('newer') });
    const fourth = await reactivate('Order', 'order');
    expect(snapshotOf(fourth)).toMatchObject({ snapshot_sequence: 6 });
    expect(payloadOf(snapshotOf(fourth)?.snapshot as RawPayload)).toEqual(payloadOf(event('newer')));
    expect(replayed(fourth)).toEqual([]);
  });

  it('numbers commands from 1 in every stream', async () => {
    await command('Order', 'numbers');
    await command('Order', 'numbers');
    await reactivate('Order', 'numbers');

    expect(streamsOf('numbers').map(({ commands }) => commands.map(({ id }) => id))).toEqual([[1, 2], [1]]);
  });

  it('that was deleted, and whose time is up, starts from nothing; its sequence goes on', async () => {
    await command('Order', 'gone', { events: [event('a'), event('b')], snapshot: event('s'), delete: { seconds: 0 } });
    const deleted = await reactivate('Order', 'gone');
    expect([snapshotOf(deleted), replayed(deleted)]).toEqual([null, []]);

    await command('Order', 'gone', { events: [event('c')] });
    const again = await reactivate('Order', 'gone');
    expect([snapshotOf(again), replayed(again)]).toEqual([null, ['3 c']]);
  });

  it('that was deleted with time left is still what it was', async () => {
    await command('Order', 'going', { events: [event('a')], delete: { seconds: 600 } });

    expect(replayed(await reactivate('Order', 'going'))).toEqual(['1 a']);
  });
});
