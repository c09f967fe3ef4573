import { beforeAll, describe, expect, it } from 'vitest';
import { decodeAnswer } from '../../src/codec/answer-record.ts';
import { decodeCommandRecord } from '../../src/codec/command-record.ts';
import { createEncoder } from '../../src/codec/encode.ts';
import { createPassedHeaders } from '../../src/codec/passed-headers.ts';
import { type DecisionContext, decide } from '../../src/engine/decide.ts';
import { createRoutes, planRoutes, type RouteConfig } from '../../src/engine/routes.ts';
import type { Caller, Command } from '../../src/model/command.ts';
import type { Component, FunctionSpec } from '../../src/model/component.ts';
import type { Effect } from '../../src/model/effect.ts';
import type { Feed } from '../../src/model/feed.ts';
import type { InputRecord, OutputRecord } from '../../src/model/record.ts';
import { partitionFor } from '../../src/topics/partition.ts';
import { createShop, type Shop } from '../support/shop.ts';

const ROUTES: RouteConfig = {
  subscriptions: [{ topic: 'adds', service: 'shop.Cart', method: 'Add', format: 'auto', entityId: 'auto' }],
  replies: [
    { service: 'shop.Cart', method: 'Add', topic: 'added', format: 'auto' },
    { service: 'shop.Cart', method: 'Remove', topic: 'removed', format: 'auto' },
  ],
  events: [{ entityType: 'shop.Cart', topic: 'events', format: 'auto' }],
  doors: false,
};
const PARTITIONS = new Map([
  ['added', 4],
  ['removed', 4],
  ['events', 8],
]);

let shop: Shop;
let spec: FunctionSpec;
let context: DecisionContext;

beforeAll(() => {
  shop = createShop();
  const components = new Map<string, Component>([shop.cart, shop.watch].map((c) => [c.service, c]));
  spec = { dialect: 'kalix', protocolVersion: '1.1', serviceName: '', supportLibrary: '', components, digest: '' };
  context = {
    encode: createEncoder({ descriptors: shop.descriptors }),
    routes: createRoutes(spec, planRoutes(spec, ROUTES), PARTITIONS),
    deployment: 'd',
    commandTopic: 'd-commands',
    answerTopic: 'd-answers',
    shards: 8,
    ignoreSnapshots: false,
    maxOutputBytes: 1_000,
    messageBytes: () => 2_000,
  };
});

const DONE = { typeUrl: 'type.googleapis.com/shop.Done', value: Buffer.from('done') };
const DONE_REPLY = { kind: 'reply', payload: DONE, metadata: [] } as const;
const reply: Effect['answer'] = DONE_REPLY;
const effect = (more: Partial<Effect> = {}): Effect => ({ answer: reply, sideEffects: [], events: [], ...more });

function command(more: Partial<Command> = {}): Command {
  return {
    id: 'adds/3/17',
    method: shop.method(shop.cart, 'Add'),
    entityId: 'c1',
    key: Buffer.from('c1'),
    payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value: Buffer.alloc(0) },
    metadata: [],
    replyTo: [],
    ...more,
  };
}

/** Protobuf field 1, a string: an AddItem whose cart_id is `id`. */
const addItem = (id: string) => ({
  typeUrl: 'type.googleapis.com/shop.AddItem',
  value: Buffer.concat([Buffer.from([0x0a, id.length]), Buffer.from(id)]),
});
const call = (id: string, method = 'Add') => ({
  service: 'shop.Cart',
  method,
  payload: addItem(id),
  metadata: [],
  synchronous: false,
});
const header = (output: OutputRecord, name: string) => output.headers.find(([key]) => key === name)?.[1];
const START = { seq: 5, revision: 2 };

const CALLER: Caller = { partition: 2, correlation: Buffer.alloc(16, 7), doneOnly: false, awaits: 0 };

function answerIn(outputs: readonly OutputRecord[]) {
  const record = outputs.find(({ topic }) => topic === 'd-answers');
  return decodeAnswer({ key: record?.key as Buffer, value: record?.value as Buffer });
}

function readCommand(output: OutputRecord) {
  return decodeCommandRecord(
    { ...output, headers: {}, offset: 0n, timestamp: 0 } as unknown as InputRecord,
    context.routes.resolve,
  );
}

describe('deciding what an answer means', () => {
  it('numbers events from the entity’s position, and publishes them and then the reply under the entity’s key', () => {
    const events = [
      { typeUrl: 'type.googleapis.com/shop.Item', value: Buffer.from('1') },
      { typeUrl: 'type.googleapis.com/shop.Item', value: Buffer.from('2') },
    ];
    const decision = decide(command(), effect({ events }), START, context);
    expect(decision.events.map((e) => [e.entityType, e.entityId, e.seq, e.commandId])).toEqual([
      ['shop.Cart', 'c1', 6, 'adds/3/17'],
      ['shop.Cart', 'c1', 7, 'adds/3/17'],
    ]);
    expect(decision.outputs.map((o) => [o.topic, o.partition, o.key?.toString(), header(o, 'ce_id')])).toEqual([
      ['events', partitionFor(Buffer.from('c1'), 8), 'c1', 'adds/3/17/event-1'],
      ['events', partitionFor(Buffer.from('c1'), 8), 'c1', 'adds/3/17/event-2'],
      ['added', partitionFor(Buffer.from('c1'), 4), 'c1', 'adds/3/17/reply'],
    ]);
  });

  it('makes a command of each event for each feed, apart from the outputs: the shard knows which feeds are live', () => {
    const feed = (name: string): Feed => ({
      name,
      source: 'event-sourced',
      entityType: 'shop.Cart',
      methods: [shop.method(shop.watch, 'OnAdd')],
      ignored: ['shop.Item'],
      ignoreUnknown: false,
    });
    const feeds = [feed('one'), feed('two')];
    const routes = { ...context.routes, feedsOf: () => feeds, eventsOf: () => [], repliesOf: () => [] };
    const events = [addItem('c9'), { typeUrl: 'type.googleapis.com/shop.Item', value: Buffer.alloc(0) }, addItem('c8')];
    const { fed = [], outputs } = decide(command(), effect({ events }), START, { ...context, routes });

    expect(outputs).toEqual([]);
    expect(fed.map((given) => [given.feed.name, given.entityId, header(given.output, 'stateferry-origin')])).toEqual([
      ['one', 'c1', 'adds/3/17#6@one'],
      ['one', 'c1', 'adds/3/17#8@one'],
      ['two', 'c1', 'adds/3/17#6@two'],
      ['two', 'c1', 'adds/3/17#8@two'],
    ]);
    expect('fed' in decide(command(), effect({ events }), START, context)).toBe(false);
  });

  it('decides the same when the command is processed again', () => {
    const again = () => decide(command(), effect({ sideEffects: [call('c2')] }), START, context);
    expect(again()).toEqual(again());
  });

  it('takes a snapshot as the state after all events of the reply', () => {
    const item = { typeUrl: 'type.googleapis.com/shop.Item', value: Buffer.alloc(1) };
    const { snapshot } = decide(command(), effect({ events: [item, item], snapshot: item }), START, context);
    expect(snapshot).toMatchObject({ seq: 7 });
    const ignoring = { ...context, ignoreSnapshots: true };
    expect(decide(command(), effect({ events: [item], snapshot: item }), START, ignoring).snapshot).toBeUndefined();
  });

  it('answers with an empty message of the output type where the handler gave none', () => {
    const { outputs } = decide(command(), effect({ answer: { kind: 'none' } }), START, context);
    expect(outputs.map((o) => [o.topic, o.value?.length, header(o, 'ce_type')])).toEqual([['added', 0, 'shop.Done']]);
  });

  it('makes side effects commands of their own, in order, in the shard of their entity', () => {
    const { outputs } = decide(command(), effect({ sideEffects: [call('c2'), call('c3')] }), START, context);
    const [first, second] = outputs;
    expect(outputs.map((o) => o.topic)).toEqual(['d-commands', 'd-commands', 'added']);
    expect(first?.partition).toBe(partitionFor(Buffer.from('c2'), 8));
    expect(readCommand(first as OutputRecord)).toMatchObject({ id: 'adds/3/17#1', entityId: 'c2', replyTo: [] });
    expect(readCommand(second as OutputRecord)).toMatchObject({ id: 'adds/3/17#2', entityId: 'c3' });
  });

  it('answers the caller at a door last, and says how many side effects it waits for', () => {
    const effects = [call('c2'), { ...call('c3'), synchronous: true }, { ...call('c4'), synchronous: true }];
    const { outputs } = decide(command({ caller: CALLER }), effect({ sideEffects: effects }), START, context);
    expect(outputs.map((o) => o.topic)).toEqual(['d-commands', 'd-commands', 'd-commands', 'added', 'd-answers']);
    const commands = outputs.slice(0, 3).map((output) => (readCommand(output) as { caller?: Caller }).caller);
    expect(commands).toEqual([undefined, { ...CALLER, doneOnly: true }, { ...CALLER, doneOnly: true }]);
    expect(answerIn(outputs)).toMatchObject({ awaits: 2, outcome: { kind: 'reply', payload: DONE } });
  });

  it('lets a forward answer the caller, with what it waits for already', () => {
    const forward: Effect['answer'] = { kind: 'forward', call: call('c2') };
    const waits = [{ ...call('c3'), synchronous: true }];
    const asked = command({ caller: { ...CALLER, awaits: 1 } });
    const { outputs } = decide(asked, effect({ answer: forward, sideEffects: waits }), START, context);
    expect(outputs.map((o) => o.topic)).toEqual(['d-commands', 'd-commands']);
    expect(readCommand(outputs[1] as OutputRecord)).toMatchObject({ caller: { ...CALLER, awaits: 2 } });
  });

  it('answers one who waits for a side effect alone with its end, where the handler gave nothing, too', () => {
    const asked = command({ caller: { ...CALLER, doneOnly: true } });
    const { outputs } = decide(asked, effect({ answer: { kind: 'none' } }), START, context);
    expect(answerIn(outputs)).toMatchObject({ awaits: 0, outcome: { kind: 'done' } });
  });

  it('hands the destinations of a forwarded command on to the one that answers it', () => {
    const forward: Effect['answer'] = { kind: 'forward', call: call('c2') };
    const { outputs } = decide(command({ replyTo: ['removed'] }), effect({ answer: forward }), START, context);
    expect(outputs).toHaveLength(1);
    expect(readCommand(outputs[0] as OutputRecord)).toMatchObject({ id: 'adds/3/17#1', replyTo: ['removed', 'added'] });
  });

  it('answers once to a topic that is both its own and the chain’s', () => {
    const { outputs } = decide(command({ replyTo: ['added', 'removed'] }), effect(), START, context);
    expect(outputs.map((o) => o.topic)).toEqual(['added', 'removed']);
  });

  it.each([
    {
      what: 'a failure',
      more: { answer: { kind: 'failure', description: 'no stock', restart: false } },
      code: 'FUNCTION_FAILED',
      says: 'no stock',
    },
    {
      what: 'a call to a method that is not there',
      more: { sideEffects: [call('c2', 'Steal')] },
      code: 'CALL_UNKNOWN_TARGET',
      says: 'Steal',
    },
    {
      what: 'a call without an entity id',
      more: { sideEffects: [call('')] },
      code: 'RECORD_NO_ENTITY_ID',
      says: 'entity key',
    },
    {
      what: 'an event without a type',
      more: { events: [{ typeUrl: '', value: Buffer.alloc(1) }] },
      code: 'FUNCTION_BROKEN_REPLY',
      says: 'type url',
    },
    {
      what: 'a type that Postgres cannot hold',
      more: { events: [{ typeUrl: 'a\0b', value: Buffer.alloc(1) }] },
      code: 'FUNCTION_BROKEN_REPLY',
      says: 'type url',
    },
    {
      what: 'a value of an event sourced entity',
      more: { state: { kind: 'delete', cleanupAfterMs: 0 } },
      code: 'FUNCTION_BROKEN_REPLY',
      says: 'no value entity',
    },
    {
      what: 'an output that the broker would refuse',
      more: { answer: { kind: 'reply', payload: { ...DONE, value: Buffer.alloc(1_001) }, metadata: [] } },
      code: 'FUNCTION_BROKEN_REPLY',
      says: '1001 bytes',
    },
  ] as { what: string; more: Partial<Effect>; code: string; says: string }[])(
    'refuses $what as a whole',
    ({ more, code, says }) => {
      let thrown: unknown;
      try {
        decide(command(), effect(more), START, context);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({ code, fate: 'reject' });
      expect(String(thrown)).toContain(says);
    },
  );
});

describe('planning routes', () => {
  it('names every entry that does not fit, at once', () => {
    const bad: RouteConfig = {
      subscriptions: [{ topic: 'x', service: 'shop.Nope', method: 'Add', format: 'auto', entityId: 'auto' }],
      replies: [{ service: 'shop.Cart', method: 'Nope', topic: 'y', format: 'auto' }],
      events: [{ entityType: 'nope', topic: 'z', format: 'auto' }],
      doors: false,
    };
    let sentence = '';
    try {
      planRoutes(spec, bad);
    } catch (error) {
      sentence = String(error);
    }
    expect(sentence).toContain('shop.Nope/Add');
    expect(sentence).toContain('shop.Cart/Nope');
    expect(sentence).toContain('"z"');
  });

  it('refuses a function that nothing leads to', () => {
    expect(() => planRoutes(spec, { subscriptions: [], replies: [], events: [], doors: false })).toThrow(
      'nothing leads to the function',
    );
  });

  it('refuses two methods that take the same type from one topic', () => {
    const twice = ['shop.Cart', 'shop.Watch'].map((service) => ({
      topic: 'adds',
      service,
      method: service === 'shop.Cart' ? 'Add' : 'OnAdd',
      format: 'auto' as const,
      entityId: 'auto' as const,
    }));
    expect(() => planRoutes(spec, { ...ROUTES, subscriptions: twice })).toThrow('takes already');
  });
});

describe('headers that go on by rule', () => {
  const passing = (): DecisionContext => ({ ...context, passed: createPassedHeaders(['traceparent', 'x-*']) });
  const given = [
    { key: 'traceparent', value: '00-a' },
    { key: 'x-tenant', value: 'acme' },
    { key: 'other', value: 'no' },
  ];
  const headersOf = ({ headers }: OutputRecord) => headers.filter(([name]) => /^(traceparent|x-|other)/.test(name));

  it('stand on replies and events, where the function gave none of the name', () => {
    const events = [{ typeUrl: 'type.googleapis.com/shop.Item', value: Buffer.from('x') }];
    const answer: Effect['answer'] = { ...DONE_REPLY, metadata: [{ key: 'X-Tenant', value: 'own' }] };
    const { outputs } = decide(
      command({ metadata: given }),
      effect({ answer, events }),
      { seq: 0, revision: 0 },
      passing(),
    );

    expect(outputs.map((output) => [output.topic, headersOf(output)])).toEqual([
      [
        'events',
        [
          ['traceparent', '00-a'],
          ['x-tenant', 'acme'],
        ],
      ],
      [
        'added',
        [
          ['x-tenant', 'own'],
          ['traceparent', '00-a'],
        ],
      ],
    ]);
  });

  it('go with forwards and side effects, so that they reach what comes of those', () => {
    const call = {
      service: 'shop.Cart',
      method: 'Add',
      payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value: Buffer.from('\x0a\x01c') },
      metadata: [{ key: 'traceparent', value: '00-own' }],
    };
    const sideEffects = [{ ...call, synchronous: false }];
    const { outputs } = decide(
      command({ metadata: given }),
      effect({ sideEffects }),
      { seq: 0, revision: 0 },
      passing(),
    );
    const derived = readCommand(outputs.find(({ topic }) => topic === 'd-commands') as OutputRecord);

    expect(derived).toMatchObject({ metadata: [...call.metadata, { key: 'x-tenant', value: 'acme' }] });
  });

  it('are the same whenever the command is decided again, and none without a rule', () => {
    const again = () => decide(command({ metadata: given }), effect(), { seq: 0, revision: 0 }, passing());

    expect(again()).toEqual(again());
    const without = decide(command({ metadata: given }), effect(), { seq: 0, revision: 0 }, context);
    expect(without.outputs.flatMap(headersOf)).toEqual([]);
  });
});
