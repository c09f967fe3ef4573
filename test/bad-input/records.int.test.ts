import type { Message } from 'kafkajs';
import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import type { EngineOptions } from '../../src/engine/engine.ts';
import { partitionFor } from '../../src/topics/partition.ts';
import { createTopic, endOffsets, produce, type ReadRecord, readCommitted, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { replyWith, type ScriptedFunction, startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';
import { COMPONENTS, ORDERS, replyAll, subscribeAll } from './orders.ts';

const PARTITIONS = 2;
const MAX_RECORD_BYTES = 20_000;
/** What the deployment's own topics take, made beforehand by somebody: less than the input topic takes. */
const DEAD_LETTER_BYTES = 200_000;
const COMMAND_BYTES = 100_000;

const file = fileScope();
const name = deploymentName(file);
const commands = `${name}-commands`;

let fn: ScriptedFunction;
let runtime: RunningRuntime;
let input: string;
let replies: string;
let deadLetters: string;
let databaseUrl: string;
/** What becomes of the next transaction that has a dead letter in it; undefined: nothing special. */
let accident: 'before' | 'after' | undefined;

/** The engine with a producer that has an accident when it is told to: nobody knows then whether it committed. */
function withAccidents(parts: EngineOptions): EngineOptions {
  return {
    ...parts,
    createTransactor(transactionalId, onLost) {
      const transactor = parts.createTransactor(transactionalId, onLost);
      return {
        ...transactor,
        async commit(emission) {
          const now = emission.outputs.some(({ topic }) => topic === deadLetters) ? accident : undefined;
          if (now !== undefined) accident = undefined;
          if (now !== 'before') await transactor.commit(emission);
          if (now !== undefined) throw new Error(`an accident ${now} the commit`);
        },
      };
    },
  };
}

beforeAll(async () => {
  fn = await startScriptedFunction(file, {
    descriptor: ORDERS,
    components: COMPONENTS,
    onCommand: ({ id, input: { text } }) => ({
      reply: { command_id: id, ...replyWith(fn.pack('orders.Done', { text: text ?? '' })) },
    }),
    onAction: ({ input: { text } }) => ({ reply: { payload: fn.pack('orders.Done', { text: text ?? '' }) } }),
  });
  [input, replies, deadLetters] = await Promise.all([
    createTopic(file, { partitions: PARTITIONS, config: { 'max.message.bytes': '1000000' } }),
    createTopic(file, { partitions: PARTITIONS }),
    createTopic(file, { partitions: 1, config: { 'max.message.bytes': String(DEAD_LETTER_BYTES) } }),
  ]);
  const configEntries = [{ name: 'max.message.bytes', value: String(COMMAND_BYTES) }];
  await withAdmin((admin) =>
    admin.createTopics({
      topics: [{ topic: commands, numPartitions: PARTITIONS, replicationFactor: 1, configEntries }],
    }),
  );
  databaseUrl = await createDatabase(file);
  runtime = startRuntime(
    file,
    {
      'deployment.name': name,
      'postgres.url': databaseUrl,
      'function.url': fn.url,
      'engine.maxRecordBytes': MAX_RECORD_BYTES,
      'topics.subscriptions': subscribeAll(input),
      'topics.destinations': replyAll(replies),
      'deadLetters.topic': deadLetters,
    },
    { replace: withAccidents },
  );
  await runtime.ready();
});

const ORDER = { ce_type: 'orders.Order' };
const JSON_ORDER = { ...ORDER, 'content-type': 'application/json' };
const home = (key: string) => partitionFor(Buffer.from(key), PARTITIONS);
const orderOf = (json: { id?: string; text?: string }) => fn.pack('orders.Order', json).value;

/** An order that is fine, for the partition of its entity. */
function good(id: string, text: string): Message {
  return { key: id, value: orderOf({ id, text }), headers: ORDER, partition: home(id) };
}

/** The records of a topic with what `marker` stands in their headers: `case` is copied to dead letters as it is. */
const ofCase = (records: readonly ReadRecord[], marker: string) =>
  records.filter(({ headers }) => headers.case === marker);

async function read(topic: string, enough: (records: readonly ReadRecord[]) => boolean): Promise<ReadRecord[]> {
  let records: ReadRecord[] = [];
  await eventually(`${topic} has what is expected`, async () => {
    records = await readCommitted(topic, 'end');
    return enough(records);
  });
  return records;
}

const textOf = ({ value }: ReadRecord) => value?.subarray(2).toString();

/** Everything on the input is applied and committed, which it can only be together with its dead letters. */
async function expectAllCommitted(): Promise<void> {
  const ends = await endOffsets(input);
  const committed = async () => {
    const fetched = await withAdmin((admin) => admin.fetchOffsets({ groupId: name, topics: [input] }));
    return new Map(fetched[0]?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]));
  };
  await eventually('the group has committed all of the input', async () => {
    const offsets = await committed();
    return [...ends].every(([partition, end]) => end === 0n || offsets.get(partition) === end);
  });
}

interface Bad {
  readonly what: string;
  readonly record: () => Message;
  readonly code: string;
  readonly sentence: RegExp;
  /** What the dead letter leaves out, where it cannot hold all of the record. */
  readonly leftOut?: string;
}

const BAD: readonly Bad[] = [
  {
    what: 'bytes that are no protobuf',
    record: () => ({ value: Buffer.from([0xff, 0xff, 0xff]), headers: ORDER }),
    code: 'RECORD_UNDECODABLE',
    sentence: /orders\.Order/,
  },
  {
    what: 'protobuf that is cut off',
    record: () => ({ value: orderOf({ id: 'a', text: 'long enough' }).subarray(0, -3), headers: ORDER }),
    code: 'RECORD_UNDECODABLE',
    sentence: /orders\.Order/,
  },
  {
    what: 'a string field that is no UTF-8',
    record: () => ({ value: Buffer.from([0x12, 0x02, 0xc3, 0x28]), headers: ORDER }),
    code: 'RECORD_UNDECODABLE',
    sentence: /UTF-8/,
  },
  {
    what: 'JSON that ends early',
    record: () => ({ value: '{"id": "a", ', headers: JSON_ORDER }),
    code: 'RECORD_UNDECODABLE',
    sentence: /JSON/,
  },
  {
    what: 'JSON of another shape',
    record: () => ({ value: '{"id": {"text": 3}}', headers: JSON_ORDER }),
    code: 'RECORD_UNDECODABLE',
    sentence: /orders\.Order/,
  },
  {
    what: 'a content type that the method cannot take',
    record: () => ({ value: 'hello', headers: { ...ORDER, 'content-type': 'text/plain' } }),
    code: 'RECORD_UNDECODABLE',
    sentence: /text\/plain/,
  },
  {
    what: 'a CloudEvent in structured mode',
    record: () => ({ value: '{}', headers: { ...ORDER, 'content-type': 'application/cloudevents+json' } }),
    code: 'RECORD_UNDECODABLE',
    sentence: /binary mode/,
  },
  {
    what: 'a type that no method takes',
    record: () => ({ value: orderOf({ id: 'a' }), headers: { ce_type: 'orders.Invoice' } }),
    code: 'RECORD_UNKNOWN_TYPE',
    sentence: /orders\.Invoice.*takes orders\.Order/,
  },
  {
    what: 'no type where there are several methods',
    record: () => ({ value: orderOf({ id: 'a' }) }),
    code: 'RECORD_UNKNOWN_TYPE',
    sentence: /no type/,
  },
  {
    what: 'no key, and an empty key field',
    record: () => ({ key: null, value: orderOf({ text: 'for whom' }), headers: ORDER }),
    code: 'RECORD_NO_ENTITY_ID',
    sentence: /no key.*\(id\).*is empty/,
  },
  {
    what: 'no key, and no field that could be one',
    record: () => ({
      key: null,
      value: fn.pack('orders.Remark', { text: 'x' }).value,
      headers: { ce_type: 'orders.Remark' },
    }),
    code: 'RECORD_NO_ENTITY_ID',
    sentence: /marks no entity key field/,
  },
  {
    what: 'a key that is no text',
    record: () => ({ key: Buffer.from([0xc3, 0x28]), value: orderOf({ id: 'a' }), headers: ORDER }),
    code: 'RECORD_NO_ENTITY_ID',
    sentence: /UTF-8/,
  },
  {
    what: 'a key that Postgres cannot hold',
    record: () => ({ key: 'a\0b', value: orderOf({ id: 'a' }), headers: ORDER }),
    code: 'RECORD_NO_ENTITY_ID',
    sentence: /U\+0000/,
  },
  {
    what: 'a key that is too long for an entity id',
    record: () => ({ key: 'k'.repeat(2_000), value: orderOf({ id: 'a' }), headers: ORDER }),
    code: 'RECORD_NO_ENTITY_ID',
    sentence: /2000 bytes.*at most 1024/,
  },
  {
    what: 'a null value',
    record: () => ({ value: null, headers: ORDER }),
    code: 'RECORD_TOMBSTONE',
    sentence: /no value/,
  },
  {
    what: 'a value that is larger than engine.maxRecordBytes',
    record: () => ({ value: orderOf({ id: 'a', text: 'x'.repeat(MAX_RECORD_BYTES) }), headers: ORDER }),
    code: 'RECORD_OVERSIZE',
    sentence: /at most 20000/,
  },
  {
    what: 'a value that is larger than even the dead-letter topic takes',
    record: () => ({ value: Buffer.alloc(2 * DEAD_LETTER_BYTES, 1), headers: ORDER }),
    code: 'RECORD_OVERSIZE',
    sentence: /at most 20000/,
    leftOut: 'value',
  },
  {
    what: 'headers that are larger than even the dead-letter topic takes',
    record: () => ({ value: null, headers: { ...ORDER, big: 'h'.repeat(2 * DEAD_LETTER_BYTES) } }),
    code: 'RECORD_TOMBSTONE',
    sentence: /no value/,
    leftOut: 'value, headers',
  },
];

describe('a malformed record', () => {
  /** All of them in one partition, each between two good records of one entity. */
  const entity = 'the-entity-of-the-table';
  let letters: ReadRecord[];
  let answers: ReadRecord[];

  beforeAll(async () => {
    const partition = home(entity);
    const messages: Message[] = [good(entity, '0')];
    for (const [i, bad] of BAD.entries()) {
      const { headers, ...record } = bad.record();
      messages.push({ key: entity, ...record, headers: { ...headers, case: `bad-${i}` }, partition });
      messages.push(good(entity, String(i + 1)));
    }
    // One by one, as some are nearly as large as a batch may be.
    for (const message of messages) await produce(input, [message]);
    letters = await read(deadLetters, (records) => records.length >= BAD.length);
    answers = await read(replies, (records) => records.length >= BAD.length + 1);
  });

  it.each(BAD.map((bad, i) => ({ ...bad, i })))(
    'of $what goes to the dead-letter topic as it was, with the reason and where it stood',
    ({ record, code, sentence, leftOut, i }) => {
      const sent = record();
      const found = leftOut === 'value, headers' ? letters.slice(i, i + 1) : ofCase(letters, `bad-${i}`);
      expect(found).toHaveLength(1);
      const [letter] = found as [ReadRecord];
      const bytes = (value: Message['value'] | Message['key']) =>
        value === null ? null : Buffer.from(value ?? entity);

      expect(letter.key).toEqual(bytes(sent.key));
      expect(letter.value).toEqual(leftOut === undefined ? bytes(sent.value) : null);
      expect(letter.headers).toMatchObject({
        ...(leftOut === 'value, headers' ? {} : sent.headers),
        'stateferry-error-code': code,
        'stateferry-error': expect.stringMatching(sentence),
        'stateferry-topic': input,
        'stateferry-partition': String(home(entity)),
        'stateferry-offset': String(2 * i + 1),
      });
      expect(letter.headers['stateferry-left-out']).toBe(leftOut);
    },
  );

  it('stands in the dead-letter topic in the order of the input', () => {
    const offsets = letters.map(({ headers }) => Number(headers['stateferry-offset']));
    expect(offsets).toEqual(BAD.map((_, i) => 2 * i + 1));
  });

  it('holds up nothing: the good records around it are answered, in order, each once', () => {
    expect(answers.map(textOf)).toEqual([String(0), ...BAD.map((_, i) => String(i + 1))]);
  });

  it('moves the position of its partition, and costs no rebuild', async () => {
    await expectAllCommitted();
    expect(runtime.status().totals).toMatchObject({ rebuilds: 0, deadLetters: BAD.length });
    expect(fn.discoveries).toBe(1);
  });
});

describe('a dead letter and the position behind it', () => {
  it.each(['before', 'after'] as const)(
    'are committed together: an accident %s the commit neither loses nor doubles it',
    async (when) => {
      const entity = `accident-${when}`;
      const rebuilds = () => runtime.status().totals.rebuilds;
      const earlier = rebuilds();
      accident = when;
      await produce(input, [
        good(entity, 'one'),
        { key: entity, value: null, headers: { ...ORDER, case: when }, partition: home(entity) },
        good(entity, 'two'),
      ]);

      const mine = ({ key }: ReadRecord) => key?.toString() === entity;
      const answers = await read(replies, (records) => records.filter(mine).length >= 2);
      await eventually('it was rebuilt', () => rebuilds() > earlier);
      await expectAllCommitted();

      expect(answers.filter(mine).map(textOf)).toEqual(['one', 'two']);
      expect((await readCommitted(deadLetters, 'end')).filter(mine)).toHaveLength(1);
      expect((await readCommitted(replies, 'end')).filter(mine)).toHaveLength(2);
    },
  );
});

describe('a record in another partition than its entity', () => {
  it('is handled in the right shard, once, by the one stream of its entity', async () => {
    const entity = 'stray';
    const away = (home(entity) + 1) % PARTITIONS;
    const strays = runtime.status().totals.strays;

    await produce(input, [
      { ...good(entity, 'home'), partition: home(entity) },
      { ...good(entity, 'away'), partition: away },
      // The key says nothing here: the entity is the key field's, and a producer cannot know where that belongs.
      { key: null, value: orderOf({ id: entity, text: 'keyless' }), headers: ORDER, partition: away },
    ]);
    const mine = ({ key }: ReadRecord) => key?.toString() === entity;
    const answers = (await read(replies, (records) => records.filter(mine).length >= 3)).filter(mine);
    await expectAllCommitted();

    expect(answers.map(textOf).sort()).toEqual(['away', 'home', 'keyless']);
    expect(new Set(answers.map(({ partition }) => partition))).toEqual(new Set([home(entity)]));
    expect(fn.entities.filter(({ id }) => id === entity)).toHaveLength(1);
    expect(runtime.status().totals.strays - strays).toBe(2);
    const detour = (await readCommitted(commands, 'end')).filter(mine);
    expect(detour.map(({ partition }) => partition)).toEqual([home(entity), home(entity)]);
  });

  it('is a dead letter where the command topic cannot take it, and nothing stops', async () => {
    const entity = 'large-stray';
    const away = (home(entity) + 1) % PARTITIONS;
    await produce(input, [
      { ...good(entity, 'x'), partition: away, headers: { ...ORDER, big: 'h'.repeat(COMMAND_BYTES), case: entity } },
      good(entity, 'next'),
    ]);
    const letters = await read(deadLetters, (records) => ofCase(records, entity).length > 0);

    expect(ofCase(letters, entity)[0]?.headers).toMatchObject({
      'stateferry-error-code': 'RECORD_OVERSIZE',
      'stateferry-error': expect.stringContaining(commands),
      'stateferry-service': 'orders.OrderService',
    });
    await read(replies, (records) => records.some((r) => r.key?.toString() === entity && textOf(r) === 'next'));
  });
});

it('a foreign record on the command topic is a dead letter too', async () => {
  await produce(commands, [
    { key: 'k', value: 'not ours', headers: { case: 'foreign' }, partition: 0 },
    { key: 'k', value: null, headers: { case: 'foreign' }, partition: 0 },
  ]);
  const letters = ofCase(await read(deadLetters, (records) => ofCase(records, 'foreign').length >= 2), 'foreign');

  expect(letters.map(({ headers }) => headers['stateferry-error-code'])).toEqual([
    'RECORD_UNDECODABLE',
    'RECORD_TOMBSTONE',
  ]);
  expect(letters[0]?.headers['stateferry-error']).toMatch(/Only Stateferry writes to the command topic/);
});

it('nothing of a malformed record is in the journal', async () => {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const events = await client.query('select 1 from stateferry.event');
    const applied = await client.query<{ sum: string }>(`select sum((applied->>$1)::bigint) from stateferry.shard`, [
      input,
    ]);
    const ends = [...(await endOffsets(input)).values()].reduce((sum, end) => sum + end, 0n);
    expect([events.rowCount, applied.rows[0]?.sum]).toEqual([0, String(ends)]);
  } finally {
    await client.end();
  }
});
