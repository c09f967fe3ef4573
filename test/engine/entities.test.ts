import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Decision, DecisionContext } from '../../src/engine/decide.ts';
import { Entities } from '../../src/engine/entities.ts';
import { createItem, type Item, publishing } from '../../src/engine/item.ts';
import { createStreamOutputs } from '../../src/engine/streams.ts';
import type { StateferryError } from '../../src/errors.ts';
import type { FunctionClient } from '../../src/functions/client.ts';
import type { RawStream } from '../../src/functions/raw-stream.ts';
import type { Command } from '../../src/model/command.ts';
import type { Component, Method } from '../../src/model/component.ts';
import { createSignals } from '../../src/observe/signals.ts';
import type { Dialect, EntityProtocol } from '../../src/protocol/dialect.ts';
import { inputRecord } from '../support/records.ts';

/** gRPC's code for a function that is away. */
const UNAVAILABLE = 14;
/** Longer than any pause before a command is sent again, in ms. */
const PAUSE_MS = 6_000;
const DEADLINE_MS = 60_000;
const PASSIVATION_MS = 10_000;

const CARTS: Component = { kind: 'value', service: 'shop.Carts', entityType: 'carts', methods: new Map() };
const METHOD = { name: 'Add', component: CARTS } as Method;

/** One entity's stream, from the function's side. */
class Stream extends EventEmitter {
  readonly entity: string;
  isOpen = true;
  /** The command that it has and has not answered. */
  command: { readonly id: number; readonly payload: string } | undefined;

  constructor(entity: string) {
    super();
    this.entity = entity;
  }

  answer(): void {
    const { id } = this.command ?? {};
    this.command = undefined;
    this.emit('data', Buffer.from(JSON.stringify({ id })));
  }

  lose(): void {
    this.isOpen = false;
    this.emit('error', Object.assign(new Error('gone'), { code: UNAVAILABLE }));
  }
}

/** A protocol of JSON texts: what entities.ts does is the same in all of them. */
const protocol: EntityProtocol = {
  path: '/values',
  encodeInit: ({ entityId }) => Buffer.from(JSON.stringify({ init: entityId })),
  encodeCommand: ({ id, payload }) =>
    Buffer.from(JSON.stringify({ id, payload: Buffer.from(payload.value).toString() })),
  decodeOut: (bytes) => ({
    kind: 'reply',
    commandId: JSON.parse(Buffer.from(bytes).toString()).id,
    effect: { answer: { kind: 'none' }, sideEffects: [], events: [] },
  }),
};

/** A function in memory that answers when it is told to, and notes which commands were sent to it. */
function scriptedFunction() {
  const streams: Stream[] = [];
  const sent: string[] = [];
  const open = (): RawStream => {
    let stream: Stream | undefined;
    const raw = new EventEmitter();
    const end = () => {
      if (stream !== undefined) stream.isOpen = false;
    };
    return Object.assign(raw, {
      write(bytes: Buffer) {
        const message = JSON.parse(bytes.toString());
        if (message.init !== undefined) {
          stream = new Stream(message.init);
          stream.on('data', (data) => raw.emit('data', data));
          stream.on('error', (error) => raw.emit('error', error));
          streams.push(stream);
        } else if (stream !== undefined && message.event === undefined) {
          stream.command = message;
          sent.push(message.payload);
        }
        return true;
      },
      end,
      cancel: end,
    }) as unknown as RawStream;
  };
  return {
    client: { stream: open } as Partial<FunctionClient> as FunctionClient,
    isUp: true,
    /** Payloads of all commands so far, in order. */
    sent,
    open: () => streams.filter(({ isOpen }) => isOpen),
    inFlight: () => streams.filter(({ isOpen, command }) => isOpen && command !== undefined),
    of(entity: string): Stream {
      const found = streams.findLast((stream) => stream.entity === entity && stream.isOpen);
      if (found === undefined) throw new Error(`${entity} has no stream`);
      return found;
    },
  };
}

let fn: ReturnType<typeof scriptedFunction>;
let entities: Entities;
let decided: string[];
let rejected: { readonly payload: string; readonly code: string }[];
/** Their sentences, in the same order. */
let refusals: string[];
/** Entities whose state the journal was asked for, in order. */
let loaded: string[];
const shard = { isReady: () => true, publish: () => undefined };

function create(
  maxStreams = 100,
  maxCommands = 100,
  given: Partial<ConstructorParameters<typeof Entities>[0]> = {},
): void {
  fn = scriptedFunction();
  decided = [];
  rejected = [];
  refusals = [];
  loaded = [];
  entities = new Entities({
    client: fn.client,
    dialect: { value: protocol } as Dialect,
    store: {
      heads: async () => [],
      tails: async () => [],
      values: async (keys) => {
        loaded.push(...keys.map(({ entityId }) => entityId));
        return keys.map(() => ({ revision: 0, payload: undefined }));
      },
    },
    maxStreams,
    maxCommands,
    passivationMs: PASSIVATION_MS,
    deadlineMs: DEADLINE_MS,
    ignoreSnapshots: false,
    isFunctionUp: () => fn.isUp,
    decide: (): Decision => publishing([]),
    repeat: (): Decision => publishing([]),
    streams: createStreamOutputs({} as DecisionContext),
    onPublished: () => undefined,
    reject: (item: Item, error: StateferryError): Decision => {
      rejected.push({ payload: payloadOf(item), code: error.code });
      refusals.push(error.message);
      return publishing([]);
    },
    onDecided: (item) => decided.push(payloadOf(item)),
    onLost: () => undefined,
    onLoadFailed: (error) => {
      throw error;
    },
    findDuplicates: async (items) => items.map(() => false),
    signals: createSignals().signals,
    ...given,
  });
}

function payloadOf(item: Item): string {
  return Buffer.from(item.command?.payload.value ?? []).toString();
}

function dispatch(entityId: string, payload: string, method = METHOD): Item {
  const command: Command = {
    id: `in/0/${payload}`,
    method,
    entityId,
    key: Buffer.from(entityId),
    payload: { typeUrl: 'text', value: Buffer.from(payload) },
    metadata: [],
    replyTo: [],
  };
  const item = createItem(shard, inputRecord(), command);
  entities.dispatch(item, command);
  return item;
}

/** Lets everything happen that needs no time to pass. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** The function dies of what it has in flight, and is there again after a while. */
async function die(): Promise<void> {
  fn.isUp = false;
  for (const stream of fn.open()) stream.lose();
  await settle();
  vi.advanceTimersByTime(PAUSE_MS);
  await settle();
  fn.isUp = true;
  entities.functionBack();
  await settle();
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  create();
});
afterEach(() => {
  entities.stop();
  vi.useRealTimers();
});

describe('the commands of one entity', () => {
  it('are sent one after the other, in the order in which they came', async () => {
    for (const payload of ['1', '2', '3']) dispatch('a', payload);
    dispatch('b', 'other');
    await settle();
    expect(fn.sent).toEqual(['1', 'other']);
    fn.of('a').answer();
    expect(fn.sent).toEqual(['1', 'other', '2']);
    fn.of('a').answer();
    fn.of('a').answer();
    expect(decided).toEqual(['1', '2', '3']);
  });

  it('wait until those before them are journaled, where its state has to be loaded again', async () => {
    create(1);
    const first = dispatch('a', '1');
    await settle();
    fn.of('a').answer();
    dispatch('b', 'takes the stream');
    await settle();
    dispatch('a', '2');
    fn.of('b').answer();
    await settle();
    expect(loaded).toEqual(['a', 'b']);
    first.onJournaled?.();
    await settle();
    expect(loaded).toEqual(['a', 'b', 'a']);
    expect(fn.sent.at(-1)).toBe('2');
  });
});

describe('an entity whose first events retention has removed', () => {
  const LEDGERS: Component = { ...CARTS, kind: 'event-sourced', entityType: 'ledgers' } as Component;
  const ADD = { name: 'Add', component: LEDGERS } as Method;
  const createWith = (ignoreSnapshots: boolean) =>
    create(100, 100, {
      ignoreSnapshots,
      dialect: { value: protocol, eventSourced: protocol } as Dialect,
      store: {
        heads: async (keys) =>
          keys.map(({ entityId }) =>
            entityId === 'cut'
              ? {
                  seq: 9,
                  snapshot: { seq: 9, payload: { typeUrl: 'text', value: Buffer.from('state') } },
                  voidThrough: 0,
                  removedThrough: 7,
                }
              : { seq: 0, snapshot: undefined, voidThrough: 0 },
          ),
        tails: async (wanted) => wanted.map(() => []),
        values: async () => [],
      },
    });

  it('is refused where the SDK starts from no snapshot, with what is to be done, and others are loaded', async () => {
    createWith(true);
    dispatch('cut', '1', ADD);
    dispatch('whole', '2', ADD);
    await settle();
    expect(rejected).toEqual([{ payload: '1', code: 'ENTITY_UNREADABLE' }]);
    expect(refusals).toEqual([
      `the function's SDK starts from no snapshot, and retention has removed the events of ledgers "cut" up to 7: it needs a function whose SDK does.`,
    ]);
    expect(fn.sent).toEqual(['2']);
  });

  it('is loaded where the SDK starts from its snapshot', async () => {
    createWith(false);
    dispatch('cut', '1', ADD);
    await settle();
    expect(rejected).toEqual([]);
    expect(fn.sent).toEqual(['1']);
  });
});

describe('an entity with a long history', () => {
  const LAST = 4_500;
  const LEDGERS: Component = { ...CARTS, kind: 'event-sourced', entityType: 'ledgers' } as Component;
  const ADD = { name: 'Add', component: LEDGERS } as Method;
  const eventSourced = { ...protocol, encodeEvent: (event: number) => Buffer.from(JSON.stringify({ event })) };
  /** Tells of each entity's events but this one; retention removes some as they are asked for first, if it is to. */
  const createWith = (missing: number, isCut = false) => {
    let removedThrough = 0;
    create(1, 100, {
      dialect: { value: protocol, eventSourced } as Partial<Dialect> as Dialect,
      store: {
        heads: async (keys) =>
          keys.map(({ entityId }) => {
            loaded.push(entityId);
            const payload = { typeUrl: 'text', value: Buffer.from('state') };
            return {
              seq: entityId === 'short' ? 0 : LAST,
              snapshot: removedThrough > 0 ? { seq: LAST - 1, payload } : undefined,
              voidThrough: 0,
              ...(removedThrough > 0 && { removedThrough }),
            };
          }),
        tails: async (wanted) => {
          if (isCut) removedThrough = missing;
          return wanted.map(({ after, through }) =>
            Array.from({ length: through - after }, (_, i) => after + 1 + i)
              .filter((seq) => seq !== missing)
              .map((seq) => ({ seq, payload: { typeUrl: 'text', value: Buffer.alloc(0) } })),
          );
        },
        values: async () => [],
      },
    });
  };

  it('that lacks an event is refused, and gives its stream to another one', async () => {
    createWith(3_000);
    dispatch('long', '1', ADD);
    dispatch('short', '2', ADD);
    await settle();
    await settle();
    expect(rejected).toEqual([{ payload: '1', code: 'ENTITY_UNREADABLE' }]);
    expect(fn.sent).toEqual(['2']);
    expect(fn.open().map(({ entity }) => entity)).toEqual(['short']);
    expect(entities.active).toBe(1);
  });

  it('is loaded again when retention has removed events while it was replayed', async () => {
    createWith(3_000, true);
    dispatch('long', '1', ADD);
    await settle();
    await settle();
    expect(rejected).toEqual([]);
    expect(loaded).toEqual(['long', 'long', 'long']);
    expect(fn.sent).toEqual(['1']);
    expect(entities.active).toBe(1);
  });
});

describe('a cap on streams', () => {
  it('takes the stream of the entity that was used longest ago', async () => {
    create(2);
    for (const entity of ['a', 'b', 'a']) {
      dispatch(entity, entity);
      await settle();
      fn.of(entity).answer();
    }
    dispatch('c', 'c');
    await settle();
    expect(fn.open().map(({ entity }) => entity)).toEqual(['a', 'c']);
    expect(entities.active).toBe(2);
  });

  it('lets entities wait while all who have one are at work', async () => {
    create(2);
    for (const entity of ['a', 'b', 'c', 'd']) dispatch(entity, entity);
    await settle();
    expect(fn.sent).toEqual(['a', 'b']);
    fn.of('b').answer();
    await settle();
    expect(fn.sent).toEqual(['a', 'b', 'c']);
    expect(entities.active).toBe(2);
  });
});

describe('an entity without a command', () => {
  const isOpen = () => fn.open().map(({ entity }) => entity);

  /** Lets time pass as far as performance.now() and all timers tell. */
  async function pass(timeMs: number): Promise<void> {
    // Whole milliseconds: sums of fractions would miss the time by a bit.
    const now = Math.ceil(performance.now()) + timeMs;
    vi.spyOn(performance, 'now').mockReturnValue(now);
    vi.advanceTimersByTime(1_000);
    await settle();
  }
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('gives its stream back in time, and is loaded again by the next one', async () => {
    const first = dispatch('a', '1');
    await settle();
    await pass(PASSIVATION_MS);
    expect(isOpen()).toEqual(['a']);
    fn.of('a').answer();
    await pass(PASSIVATION_MS - 1);
    expect(isOpen()).toEqual(['a']);
    await pass(1);
    expect(isOpen()).toEqual([]);
    expect(entities.active).toBe(0);
    first.onJournaled?.();
    dispatch('a', '2');
    await settle();
    expect(fn.inFlight()).toMatchObject([{ entity: 'a', command: { payload: '2' } }]);
    expect(loaded).toEqual(['a', 'a']);
  });

  it('keeps it for as long as its component says, whatever others say', async () => {
    const rooms: Component = {
      ...CARTS,
      service: 'shop.Rooms',
      entityType: 'rooms',
      passivationMs: PASSIVATION_MS * 3,
    };
    dispatch('room', '1', { name: 'Add', component: rooms } as Method);
    await settle();
    fn.of('room').answer();
    dispatch('cart', '2');
    await settle();
    fn.of('cart').answer();
    await pass(PASSIVATION_MS);
    expect(isOpen()).toEqual(['room']);
    await pass(PASSIVATION_MS * 2);
    expect(isOpen()).toEqual([]);
  });
});

describe('a cap on commands', () => {
  it('lets those that are more wait for their turn, in the order in which they came', async () => {
    create(100, 2);
    for (const entity of ['a', 'b', 'c', 'd', 'e']) dispatch(entity, entity);
    await settle();
    expect(fn.sent).toEqual(['a', 'b']);
    fn.of('b').answer();
    fn.of('a').answer();
    expect(fn.sent).toEqual(['a', 'b', 'c', 'd']);
    fn.of('d').answer();
    expect(fn.sent.at(-1)).toBe('e');
  });

  it('gives no entity a second turn before those who wait have had theirs', async () => {
    create(100, 1);
    for (const payload of ['a1', 'a2', 'a3']) dispatch('a', payload);
    for (const payload of ['b1', 'b2']) dispatch('b', payload);
    await settle();
    for (const entity of ['a', 'b', 'a', 'b', 'a']) fn.of(entity).answer();
    expect(fn.sent).toEqual(['a1', 'b1', 'a2', 'b2', 'a3']);
    expect(decided).toEqual(['a1', 'b1', 'a2', 'b2', 'a3']);
  });

  it('gives the turn of a command that is taken back or lost to the next', async () => {
    create(100, 1);
    dispatch('a', 'first');
    const taken = dispatch('b', 'taken back');
    dispatch('c', 'lost');
    dispatch('d', 'last');
    await settle();
    entities.withdraw([taken]);
    fn.of('a').answer();
    expect(fn.sent).toEqual(['first', 'lost']);
    fn.of('c').lose();
    expect(fn.sent).toEqual(['first', 'lost', 'last']);
    fn.of('d').answer();
    await settle();
    expect(fn.sent).toEqual(['first', 'lost', 'last', 'lost']);
    dispatch('b', 'after all');
    fn.of('c').answer();
    expect(fn.sent.at(-1)).toBe('after all');
  });
});

describe('a function that dies', () => {
  it('is sent again what it had, all at once, the first time', async () => {
    for (const entity of ['a', 'b']) dispatch(entity, entity);
    await settle();
    await die();
    expect(fn.inFlight().map(({ entity }) => entity)).toEqual(['a', 'b']);
  });

  it('is sent what it had at two deaths one at a time, and nothing beside it', async () => {
    for (const entity of ['a', 'b', 'c']) dispatch(entity, entity);
    await settle();
    await die();
    await die();
    dispatch('new', 'new');
    await settle();
    const seen: string[] = [];
    for (let rest = 3; rest > 0; rest--) {
      const [only, ...more] = fn.inFlight();
      expect(more).toEqual([]);
      seen.push(only?.entity ?? '');
      only?.answer();
      await settle();
    }
    expect(seen.toSorted()).toEqual(['a', 'b', 'c']);
    expect(fn.inFlight().map(({ entity }) => entity)).toEqual(['new']);
    expect(rejected).toEqual([]);
  });

  it('of one command loses that one as a dead letter after two more deaths, and no other', async () => {
    for (const entity of ['a', 'deadly', 'c']) dispatch(entity, entity);
    await settle();
    await die();
    await die();
    const alone: string[] = [];
    for (let deaths = 0; deaths < 2; ) {
      const [only, ...more] = fn.inFlight();
      expect(only).toBeDefined();
      expect(more).toEqual([]);
      if (only?.entity === 'deadly') {
        alone.push('deadly');
        await die();
        deaths++;
      } else {
        only?.answer();
        await settle();
      }
    }
    expect(rejected).toEqual([{ payload: 'deadly', code: 'FUNCTION_LOST' }]);
    for (let left = fn.inFlight(); left.length > 0; left = fn.inFlight()) {
      for (const stream of left) stream.answer();
      await settle();
    }
    expect(alone).toHaveLength(2);
    expect(rejected).toHaveLength(1);
    expect(decided.toSorted()).toEqual(['a', 'c', 'deadly']);
  });

  it('goes on with the next command of the entity after the deadly one', async () => {
    const deadly = dispatch('a', 'deadly');
    dispatch('a', 'next');
    await settle();
    for (let deaths = 0; deaths < 4; deaths++) await die();
    expect(rejected.map(({ payload }) => payload)).toEqual(['deadly']);
    deadly.onJournaled?.();
    await settle();
    expect(fn.sent.at(-1)).toBe('next');
  });
});

describe('what is withdrawn', () => {
  it('is not sent, where it waits behind another command of its entity', async () => {
    const [first, second, third] = [dispatch('a', '1'), dispatch('a', '2'), dispatch('a', '3')];
    await settle();
    entities.withdraw([first, second, third]);
    fn.of('a').answer();
    await settle();
    expect(fn.sent).toEqual(['1']);
    expect(decided).toEqual(['1']);
  });

  it('is not sent, where its entity waits for a stream', async () => {
    create(1);
    dispatch('a', '1');
    const waiting = dispatch('b', '2');
    await settle();
    entities.withdraw([waiting]);
    fn.of('a').answer();
    await settle();
    expect(fn.sent).toEqual(['1']);
  });

  it('is no suspect any more that others would have to wait for', async () => {
    const items = ['a', 'b'].map((entity) => dispatch(entity, entity));
    await settle();
    await die();
    await die();
    const [suspect] = fn.inFlight();
    entities.withdraw(items.filter((item) => !item.running));
    dispatch('new', 'new');
    await settle();
    expect(fn.sent).not.toContain('new');
    suspect?.answer();
    await settle();
    expect(fn.inFlight().map(({ entity }) => entity)).toEqual(['new']);
  });
});
