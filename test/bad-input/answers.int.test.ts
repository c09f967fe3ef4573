import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { createTopic, produce, type ReadRecord, readCommitted } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import type { Plain } from '../support/raw-function.ts';
import { fileScope } from '../support/scope.ts';
import {
  type Answer,
  replyWith,
  type ScriptedCommand,
  type ScriptedEntity,
  type ScriptedFunction,
  startScriptedFunction,
} from '../support/scripted-function.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';
import { COMPONENTS, DESK_SERVICE, ORDER_SERVICE, ORDERS, replyAll, subscribeAll } from './orders.ts';

const MAX_RECORD_BYTES = 20_000;
/** What the topic of the replies takes: a batch of many replies is larger, and one reply can be. */
const REPLY_BYTES = 12_000;

const file = fileScope();
let fn: ScriptedFunction;
let runtime: RunningRuntime;
let input: string;
let replies: string;
let deadLetters: string;
let databaseUrl: string;

const done = (text: string) => fn.pack('orders.Done', { text });
const placed = (text: string) => fn.pack('orders.Placed', { text });
const reply = (id: number, fields: Plain): Answer => ({ reply: { command_id: id, ...fields } });
/** The event that a command which fails must not leave behind. */
const emitting = (): Plain => ({ events: [placed('must not be stored')] });
/** How a good order is answered: by one event. */
const good = ({ id, input: { text } }: ScriptedCommand): Answer =>
  reply(id, { ...replyWith(done(String(text))), events: [placed(String(text))] });
const call = (service_name: string, command_name: string): Plain => ({
  service_name,
  command_name,
  payload: fn.pack('orders.Remark', { text: 'x' }),
});

interface Bad {
  readonly what: string;
  readonly answer: (command: ScriptedCommand, entity: ScriptedEntity) => Answer | undefined;
  readonly code: string;
  readonly sentence: RegExp;
}

/** Each of them is a command whose text is `what`. */
const BAD: readonly Bad[] = [
  {
    what: 'fails the command',
    answer: ({ id }) =>
      reply(id, { client_action: { failure: { command_id: id, description: 'out of stock' } }, ...emitting() }),
    code: 'FUNCTION_FAILED',
    sentence: /^out of stock$/,
  },
  {
    what: 'throws',
    answer: ({ id }, entity) => {
      entity.send({ failure: { command_id: id, description: 'TypeError: x is undefined' } });
      entity.end();
      return undefined;
    },
    code: 'FUNCTION_FAILED',
    sentence: /TypeError: x is undefined/,
  },
  {
    what: 'throws and says neither why nor at what',
    answer: () => ({ failure: {} }),
    code: 'FUNCTION_FAILED',
    sentence: /without a reason/,
  },
  {
    what: 'never answers',
    answer: () => undefined,
    code: 'FUNCTION_TIMEOUT',
    sentence: /OrderService\/Place gave no answer within 2000 ms \(function\.deadlineMs\)/,
  },
  {
    what: 'answers another command',
    answer: ({ id }) => reply(id + 7, { ...replyWith(done('x')), ...emitting() }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /answered command 9, and the one in flight is 2/,
  },
  {
    what: 'fails another command',
    answer: ({ id }) => ({ failure: { command_id: id + 7, description: 'x' } }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /failed command 9, and the one in flight is 2/,
  },
  {
    what: 'sends what is no message',
    answer: () => Buffer.from([0xff, 0xff, 0xff]),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /none of the protocol's/,
  },
  {
    what: 'sends an empty message',
    answer: () => ({}),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /empty stream message/,
  },
  {
    what: 'emits an event without a type',
    answer: ({ id }) => reply(id, { ...replyWith(done('x')), events: [{ type_url: '', value: Buffer.from('x') }] }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /type url is ""/,
  },
  {
    what: 'emits an event with a type that no text column holds',
    answer: ({ id }) => reply(id, { ...replyWith(done('x')), events: [{ type_url: 'a\0b', value: Buffer.from('x') }] }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /type url is "a\\u0000b"/,
  },
  {
    what: 'takes a snapshot without a type',
    answer: ({ id }) => reply(id, { ...replyWith(done('x')), ...emitting(), snapshot: { type_url: '' } }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /type url is ""/,
  },
  {
    what: 'replies without a type',
    answer: ({ id }) => reply(id, { ...replyWith({ type_url: '', value: Buffer.from('x') }), ...emitting() }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /type url is ""/,
  },
  {
    what: 'replies by JSON that is none',
    answer: ({ id }) =>
      reply(id, { ...replyWith({ type_url: 'json.kalix.io/x', value: Buffer.from('{') }), ...emitting() }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /json\.kalix\.io\/x/,
  },
  {
    what: 'forwards to a method that is not there',
    answer: ({ id }) => reply(id, { client_action: { forward: call(ORDER_SERVICE, 'Nope') }, ...emitting() }),
    code: 'CALL_UNKNOWN_TARGET',
    sentence: /calls orders\.OrderService\/Nope, which the function does not have/,
  },
  {
    what: 'forwards to a service that is not there',
    answer: ({ id }) => reply(id, { client_action: { forward: call('orders.Nope', 'Place') }, ...emitting() }),
    code: 'CALL_UNKNOWN_TARGET',
    sentence: /calls orders\.Nope\/Place/,
  },
  {
    what: 'asks for an effect on a method that is not there',
    answer: ({ id }) =>
      reply(id, { ...replyWith(done('must not be seen')), side_effects: [call(DESK_SERVICE, 'Nope')], ...emitting() }),
    code: 'CALL_UNKNOWN_TARGET',
    sentence: /DeskService\/Nope/,
  },
  {
    what: 'forwards to nobody in particular',
    answer: ({ id }) => reply(id, { client_action: { forward: call(ORDER_SERVICE, 'Note') }, ...emitting() }),
    code: 'RECORD_NO_ENTITY_ID',
    sentence: /Note with a orders\.Remark whose entity key is empty or not marked/,
  },
  {
    what: 'gives more than engine.maxRecordBytes',
    answer: ({ id }) => reply(id, { ...replyWith(done('x'.repeat(MAX_RECORD_BYTES + 1))), ...emitting() }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /and at most 20000 may go \(engine\.maxRecordBytes\)/,
  },
  {
    what: 'gives more than the topic takes',
    answer: ({ id }) => reply(id, { ...replyWith(done('x'.repeat(REPLY_BYTES - 100))), ...emitting() }),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /headers included, and the topic ".*" takes at most 12000 \(max\.message\.bytes\)/,
  },
  {
    what: 'ends the stream each time',
    answer: (_command, entity) => {
      entity.end();
      return undefined;
    },
    code: 'FUNCTION_LOST',
    sentence: /the function ended the stream/,
  },
];

/** Misbehaviour that costs no command: what the text is → what the function does. */
const HARMLESS: Readonly<Record<string, Bad['answer']>> = {
  'answers twice': (command, entity) => {
    entity.send(good(command));
    return good(command);
  },
  'answers nothing': ({ id }) => reply(id, {}),
  'emits an event without content': ({ id, input: { text } }) =>
    reply(id, { ...replyWith(done(String(text))), events: [placed('')], snapshot: done('') }),
  'ends the stream once': (command, entity) => {
    if (timesSeen(command) > 1) return good(command);
    entity.end();
    return undefined;
  },
  'dies once': (command) => {
    if (timesSeen(command) > 1) return good(command);
    fn.kill();
    void fn.restart();
    return undefined;
  },
  'answers the one before once more': (command, entity) => {
    if (timesSeen(command) === 1) entity.send(reply(command.id - 1, replyWith(done('a second time'))));
    return good(command);
  },
};

function timesSeen({ input: { id, text } }: ScriptedCommand): number {
  const all = fn.entities.flatMap(({ commands }) => commands);
  return all.filter(({ input: seen }) => seen.id === id && seen.text === text).length;
}

const ACTIONS: Readonly<Record<string, { answer: () => Answer | Promise<Answer>; code: string; sentence: RegExp }>> = {
  'fails the call': {
    answer: () => ({ failure: { description: 'no ink' } }),
    code: 'FUNCTION_FAILED',
    sentence: /^no ink$/,
  },
  'ends the call with an error': {
    answer: () => Promise.reject(new Error('TypeError in the handler')),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /DeskService\/Log answered with gRPC status UNKNOWN: TypeError in the handler/,
  },
  'never answers the call': {
    answer: () => new Promise(() => undefined),
    code: 'FUNCTION_TIMEOUT',
    sentence: /DeskService\/Log .*/,
  },
  'answers by what is no message': {
    answer: () => Buffer.from([0xff, 0xff, 0xff]),
    code: 'FUNCTION_BROKEN_REPLY',
    sentence: /DeskService\/Log sent an answer that is none of the protocol's/,
  },
  'forwards nowhere': {
    answer: () => ({ forward: call(ORDER_SERVICE, 'Nope') }),
    code: 'CALL_UNKNOWN_TARGET',
    sentence: /OrderService\/Nope/,
  },
};

const entityOf = (what: string) => what.replaceAll(' ', '-');
const sandwich = (entity: string, filling: string) =>
  ['good 1', filling, 'good 2'].map((text) => ({
    key: entity,
    value: fn.pack('orders.Order', { id: entity, text }).value,
    headers: { ce_type: 'orders.Order' },
  }));

beforeAll(async () => {
  const answers = new Map(BAD.map(({ what, answer }) => [what, answer]));
  fn = await startScriptedFunction(file, {
    descriptor: ORDERS,
    components: COMPONENTS,
    onCommand(command, entity) {
      const text = String(command.input.text);
      return (answers.get(text) ?? HARMLESS[text] ?? good)(command, entity);
    },
    onAction: ({ input: { text } }) => ACTIONS[String(text)]?.answer() ?? { reply: { payload: done(String(text)) } },
  });
  [input, replies, deadLetters] = await Promise.all([
    createTopic(file, { partitions: 2 }),
    createTopic(file, { partitions: 1, config: { 'max.message.bytes': String(REPLY_BYTES) } }),
    createTopic(file, { partitions: 1 }),
  ]);
  databaseUrl = await createDatabase(file);
  runtime = startRuntime(file, {
    'deployment.name': deploymentName(file),
    'postgres.url': databaseUrl,
    'function.url': fn.url,
    'function.deadlineMs': 2_000,
    'engine.maxRecordBytes': MAX_RECORD_BYTES,
    'topics.subscriptions': subscribeAll(input),
    'topics.destinations': replyAll(replies),
    'deadLetters.topic': deadLetters,
  });
  await runtime.ready();
});

const of = (records: readonly ReadRecord[], key: string) => records.filter((record) => record.key?.toString() === key);
const textOf = ({ value }: ReadRecord) => value?.subarray(2).toString();

async function read(topic: string, enough: (records: readonly ReadRecord[]) => boolean): Promise<ReadRecord[]> {
  let records: ReadRecord[] = [];
  await eventually(`${topic} has what is expected`, async () => {
    records = await readCommitted(topic, 'end');
    return enough(records);
  }).catch((error: unknown) => {
    const seen = records.map((r) => `${r.key} ${r.headers['stateferry-error'] ?? textOf(r)}`).join('\n');
    throw new Error(`${String(error)}; it has\n${seen}`, { cause: error });
  });
  return records;
}

async function journaledEvents(entity: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ seq: string; payload: Buffer }>(
      'select seq, payload from stateferry.event where entity_id = $1 order by seq',
      [entity],
    );
    return rows.map(({ seq, payload }) => `${seq} ${payload.subarray(2)}`);
  } finally {
    await client.end();
  }
}

describe('a command that the function answers badly', () => {
  let letters: ReadRecord[];
  let answers: ReadRecord[];

  beforeAll(async () => {
    const entities = BAD.map(({ what }) => entityOf(what));
    await produce(
      input,
      BAD.flatMap(({ what }) => sandwich(entityOf(what), what)),
    );
    answers = await read(replies, (records) => entities.every((entity) => of(records, entity).length >= 2));
    letters = await read(deadLetters, (records) => entities.every((entity) => of(records, entity).length >= 1));
  });

  it.each(BAD)('($what) is a dead letter with the reason', ({ what, code, sentence }) => {
    expect(of(letters, entityOf(what)).map(({ headers }) => headers)).toEqual([
      expect.objectContaining({
        'stateferry-error-code': code,
        'stateferry-error': expect.stringMatching(sentence),
        'stateferry-service': ORDER_SERVICE,
        'stateferry-method': 'Place',
        ce_type: 'orders.Order',
      }),
    ]);
  });

  it.each(BAD)('($what) leaves nothing behind, and its entity goes on from where it was', async ({ what }) => {
    const entity = entityOf(what);

    expect(await journaledEvents(entity)).toEqual(['1 good 1', '2 good 2']);
    expect(of(answers, entity).map(textOf)).toEqual(['good 1', 'good 2']);
    const last = fn.entities.findLast(({ id }) => id === entity);
    expect(last?.events.map(({ sequence }) => sequence)).toEqual([1]);
  });

  it('costs no rebuild', () => {
    expect(runtime.status().totals.rebuilds).toBe(0);
  });
});

describe('a function that', () => {
  it.each(Object.keys(HARMLESS))('%s loses and doubles nothing, and no command is blamed for it', async (what) => {
    const entity = entityOf(what);

    await produce(input, sandwich(entity, what));
    const mine = of(await read(replies, (records) => of(records, entity).length >= 3), entity);

    const silent = what === 'answers nothing';
    expect(mine.map((record) => textOf(record))).toEqual(['good 1', silent ? '' : what, 'good 2']);
    const event = what === 'emits an event without content' ? '' : what;
    expect(await journaledEvents(entity)).toEqual(
      silent ? ['1 good 1', '2 good 2'] : ['1 good 1', `2 ${event}`, '3 good 2'],
    );
    expect(of(await readCommitted(deadLetters, 'end'), entity)).toEqual([]);
  });

  it.each(Object.entries(ACTIONS))(
    '%s (an action) has that record dead-lettered, and goes on',
    async (what, { code, sentence }) => {
      const key = entityOf(what);

      await produce(
        input,
        ['good 1', what, 'good 2'].map((text) => ({
          key,
          value: fn.pack('orders.Slip', { text }).value,
          headers: { ce_type: 'orders.Slip' },
        })),
      );
      const mine = of(await read(replies, (records) => of(records, key).length >= 2), key);
      const buried = of(await read(deadLetters, (records) => of(records, key).length >= 1), key);

      expect(mine.map(textOf)).toEqual(['good 1', 'good 2']);
      expect(buried.map(({ headers }) => headers)).toEqual([
        expect.objectContaining({
          'stateferry-error-code': code,
          'stateferry-error': expect.stringMatching(sentence),
          'stateferry-service': DESK_SERVICE,
        }),
      ]);
    },
  );

  it('answers fast is not held up by a topic that takes only small batches', async () => {
    const rebuilds = runtime.status().totals.rebuilds;
    const keys = Array.from({ length: 200 }, (_, i) => `small-${i}`);
    const text = `good ${'x'.repeat(500)}`;

    await produce(
      input,
      keys.map((id) => ({
        key: id,
        value: fn.pack('orders.Order', { id, text }).value,
        headers: { ce_type: 'orders.Order' },
      })),
    );
    await read(replies, (records) => keys.every((key) => of(records, key).length === 1));

    expect(runtime.status().totals.rebuilds).toBe(rebuilds);
  });
});
