import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { decodeAnswer } from '../../src/codec/answer-record.ts';
import { decodeCommandRecord } from '../../src/codec/command-record.ts';
import { createEncoder } from '../../src/codec/encode.ts';
import { decodeReplicatedDelta } from '../../src/codec/replicated-record.ts';
import { type Decision, type DecisionContext, decide } from '../../src/engine/decide.ts';
import { createItem, type Item, publishing } from '../../src/engine/item.ts';
import { Replica } from '../../src/engine/replica.ts';
import { createRoutes, planRoutes } from '../../src/engine/routes.ts';
import { createStreamOutputs } from '../../src/engine/streams.ts';
import type { EntitySession } from '../../src/functions/session.ts';
import type { Caller, Command } from '../../src/model/command.ts';
import type { Component, FunctionSpec, Method } from '../../src/model/component.ts';
import type { Effect } from '../../src/model/effect.ts';
import type { InputRecord, OutputRecord } from '../../src/model/record.ts';
import type { ReplicatedData, ReplicatedDelta } from '../../src/model/replicated.ts';
import { partitionFor } from '../../src/topics/partition.ts';
import { inputRecord } from '../support/records.ts';
import { createShop } from '../support/shop.ts';

const SHARDS = 8;
const shop = createShop();
const component: Component = { ...shop.cart, kind: 'replicated', entityType: 'carts' };
const ADD: Method = { ...shop.method(shop.cart, 'Add'), component };
const WATCH: Method = { ...ADD, name: 'Watch', serverStreaming: true };
const spec: FunctionSpec = {
  dialect: 'cloudstate',
  protocolVersion: '0.2',
  serviceName: '',
  supportLibrary: '',
  components: new Map([[component.service, { ...component, methods: new Map([['Add', ADD]]) }]]),
  digest: '',
};
const NOTHING = { subscriptions: [], replies: [], events: [], doors: true };
const context: DecisionContext = {
  encode: createEncoder({ descriptors: shop.descriptors }),
  routes: createRoutes(spec, planRoutes(spec, NOTHING), new Map()),
  deployment: 'd',
  commandTopic: 'd-commands',
  answerTopic: 'd-answers',
  shards: SHARDS,
  ignoreSnapshots: true,
  maxOutputBytes: 1_000,
  messageBytes: () => 2_000,
};

const CALLER: Caller = { partition: 2, correlation: Buffer.alloc(16, 7), doneOnly: false, awaits: 0 };
const WATCHER: Caller = { ...CALLER, streamed: true };
const KEY = { entityType: 'carts', entityId: 'c1' };
const payload = (text: string) => ({ typeUrl: 'type.googleapis.com/shop.Done', value: Buffer.from(text) });
const reply = (text: string): Effect['answer'] => ({ kind: 'reply', payload: payload(text), metadata: [] });
const effect = (more: Partial<Effect> = {}): Effect => ({ answer: reply('r'), sideEffects: [], events: [], ...more });
const update = (delta: ReplicatedDelta): Partial<Effect> => ({ replicated: { kind: 'update', delta } });
const add = (change: number) => update({ kind: 'counter', change });

function command(more: Partial<Command> = {}): Command {
  return {
    id: 'd-commands/3/17',
    method: ADD,
    entityId: 'c1',
    key: Buffer.from('c1'),
    payload: { typeUrl: 'type.googleapis.com/shop.AddItem', value: Buffer.alloc(0) },
    metadata: [],
    replyTo: [],
    ...more,
  };
}
const at = (seq: number, data?: ReplicatedData) => ({ seq, revision: 0, ...(data && { data }) });
const answerOf = (record: OutputRecord | undefined) =>
  decodeAnswer({ key: record?.key as Buffer, value: record?.value as Buffer });
const told = (outputs: readonly OutputRecord[]) =>
  outputs
    .filter(({ topic }) => topic === 'd-answers')
    .map(answerOf)
    .map(({ outcome, item, more }) => [
      outcome.kind === 'reply' ? Buffer.from(outcome.payload.value).toString() : outcome.kind,
      item,
      more,
    ]);
const code = (wanted: string) => expect.objectContaining({ code: wanted });

describe('what a command makes of a replicated entity', () => {
  it('is one event a change, and the value that the entity has from then on', () => {
    const { events, snapshot, change, key } = decide(
      command(),
      effect(add(2)),
      at(7, { kind: 'counter', value: 3 }),
      context,
    );
    expect(events).toMatchObject([{ ...KEY, seq: 8, commandId: 'd-commands/3/17' }]);
    const [event] = events;
    expect(event && decodeReplicatedDelta({ typeUrl: event.typeUrl, value: event.payload })).toEqual({
      kind: 'counter',
      change: 2,
    });
    expect(change).toEqual({ data: { kind: 'counter', value: 5 } });
    expect([snapshot, key]).toEqual([undefined, undefined]);
  });

  it('is a snapshot, too, at each hundredth change, whatever the SDK makes of snapshots', () => {
    const { snapshot } = decide(command(), effect(add(2)), at(199, { kind: 'counter', value: 3 }), context);
    expect(snapshot).toMatchObject({ ...KEY, seq: 200 });
    expect(snapshot && decodeReplicatedDelta({ typeUrl: snapshot.typeUrl, value: snapshot.payload })).toEqual({
      kind: 'counter',
      change: 5,
    });
  });

  it('is nothing but a correction where the change loses', () => {
    const data = { kind: 'register', value: payload('a'), clock: 5 } as const;
    const write = { kind: 'register', value: payload('b'), clock: 'custom', clockValue: 4 } as const;
    const { events, change } = decide(command(), effect(update(write)), at(7, data), context);
    expect(events).toEqual([]);
    expect(change).toMatchObject({ data, correction: { value: payload('a') } });
  });

  it('is the end of its history when it is deleted, at once', () => {
    const { deletion, change, events } = decide(
      command(),
      effect({ replicated: { kind: 'delete' } }),
      at(7, { kind: 'counter', value: 3 }),
      context,
    );
    expect(deletion).toEqual({ ...KEY, seq: 7, cleanupAfterMs: 0 });
    expect([change, events]).toEqual([{ data: undefined }, []]);
  });

  it('is refused where the change is none of its value, and for what is no replicated entity', () => {
    expect(() => decide(command(), effect(add(1)), at(1, { kind: 'flag', isOn: true }), context)).toThrow(
      code('FUNCTION_BROKEN_REPLY'),
    );
    const cart = command({ method: shop.method(shop.cart, 'Add') });
    expect(() => decide(cart, effect(add(1)), at(1), context)).toThrow('it is no replicated entity');
    expect(() => decide(command(), effect({ events: [payload('e')] }), at(1), context)).toThrow(
      'no event sourced entity',
    );
  });

  it('is not published: a topic for its events is a fault of the configuration', () => {
    const events = [{ entityType: 'carts', topic: 'changes', format: 'auto' as const }];
    expect(() => planRoutes(spec, { ...NOTHING, events })).toThrow('whose changes are not published');
  });
});

describe('the answer to one who takes a stream', () => {
  const watching = command({ method: WATCH, caller: WATCHER });

  it('is the first of several, or the only one', () => {
    expect(told(decide(watching, effect({ streamed: true }), at(0), context).outputs)).toEqual([['r', 1, true]]);
    expect(told(decide(watching, effect(), at(0), context).outputs)).toEqual([['r', 1, false]]);
  });

  it('says that there is a stream, where it begins without a message', () => {
    const silent = { answer: { kind: 'none' } as const, streamed: true };
    expect(told(decide(watching, effect(silent), at(0), context).outputs)).toEqual([['done', 1, true]]);
  });

  it('is not given to one who takes a single answer', () => {
    const once = command({ caller: CALLER });
    expect(() => decide(once, effect({ streamed: true }), at(0), context)).toThrow('nobody takes more than one');
  });

  it('is of one piece once it is forwarded', () => {
    const call = {
      service: component.service,
      method: 'Add',
      payload: { typeUrl: '', value: Buffer.from('\n\x02c2') },
      metadata: [],
    };
    const [forwarded] = decide(watching, effect({ answer: { kind: 'forward', call } }), at(0), context).outputs;
    const read = decodeCommandRecord({ ...inputRecord(), value: forwarded?.value as Buffer }, () => ADD);
    expect(read).toMatchObject({ kind: 'command', caller: { correlation: CALLER.correlation } });
    expect(read).not.toHaveProperty('caller.streamed');
  });

  it('is nothing for one who has gone, whose cancellation may change the value all the same', () => {
    const cancel = command({ method: WATCH, caller: WATCHER, stream: 'cancel' });
    const { outputs, events } = decide(cancel, effect({ answer: { kind: 'none' }, ...add(1) }), at(4), context);
    expect([outputs, events.length]).toEqual([[], 1]);
  });
});

describe('an open stream of answers', () => {
  let published: { outputs: readonly OutputRecord[]; after: Item | undefined }[];
  let cancelled: ((effect: Effect) => void) | undefined;
  let sent: boolean[];
  let streaming: Set<Replica>;
  let replica: Replica;
  const shard = {
    isReady: () => true,
    publish: (outputs: readonly OutputRecord[], after: Item | undefined) => void published.push({ outputs, after }),
  };
  const session = {
    send: ({ streamed }: { streamed?: boolean }) => sent.push(streamed === true),
    cancelStream: (_id: number, done: (effect: Effect) => void) => {
      cancelled = done;
    },
    change: () => undefined,
  } as unknown as EntitySession;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
    published = [];
    sent = [];
    streaming = new Set();
    replica = new Replica({
      session,
      data: undefined,
      shard,
      outputs: createStreamOutputs(context),
      streaming,
      onPublished: () => undefined,
    });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const message = (text: string, more: { commandId?: number; isEnd?: boolean } = {}) =>
    ({ commandId: 1, answer: reply(text), sideEffects: [], isEnd: false, ...more }) as const;
  function decided(given: Partial<Command>, more: Partial<Effect> = {}): { item: Item; decision: Decision } {
    const one = command(given);
    const item = createItem(shard, inputRecord(), one);
    replica.send(one, () => undefined);
    return { item, decision: replica.decided(item, effect(more), publishing([]), true) };
  }
  const open = () => decided({ method: WATCH, caller: WATCHER }, { streamed: true });
  const leaving = () => createItem(shard, inputRecord(), command({ method: WATCH, caller: WATCHER, stream: 'cancel' }));
  const all = () => told(published.flatMap(({ outputs }) => outputs));
  const cancellations = () => published.flatMap(({ outputs }) => outputs.filter(({ topic }) => topic === 'd-commands'));

  it('is asked for by its caller and its method alone', () => {
    open();
    decided({ method: WATCH, caller: CALLER });
    decided({ method: ADD, caller: WATCHER });
    expect(sent).toEqual([true, false, false]);
    expect([...streaming]).toEqual([replica]);
  });

  it('is told what came while a command was in flight with what that has led to, in order, and not before', () => {
    open();
    replica.told(message('a'), true);
    replica.told(message('b'), true);
    expect(published).toEqual([]);
    expect(told(decided({}).decision.outputs)).toEqual([
      ['a', 2, true],
      ['b', 3, true],
    ]);
  });

  it('is told what comes between commands behind the last of them', () => {
    open();
    const { item } = decided({});
    replica.told(message('a'), false);
    expect(published).toEqual([{ outputs: [expect.anything()], after: item }]);
    expect(all()).toEqual([['a', 2, true]]);
  });

  it('ends with the message that says so, and takes nothing more', () => {
    open();
    replica.told(message('a', { isEnd: true }), false);
    replica.told(message('b'), false);
    replica.told(message('of nobody', { commandId: 9 }), false);
    expect(all()).toEqual([['a', 2, false]]);
    expect(streaming.size).toBe(0);
  });

  it('ends with UNAVAILABLE when its entity is closed, and in good order when it is deleted', () => {
    open();
    replica.end('closed');
    expect(answerOf(published[0]?.outputs[0])).toMatchObject({
      item: 2,
      more: false,
      outcome: { kind: 'failure', code: 14, message: 'closed' },
    });
    published = [];
    open();
    replica.changed({ data: undefined });
    expect(all()).toEqual([['done', 2, false]]);
  });

  it('ends with a failure where a message cannot be carried out, and the function is told', () => {
    open();
    const call = { service: 'x', method: 'y', payload: payload(''), metadata: [] };
    replica.told({ ...message(''), answer: { kind: 'forward', call } }, false);
    expect(all()).toEqual([['failure', 2, false]]);
    expect(cancellations()).toHaveLength(1);
    replica.told(message('more'), false);
    expect(all()).toHaveLength(1);
  });

  it('is cancelled once when its caller was not heard of for 30 s, by a command to its own shard', () => {
    open();
    vi.advanceTimersByTime(29_000);
    expect(replica.renew(WATCHER)).toBe(true);
    vi.advanceTimersByTime(29_000);
    replica.expire();
    expect(published).toEqual([]);
    vi.advanceTimersByTime(2_000);
    replica.expire();
    replica.expire();
    const [record, ...others] = cancellations();
    expect(others).toEqual([]);
    expect(record).toMatchObject({ partition: partitionFor(Buffer.from('c1'), SHARDS), key: Buffer.from('c1') });
    const read = decodeCommandRecord({ value: record?.value } as InputRecord, () => WATCH);
    expect(read).toMatchObject({ id: 'd-commands/3/17#0', stream: 'cancel', caller: WATCHER, entityId: 'c1' });
    // Who comes back after that is told that it is gone.
    expect(replica.renew(WATCHER)).toBe(false);
    expect(replica.streamsTo(WATCHER)).toBe(true);
    replica.cancelStream(leaving(), () => undefined);
    cancelled?.(effect());
    expect([replica.streamsTo(WATCHER), streaming.size]).toEqual([false, 0]);
  });

  it('is told what comes while a caller leaves with what the function does about that, and not before', () => {
    const other = { ...WATCHER, correlation: Buffer.alloc(16, 9) };
    open();
    decided({ method: WATCH, caller: other }, { streamed: true });
    replica.cancelStream(leaving(), () => undefined);
    replica.told(message('a', { commandId: 2 }), false);
    expect([published, replica.leaving]).toEqual([[], 1]);
    cancelled?.(effect());
    expect(told(replica.decided(leaving(), effect(), publishing([]), true).outputs)).toEqual([['a', 2, true]]);
  });

  it('that nobody has is told to be gone', () => {
    const other = { ...WATCHER, correlation: Buffer.alloc(16, 9) };
    open();
    expect(replica.renew(other)).toBe(false);
    const [record] = createStreamOutputs(context).unknown(command({ method: WATCH, caller: other, stream: 'renew' }));
    expect(answerOf(record)).toMatchObject({ item: 0, outcome: { kind: 'failure', code: 14 } });
  });
});
