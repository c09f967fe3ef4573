import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type DecisionContext, decide } from '../../src/engine/decide.ts';
import { Entities } from '../../src/engine/entities.ts';
import { createItem, type Item, publishing } from '../../src/engine/item.ts';
import type { Routes } from '../../src/engine/routes.ts';
import { createStreamOutputs } from '../../src/engine/streams.ts';
import type { StateferryError } from '../../src/errors.ts';
import type { FunctionClient } from '../../src/functions/client.ts';
import type { RawStream } from '../../src/functions/raw-stream.ts';
import type { Caller, Command } from '../../src/model/command.ts';
import type { Component, Method } from '../../src/model/component.ts';
import { createSignals } from '../../src/observe/signals.ts';
import { cloudstate } from '../../src/protocol/cloudstate.ts';
import { loadWire } from '../../src/protocol/wire.ts';
import { inputRecord } from '../support/records.ts';

/* What becomes of an entity's commands while its function is told that callers have gone, and says what it does about that. */

const wire = loadWire('cloudstate');
const streamIn = wire.lookupType('cloudstate.crdt.CrdtStreamIn');
const streamOut = wire.lookupType('cloudstate.crdt.CrdtStreamOut');
const component: Component = { kind: 'replicated', service: 'a.Tally', entityType: 'tallies', methods: new Map() };
const ADD = { name: 'Add', component, serverStreaming: false, outputType: 'a.Count' } as Method;
const WATCH: Method = { ...ADD, name: 'Watch', serverStreaming: true };
const context = {
  routes: { repliesOf: () => [], eventsOf: () => [], feedsOf: () => [] } as Partial<Routes> as Routes,
  deployment: 'd',
  commandTopic: 'd-commands',
  answerTopic: 'd-answers',
  shards: 1,
  maxOutputBytes: 1_000,
  messageBytes: () => 2_000,
} as Partial<DecisionContext> as DecisionContext;
const shard = { isReady: () => true, publish: () => undefined };
const callerOf = (n: number): Caller => ({
  partition: 0,
  correlation: Buffer.alloc(16, n),
  doneOnly: false,
  awaits: 0,
  streamed: true,
});

/** The streams of the one entity, as the function sees them. */
interface Stream {
  readonly got: string[];
  /** How the runtime ended it; a cancelled one may have a command in flight. */
  ended: 'in order' | 'cancelled' | undefined;
  send(message: object): void;
}
let streams: Stream[];
let entities: Entities;
/** Names of what was decided, in order, with the number of events. */
let decided: string[];
let rejected: string[];

beforeEach(() => {
  streams = [];
  decided = [];
  rejected = [];
  const open = (): RawStream => {
    const raw = new EventEmitter();
    const stream: Stream = {
      got: [],
      ended: undefined,
      send: (message) => raw.emit('data', Buffer.from(streamOut.encode(message).finish())),
    };
    streams.push(stream);
    return Object.assign(raw, {
      write(bytes: Buffer) {
        const [what, message] = Object.entries(streamIn.toObject(streamIn.decode(bytes)))[0] ?? [];
        stream.got.push(what === 'command' ? message.name : what === 'init' ? 'init' : `${what} ${message.id}`);
        return true;
      },
      end() {
        stream.ended = 'in order';
      },
      cancel() {
        stream.ended = 'cancelled';
      },
    }) as unknown as RawStream;
  };
  entities = new Entities({
    client: { stream: open } as Partial<FunctionClient> as FunctionClient,
    dialect: cloudstate(),
    store: {
      heads: async (keys) => keys.map(() => ({ seq: 0, snapshot: undefined, voidThrough: 0 })),
      tails: async () => [],
      values: async () => [],
    },
    maxStreams: 10,
    maxCommands: 100,
    passivationMs: 60_000,
    deadlineMs: 60_000,
    ignoreSnapshots: false,
    isFunctionUp: () => true,
    decide: (command, position, effect) => decide(command, effect, position, context),
    repeat: () => publishing([]),
    streams: createStreamOutputs(context),
    onPublished: () => undefined,
    reject: (_item: Item, error: StateferryError) => {
      rejected.push(error.code);
      return publishing([]);
    },
    onDecided: (item) => {
      decided.push(`${item.command?.stream ?? item.command?.method.name} ${item.decision?.events.length}`);
      // It is in the journal at once.
      queueMicrotask(() => item.onJournaled?.());
    },
    onLost: () => undefined,
    onLoadFailed: (error) => {
      throw error;
    },
    findDuplicates: async (items) => items.map(() => false),
    signals: createSignals().signals,
  });
});
afterEach(() => entities.stop());

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

let offset = 0;
async function dispatch(more: Partial<Command>): Promise<Item> {
  const command: Command = {
    id: `d-commands/0/${++offset}`,
    method: ADD,
    entityId: 'e',
    key: Buffer.from('e'),
    payload: { typeUrl: 'type.googleapis.com/a.Order', value: Buffer.alloc(0) },
    metadata: [],
    replyTo: [],
    ...more,
  };
  const item = createItem(shard, inputRecord(), command);
  entities.dispatch(item, command);
  await settle();
  return item;
}
const newest = () => streams.at(-1) as Stream;
const reply = (id: number, more: object = {}) => newest().send({ reply: { command_id: id, ...more } });
const add = (change: number) => ({ state_action: { update: { pncounter: { change } } } });
const leave = (n: number) => dispatch({ method: WATCH, caller: callerOf(n), stream: 'cancel' });

/** Two callers watch an entity that exists; both commands are answered. */
async function watched(): Promise<void> {
  await dispatch({ method: WATCH, caller: callerOf(1) });
  reply(1, { streamed: true, ...add(5) });
  await dispatch({ method: WATCH, caller: callerOf(2) });
  reply(2, { streamed: true });
  decided.length = 0;
}

it('a command goes to the function behind cancellations, and is decided after them', async () => {
  await watched();
  await leave(1);
  await leave(2);
  await dispatch({});
  expect(newest().got.slice(-3)).toEqual(['stream_cancelled 1', 'stream_cancelled 2', 'Add']);
  newest().send({ stream_cancelled_response: { command_id: 2, ...add(1) } });
  expect(decided).toEqual(['cancel 0', 'cancel 1']);
  reply(3, add(1));
  expect(decided).toEqual(['cancel 0', 'cancel 1', 'Add 1']);
});

it('what was answered behind cancellations tells that nothing more is to come of them', async () => {
  await watched();
  await leave(1);
  await dispatch({});
  reply(3, add(1));
  expect(decided).toEqual(['cancel 0', 'Add 1']);
  // Its value is then another one than ours, so it is opened anew.
  newest().send({ stream_cancelled_response: { command_id: 1, ...add(1) } });
  expect(newest().ended).toBe('cancelled');
});

it('a cancellation that deletes the entity lets the command behind it begin a new one', async () => {
  await watched();
  await leave(1);
  const command = await dispatch({});
  newest().send({ stream_cancelled_response: { command_id: 1, state_action: { delete: {} } } });
  await settle();
  expect([decided, command.running, streams.length]).toEqual([['cancel 0'], true, 2]);
  expect(streams[0]?.ended).toBe('cancelled');
  expect(newest().got).toEqual(['init', 'Add']);
  reply(1, add(1));
  expect(decided).toEqual(['cancel 0', 'Add 1']);
});

it('a cancellation that is answered with nonsense is refused, and the command behind it is sent again', async () => {
  await watched();
  await leave(1);
  await dispatch({});
  newest().send({ stream_cancelled_response: { command_id: 1, state_action: { update: { flag: { value: true } } } } });
  await settle();
  expect(rejected).toEqual(['FUNCTION_BROKEN_REPLY']);
  expect(newest().got).toEqual(['init', 'Add']);
  reply(1, add(1));
  expect(decided).toEqual(['cancel 0', 'Add 1']);
});

it('cancellations are over when the stream at the function is, whatever was in flight', async () => {
  await watched();
  await leave(1);
  await leave(2);
  await dispatch({});
  newest().send({ failure: { command_id: 3, description: 'no' } });
  await settle();
  expect([decided, rejected]).toEqual([['cancel 0', 'cancel 0', 'Add 0'], ['FUNCTION_FAILED']]);
});

it('a cancellation of nobody is decided without the function', async () => {
  await watched();
  const before = newest().got.length;
  const item = await leave(9);
  expect([item.decision?.outputs, newest().got.length]).toEqual([[], before]);
  entities.drop(shard);
  const other = await leave(1);
  expect([other.decision?.outputs, streams.length]).toEqual([[], 1]);
});
