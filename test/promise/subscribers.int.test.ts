import { describe, expect, inject, it } from 'vitest';
import type { Assumed } from '../../src/config/load.ts';
import { compileProtos } from '../support/compile-protos.ts';
import { type FUNCTIONS, startFunction } from '../support/function-process.ts';
import { createTopic, produce, readCommitted } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';
import { replyWith, type ScriptedFunction, startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';

type Source = keyof typeof FUNCTIONS;

/** A deployment with one input topic for commands and one topic for what the subscriber says. */
async function deploy(
  t: Scope,
  methods: readonly (readonly [service: string, method: string])[],
  subscriber: readonly (readonly [service: string, method: string])[],
) {
  const [input, said] = [
    await createTopic(t, { partitions: 2, name: 'input' }),
    await createTopic(t, { partitions: 2, name: 'said' }),
  ];
  const deadLetters = await createTopic(t, { partitions: 2, name: 'dead' });
  const config: Assumed = {
    'deployment.name': deploymentName(t),
    'kafka.brokers': inject('brokers'),
    'postgres.url': await createDatabase(t),
    'engine.takeoverGraceMs': 200,
    'topics.subscriptions': methods.map(([service, method]) => ({ topic: input, service, method })),
    'deadLetters.topic': deadLetters,
  };
  const replies = subscriber.map(([service, method]) => ({ service, method, topic: said, format: 'json' as const }));
  return {
    deadLetters,
    /** A process of it; `watches`: its function has the subscriber. */
    async start(url: string, watches = true, more: Assumed = {}): Promise<RunningRuntime> {
      const destinations: Assumed = watches ? { 'topics.destinations': { replies, events: [] } } : {};
      const runtime = startRuntime(t, { ...config, 'function.url': url, ...destinations, ...more });
      await runtime.ready();
      return runtime;
    },
    send: (type: string, key: string, command: object) =>
      produce(input, [
        { key, value: JSON.stringify(command), headers: { ce_type: type, 'content-type': 'application/json' } },
      ]),
    /** What the subscriber has said under each key, in order, once it has said so much. */
    async said(count: number): Promise<Record<string, unknown[]>> {
      const byKey: Record<string, unknown[]> = {};
      for (const { key, value } of await readCommitted(said, { count })) {
        byKey[String(key)] = [...(byKey[String(key)] ?? []), JSON.parse(String(value))];
      }
      return byKey;
    },
    deadLetterReasons: async (count: number) =>
      (await readCommitted(deadLetters, { count })).map(({ key, headers }) => [
        String(key),
        String(headers['stateferry-error-code']),
        String(headers['stateferry-error']),
      ]),
  };
}

async function functionOf(t: Scope, source: Source, env: Record<string, string> = {}): Promise<string> {
  return `http://${(await startFunction(t, { source, env })).url}`;
}

const commandsOf = (runtime: RunningRuntime) => runtime.status().totals.commands;

describe('a subscriber to values', () => {
  it('is given the present state of every entity, then each change and deletion; when it comes back, what has changed', async (t) => {
    const boxes = [
      ['trouble.BoxService', 'Put'],
      ['trouble.BoxService', 'Remove'],
    ] as const;
    const shop = await deploy(t, boxes, [
      ['trouble.WatchService', 'SawBox'],
      ['trouble.WatchService', 'SawBoxGone'],
    ]);
    const [plain, watching] = [await functionOf(t, 'trouble'), await functionOf(t, 'trouble', { WATCH: 'yes' })];
    const put = (id: string, text: string) => shop.send('trouble.PutCommand', id, { id, text });
    const remove = (id: string) => shop.send('trouble.RemoveCommand', id, { id });
    const said = async (count: number) =>
      Object.fromEntries(
        Object.entries(await shop.said(count)).map(([key, list]) => [
          key,
          (list as { id: string; what: string }[]).map(({ id, what }) => `${id} ${what}`),
        ]),
      );

    const first = await shop.start(plain, false);
    for (const text of ['one', 'two']) await put('a', text);
    await put('b', 'one');
    await put('c', 'one');
    await remove('c');
    await eventually('all is carried out', () => commandsOf(first) === 5);
    await first.stop();

    const second = await shop.start(watching);
    expect(await said(3)).toEqual({ a: ['a/2 two'], b: ['b/1 one'], c: ['c/2 gone'] });
    await put('a', 'three');
    await remove('b');
    await put('d', 'one');
    expect(await said(6)).toEqual({
      a: ['a/2 two', 'a/3 three'],
      b: ['b/1 one', 'b/2 gone'],
      c: ['c/2 gone'],
      d: ['d/1 one'],
    });
    await second.stop();

    const third = await shop.start(plain, false);
    await put('a', 'four');
    await put('a', 'five');
    await remove('d');
    await eventually('all is carried out', () => commandsOf(third) === 3);
    await third.stop();

    const fourth = await shop.start(watching);
    const states = () => fourth.status().shards.flatMap(({ feeds }) => feeds.map(({ state }) => state));
    await eventually('it has caught up', () => states().length === 4 && states().every((state) => state === 'live'));
    await put('b', 'two');
    expect(await said(9)).toEqual({
      a: ['a/2 two', 'a/3 three', 'a/5 five'],
      b: ['b/1 one', 'b/2 gone', 'b/3 two'],
      c: ['c/2 gone'],
      d: ['d/1 one', 'd/2 gone'],
    });
  });
});

describe('a subscriber that fails', () => {
  it('is dealt with by the policies, and what comes after is carried out', async (t) => {
    const shop = await deploy(t, [['trouble.LedgerService', 'Add']], [['trouble.WatchService', 'SawAdded']]);
    const runtime = await shop.start(await functionOf(t, 'trouble', { WATCH: 'picky' }), true, {
      'failures.policies': [
        { service: 'trouble.WatchService', policy: 'retry', attempts: 3, initialBackoffMs: 10, maxBackoffMs: 20 },
      ],
    });
    for (const amount of [1, 7, 2]) await shop.send('trouble.AddCommand', 'l', { id: 'l', amount });

    const { l } = await shop.said(2);
    expect((l as { id: string; what: string }[]).map(({ id, what }) => [id, what])).toEqual([
      ['l/1', '1'],
      ['l/3', '2'],
    ]);
    expect(await shop.deadLetterReasons(1)).toEqual([['l', 'FUNCTION_FAILED', expect.stringContaining('picky')]]);
    expect(runtime.status().totals.retries).toBe(2);
  });
});

describe('in other dialects', () => {
  it("an action follows an event log of the last Cloudstate's from its start, and its forwards are carried out", async (t) => {
    const shop = await deploy(t, [['mart.Cart', 'Add']], [['mart.Counter', 'Increase']]);
    const [plain, watching] = [await functionOf(t, 'mart'), await functionOf(t, 'mart', { WATCH: 'yes' })];
    const add = (cart: string, quantity: number) =>
      shop.send('mart.AddItem', cart, { cart, item: { product: 'pen', quantity } });
    const before = await shop.start(plain, false);
    for (const quantity of [1, 2]) await add('a', quantity);
    await add('b', 5);
    await eventually('all is carried out', () => commandsOf(before) === 3);
    await before.stop();
    await shop.start(watching);
    expect(await shop.said(3)).toEqual({ a: [{ value: 1 }, { value: 3 }], b: [{ value: 5 }] });
    await add('a', 4);
    expect(await shop.said(4)).toMatchObject({ a: [{ value: 1 }, { value: 3 }, { value: 7 }] });
  });

  it('an action follows events and values of Akka Serverless', async (t) => {
    const shop = await deploy(
      t,
      [
        ['meter.Meter', 'Add'],
        ['meter.Label', 'Write'],
      ],
      [
        ['meter.Watch', 'SawAdded'],
        ['meter.Watch', 'SawText'],
      ],
    );
    await shop.start(await functionOf(t, 'meter'));
    for (const amount of [1, 2]) await shop.send('meter.AddTo', 'm', { id: 'm', amount });
    for (const text of ['x', 'y']) await shop.send('meter.NewLabel', 'n', { id: 'n', text });

    expect(await shop.said(4)).toEqual({
      m: [{ text: 'meters m/1 meter.Added 1' }, { text: 'meters m/2 meter.Added 2' }],
      n: [{ text: 'labels n/1 meter.Text x' }, { text: 'labels n/2 meter.Text y' }],
    });
  });
});

const PROTO = `
syntax = "proto3";
package stock;
import "kalix/annotations.proto";
service Orders { rpc Place(Order) returns (Done); }
service Shelf {
  option (kalix.service).eventing.in = { event_sourced_entity: "orders" consumer_group: "shelves" };
  rpc Take(Taken) returns (Done);
}
message Order { string id = 1 [(kalix.field).entity_key = true]; repeated string products = 2; }
message Taken { string product = 1 [(kalix.field).entity_key = true]; string order = 2; }
message Lost { string order = 1; }
message Done { string text = 1; }
`;

it('an entity follows another one by its own service’s annotation; what no method takes is a dead letter, and holds up nothing', async (t) => {
  const shop = await deploy(t, [['stock.Orders', 'Place']], [['stock.Shelf', 'Take']]);
  const fn: ScriptedFunction = await startScriptedFunction(t, {
    descriptor: compileProtos({ 'stock.proto': PROTO }),
    components: [
      { kind: 'event-sourced', service: 'stock.Orders', entityType: 'orders' },
      { kind: 'value', service: 'stock.Shelf', entityType: 'shelves' },
    ],
    onCommand({ id, name, input }, entity) {
      const done = {
        command_id: id,
        ...replyWith(fn.pack('stock.Done', { text: `${entity.id} ${input.order ?? ''}` })),
      };
      if (name === 'Take') return { reply: done };
      const taken = (input.products as string[]).map((product) =>
        fn.pack('stock.Taken', { product, order: input.id as string }),
      );
      return { reply: { ...done, events: [fn.pack('stock.Lost', { order: input.id as string }), ...taken] } };
    },
  });
  const runtime = await shop.start(fn.url);
  await shop.send('stock.Order', 'o1', { id: 'o1', products: ['pen', 'ink', ''] });
  await shop.send('stock.Order', 'o2', { id: 'o2', products: ['pen'] });

  const said = await shop.said(3);
  expect(said.ink).toEqual([{ text: 'ink o1' }]);
  expect(said.pen).toEqual(expect.arrayContaining([{ text: 'pen o1' }, { text: 'pen o2' }]));
  const reasons = await shop.deadLetterReasons(3);
  expect(reasons.filter(([key, code]) => key === 'o1' && code === 'RECORD_UNKNOWN_TYPE')).toEqual([
    ['o1', 'RECORD_UNKNOWN_TYPE', expect.stringContaining('Event 1 of orders "o1" is of type')],
  ]);
  expect(reasons.map(([, code]) => code).sort()).toEqual([
    'RECORD_NO_ENTITY_ID',
    'RECORD_UNKNOWN_TYPE',
    'RECORD_UNKNOWN_TYPE',
  ]);
  expect(runtime.status().shards.flatMap(({ feeds }) => feeds.map(({ name }) => name))).toEqual(['shelves', 'shelves']);
});
