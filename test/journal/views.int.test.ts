import type pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeAnswer } from '../../src/codec/answer-record.ts';
import { asProtobuf } from '../../src/codec/any.ts';
import { encodeCommandRecord } from '../../src/codec/command-record.ts';
import { encodeInputs } from '../../src/codec/inputs.ts';
import { encodeOutbox } from '../../src/codec/outbox.ts';
import { nudge, putBack } from '../../src/codec/put-back.ts';
import { claimDeployment } from '../../src/journal/deployment.ts';
import { noteFunctionVersion } from '../../src/journal/function-versions.ts';
import type { InputRecord, OutputRecord } from '../../src/model/record.ts';
import { descriptorSetOf } from '../../src/protocol/descriptors.ts';
import { createJournal } from '../support/journal.ts';
import { inputRecord } from '../support/records.ts';
import { fileScope } from '../support/scope.ts';
import { createShop } from '../support/shop.ts';

const t = fileScope();
const shop = createShop();
let pool: pg.Pool;
let chunk = 0;

beforeAll(async () => {
  pool = await createJournal(t);
  await claimDeployment(pool, 'd', 4);
  const spec = {
    dialect: 'kalix',
    protocolVersion: '1.0',
    serviceName: 'shop',
    supportLibrary: 'x',
    components: new Map([[shop.cart.service, shop.cart]]),
    digest: 'v1',
  };
  await noteFunctionVersion(pool, spec, descriptorSetOf(shop.descriptors), shop.descriptors.registry);
});

const KEYLESS = Buffer.from('0a0161', 'hex');
const record = (given: Partial<OutputRecord>): OutputRecord => ({
  topic: 'out',
  partition: 1,
  key: Buffer.from('k'),
  value: Buffer.from('{"a":1}'),
  headers: [],
  ...given,
});

/** What `outputs` shows of a chunk with these records. */
async function outputs(records: Uint8Array, columns: string): Promise<unknown[]> {
  chunk += 1;
  await pool.query("insert into outbox (generation, shard, chunk, positions, records) values (1, 0, $1, '{}', $2)", [
    chunk,
    records,
  ]);
  return (await pool.query(`select ${columns} from outputs where chunk = $1 order by ordinal`, [chunk])).rows;
}

/** What `commands` shows of a chunk that had these records. */
async function commands(
  records: Uint8Array,
  columns: string,
  parked: readonly number[] | null = null,
): Promise<unknown[]> {
  chunk += 1;
  await pool.query(
    "insert into chunk (generation, shard, chunk, positions, shard_seq, records, parked, function) values (1, 0, $1, '{}', 0, 1, $2, 'v1')",
    [chunk, parked],
  );
  await pool.query('insert into input (generation, shard, chunk, records) values (1, 0, $1, $2)', [chunk, records]);
  return (await pool.query(`select ${columns} from commands where chunk = $1 order by ordinal`, [chunk])).rows;
}

describe('outputs', () => {
  it('shows topic, partition, key and headers as they are, in order', async () => {
    const rows = await outputs(
      encodeOutbox([
        record({
          headers: [
            ['ce_type', 'T'],
            ['stateferry-origin', 'in/0/7#1'],
          ],
        }),
        record({ topic: 'other', partition: 300, key: null, value: null }),
        record({
          key: Buffer.from([0xff]),
          headers: [
            ['a', 'é'],
            ['b', 'x'],
            ['a', Buffer.from([0xff])],
          ],
        }),
        record({ key: Buffer.alloc(0), value: Buffer.alloc(0) }),
      ]),
      'ordinal, topic, partition, key, type, value, headers, command_id, key_bytes',
    );
    const nothing = { type: null, command_id: null };
    expect(rows).toEqual([
      {
        ordinal: 0,
        topic: 'out',
        partition: 1,
        key: 'k',
        type: 'T',
        value: { a: 1 },
        headers: { ce_type: 'T', 'stateferry-origin': 'in/0/7#1' },
        command_id: 'in/0/7#1',
        key_bytes: Buffer.from('k'),
      },
      { ...nothing, ordinal: 1, topic: 'other', partition: 300, key: null, value: null, headers: {}, key_bytes: null },
      {
        ...nothing,
        ordinal: 2,
        topic: 'out',
        partition: 1,
        key: null,
        value: { a: 1 },
        headers: { a: ['é', { base64: '/w==' }], b: 'x' },
        key_bytes: Buffer.from([0xff]),
      },
      {
        ...nothing,
        ordinal: 3,
        topic: 'out',
        partition: 1,
        key: '',
        value: null,
        headers: {},
        key_bytes: Buffer.alloc(0),
      },
    ]);
  });

  it('reads a value by its headers', async () => {
    const of = (value: string | Buffer, contentType?: string, type?: string): OutputRecord =>
      record({
        value: Buffer.from(value),
        headers: [
          ...(contentType === undefined ? [] : [['Content-Type', contentType] as const]),
          ...(type === undefined ? [] : [['ce-type', type] as const]),
        ],
      });
    const rows = (await outputs(
      encodeOutbox([
        of('5', 'application/json; charset=utf-8'),
        of('{"a":', 'application/json'),
        of('plain', 'text/plain; charset=utf-8'),
        of(KEYLESS, 'application/protobuf', 'shop.Keyless'),
        of(KEYLESS, undefined, 'shop.Keyless'),
        of(KEYLESS, 'application/octet-stream', 'shop.Keyless'),
        of(KEYLESS, 'application/protobuf'),
        of(KEYLESS, 'application/protobuf', 'no.Such'),
        of('[1]'),
        of('[1'),
        of('1'),
        of('{"x":1}', 'application/vnd.x+json'),
      ]),
      'value',
    )) as { value: unknown }[];
    const keyless = { text: 'a' };
    expect(rows.map(({ value }) => value)).toEqual([
      5,
      null,
      'plain',
      keyless,
      keyless,
      keyless,
      null,
      null,
      [1],
      null,
      null,
      { x: 1 },
    ]);
  });

  it("shows what is on the deployment's own topics, and what a dead letter is of", async () => {
    const command = encodeCommandRecord({
      id: 'in/0/1#1',
      service: 'shop.Cart',
      method: 'Blind',
      entityId: 'e',
      payload: asProtobuf('shop.Keyless', KEYLESS),
      metadata: [{ key: 'k', value: 'v' }],
      replyTo: ['r'],
      key: Buffer.from('e'),
      topic: 'd-commands',
      partition: 0,
    });
    const caller = { partition: 2, correlation: Buffer.alloc(16), doneOnly: false, awaits: 0 };
    const answer = encodeAnswer({
      topic: 'd-answers',
      caller,
      awaits: 1,
      outcome: { kind: 'reply', payload: asProtobuf('shop.Keyless', KEYLESS), metadata: [] },
      commandId: 'd-commands/0/5',
    });
    const letter = record({
      topic: 'd-dead-letters',
      headers: [
        ['stateferry-error-code', 'RECORD_UNDECODABLE'],
        ['stateferry-topic', 'in'],
        ['stateferry-partition', '3'],
        ['stateferry-offset', '9'],
      ],
    });
    const original = inputRecord({ topic: 'in', partition: 0, offset: 4n, value: Buffer.from('{"b":2}') });
    const again = putBack(original, { topic: 'd-commands', partition: 0, commandId: 'in/0/4' });
    const rows = await outputs(encodeOutbox([command, answer, letter, again]), 'value, command_id');
    expect(rows).toEqual([
      {
        value: {
          id: 'in/0/1#1',
          service: 'shop.Cart',
          method: 'Blind',
          entityId: 'e',
          typeUrl: 'type.googleapis.com/shop.Keyless',
          payload: { text: 'a' },
          metadata: [{ key: 'k', text: 'v' }],
          replyTopics: ['r'],
        },
        command_id: 'in/0/1#1',
      },
      {
        value: { awaits: 1, reply: { typeUrl: 'type.googleapis.com/shop.Keyless', payload: { text: 'a' } } },
        command_id: 'd-commands/0/5',
      },
      { value: { a: 1 }, command_id: 'in/3/9' },
      { value: { b: 2 }, command_id: 'in/0/4' },
    ]);
  });

  it('of a chunk that is damaged are one row without a topic, and the other chunks are there', async () => {
    expect(await outputs(Buffer.from('1aff', 'hex'), 'ordinal, topic, value')).toEqual([
      { ordinal: 0, topic: null, value: null },
    ]);
    expect(await outputs(Buffer.alloc(0), 'ordinal')).toEqual([]);
    const all = await pool.query('select count(*) as n from outputs where topic is not null');
    expect(all.rows[0]).toMatchObject({ n: expect.any(Number) });
  });
});

describe('commands', () => {
  it('shows records of topics, with their places and what was parked', async () => {
    const at = new Date('2026-01-02T03:04:05.006Z');
    const given = (more: Partial<InputRecord>): InputRecord =>
      inputRecord({ topic: 'in', partition: 2, timestamp: at.getTime(), ...more });
    const rows = await commands(
      encodeInputs([
        given({
          offset: 2n ** 40n,
          key: Buffer.from('e'),
          value: KEYLESS,
          headers: { ce_type: 'shop.Keyless', 'stateferry-origin': 'forged' },
        }),
        given({ topic: 'in2', offset: 0n, value: null }),
      ]),
      'ordinal, topic, partition, "offset", "timestamp", key, command_id, service, entity_id, type, value, command, parked, function',
      [1],
    );
    const nothing = { service: null, entity_id: null, command: null, function: 'v1', partition: 2, timestamp: at };
    expect(rows).toEqual([
      {
        ...nothing,
        ordinal: 0,
        topic: 'in',
        offset: 2 ** 40,
        key: 'e',
        command_id: `in/2/${2 ** 40}`,
        type: 'shop.Keyless',
        value: { text: 'a' },
        parked: false,
      },
      {
        ...nothing,
        ordinal: 1,
        topic: 'in2',
        offset: 0,
        key: null,
        command_id: 'in2/2/0',
        type: null,
        value: null,
        parked: true,
      },
    ]);
  });

  it('shows the commands of the command topic, put back ones as what they were', async () => {
    const send = (id: string): OutputRecord =>
      encodeCommandRecord({
        id,
        service: 'shop.Cart',
        method: 'Blind',
        entityId: 'e',
        payload: asProtobuf('shop.Keyless', KEYLESS),
        metadata: [],
        replyTo: [],
        key: Buffer.from('e'),
        topic: 'd-commands',
        partition: 0,
      });
    const received = (output: OutputRecord, offset: bigint): InputRecord =>
      inputRecord({
        topic: output.topic,
        partition: output.partition,
        offset,
        key: output.key === null ? null : Buffer.from(output.key),
        value: output.value === null ? null : Buffer.from(output.value),
        headers: Object.fromEntries(output.headers.map(([name, value]) => [name, Buffer.from(value)])),
      });
    const to = { topic: 'd-commands', partition: 0, commandId: 'in/0/4' };
    const rows = await commands(
      encodeInputs([
        received(send('in/0/1#1'), 5n),
        received(send(''), 6n),
        received(
          putBack(inputRecord({ topic: 'in', partition: 0, offset: 4n, value: Buffer.from('{"b":2}') }), to),
          7n,
        ),
        received(putBack(received(send(''), 6n), { ...to, commandId: 'd-commands/0/6' }), 8n),
        received(nudge('d-commands', 0), 9n),
      ]),
      'command_id, service, method, entity_id, type, value, command',
    );
    const typeUrl = 'type.googleapis.com/shop.Keyless';
    const blind = { service: 'shop.Cart', method: 'Blind', entity_id: 'e', type: 'shop.Keyless', value: { text: 'a' } };
    const said = { service: 'shop.Cart', method: 'Blind', entityId: 'e', typeUrl };
    const nothing = { service: null, method: null, entity_id: null, type: null, command: null };
    expect(rows).toEqual([
      { ...blind, command_id: 'in/0/1#1', command: { id: 'in/0/1#1', ...said } },
      { ...blind, command_id: 'd-commands/0/6', command: said },
      { ...nothing, command_id: 'in/0/4', value: { b: 2 } },
      { ...blind, command_id: 'd-commands/0/6', command: said },
      { ...nothing, command_id: 'd-commands/0/9', value: null },
    ]);
  });

  it('of a chunk that is damaged are one row without a topic', async () => {
    expect(await commands(Buffer.from('0aff', 'hex'), 'ordinal, topic, value')).toEqual([
      { ordinal: 0, topic: null, value: null },
    ]);
  });
});

describe('the views', () => {
  const EVENTS = 20_000;
  const CHUNKS = 2_000;

  beforeAll(async () => {
    await pool.query(
      `insert into event (generation, entity_type, entity_id, seq, shard, shard_seq, epoch, type_url, payload, command_id, at)
       select 1, 'carts', 'c' || n % 1000, n / 1000 + 1, n % 4, n / 4 + 1, 1, 'type.googleapis.com/shop.Keyless', '\\x0a0161',
              'in/' || n % 4 || '/' || n, timestamptz '2026-01-01' + n * interval '1 second'
       from generate_series(0, $1 - 1) n`,
      [EVENTS],
    );
    await pool.query(
      `insert into chunk (generation, shard, chunk, positions, shard_seq, records, function, at)
       select 1, s, 1000 + n, '{}', n * $1 / 4 / $2, 1, case when n <= $2 / 2 then 'v0' else 'v1' end, timestamptz '2026-01-01' + n * interval '10 seconds'
       from generate_series(1, $2) n, generate_series(0, 3) s`,
      [EVENTS, CHUNKS],
    );
    await pool.query(
      'insert into input (generation, shard, chunk, records) select generation, shard, chunk, $1 from chunk where chunk > 1000',
      [encodeInputs([inputRecord({ value: KEYLESS, headers: { ce_type: 'shop.Keyless' } })])],
    );
    await pool.query('analyze');
  });

  /** The plan of a query, as text. */
  const plan = async (sql: string): Promise<string> =>
    (await pool.query<{ 'QUERY PLAN': string }>(`explain ${sql}`)).rows.map((row) => row['QUERY PLAN']).join('\n');

  it.each([
    [
      'an entity',
      "select * from events where generation = 1 and entity_type = 'carts' and entity_id = 'c7' order by seq",
      'event_pkey',
    ],
    [
      'one event',
      "select * from events where generation = 1 and entity_type = 'carts' and entity_id = 'c7' and seq = 3",
      'event_pkey',
    ],
    [
      'a shard in order',
      'select * from events where generation = 1 and shard = 2 and shard_seq > 100 order by shard_seq limit 10',
      'event_shard_seq',
    ],
    [
      'the chunk of an event',
      "select chunk from events where generation = 1 and entity_type = 'carts' and entity_id = 'c7'",
      'chunk_shard_seq',
    ],
    [
      'commands of a time',
      "select * from commands where generation = 1 and at between '2026-01-01 01:00' and '2026-01-01 01:01'",
      'chunk_at',
    ],
    ['commands of a chunk', 'select * from commands where generation = 1 and shard = 2 and chunk = 1500', 'input_pkey'],
    ['outputs of a chunk', 'select * from outputs where generation = 1 and shard = 2 and chunk = 1500', 'chunk_pkey'],
  ])('find %s by an index', async (_what, sql, index) => {
    const text = await plan(sql);
    expect(text).toContain(index);
    expect(text).not.toMatch(/Seq Scan on (event|input|chunk)/);
  });

  /** How often a function is called by a query. */
  async function calls(sql: string, name: string): Promise<number> {
    const client = await pool.connect();
    try {
      await client.query('begin');
      await client.query("set local track_functions = 'all'");
      const count = async () =>
        (
          await client.query<{ calls: number }>(
            'select coalesce(sum(calls), 0)::int as calls from pg_stat_xact_user_functions where funcname = $1',
            [name],
          )
        ).rows[0]?.calls ?? 0;
      const before = await count();
      await client.query(sql);
      return (await count()) - before;
    } finally {
      await client.query('rollback');
      client.release();
    }
  }

  it('decode the rows that they show, and none for columns that nobody asks for', async () => {
    expect(
      await calls(
        'select data from events where generation = 1 and shard = 2 order by shard_seq limit 7',
        'decode_payload',
      ),
    ).toBe(7);
    expect(await calls('select * from events where generation = 1 order by at desc limit 3', 'decode_payload')).toBe(3);
    expect(await calls('select count(*), max(at) from events', 'decode_payload')).toBe(0);
    expect(await calls('select topic, "offset", key from commands where shard = 1 limit 5', 'record_value')).toBe(0);
    expect(
      await calls(
        "select value from commands where generation = 1 and shard = 1 and at < '2026-01-01 00:01'",
        'input_records',
      ),
    ).toBe(5);
  });

  it('tell which chunk and which version of the function an event is of', async () => {
    const { rows } = await pool.query(
      'select shard_seq, chunk, function, component, data from events where shard = 1 and shard_seq in (1, 2, 3, 2500, 2501, 5000) order by shard_seq',
    );
    const chunkOf = (shardSeq: number) => 1000 + Math.ceil((shardSeq * 4 * CHUNKS) / EVENTS);
    expect(rows).toEqual(
      [1, 2, 3, 2500, 2501, 5000].map((shardSeq) => ({
        shard_seq: shardSeq,
        chunk: chunkOf(shardSeq),
        function: shardSeq <= 2500 ? 'v0' : 'v1',
        component: null,
        data: { text: 'a' },
      })),
    );
  });

  it('are read by parallel queries, too', async () => {
    const client = await pool.connect();
    try {
      await client.query('begin');
      await client.query(
        `select set_config(case when current_setting('server_version_num')::int >= 160000
           then 'debug_parallel_query' else 'force_parallel_mode' end, 'on', true)`,
      );
      const { rows } = await client.query(
        `select (select count(data) from events where generation = 1 and shard = 1 and shard_seq <= 500) as events,
                (select count(value) from commands where shard = 1 and chunk between 1001 and 1100) as commands`,
      );
      expect(rows).toEqual([{ events: 500, commands: 100 }]);
    } finally {
      await client.query('rollback');
      client.release();
    }
  });

  it('tell which record started it', async () => {
    const ids = ['in/3/17', 'a.b-c/0/0#1', 'in/3/17#2@group/with#odd/1/2', 'odd'];
    await pool.query(
      `insert into event (generation, entity_type, entity_id, seq, shard, shard_seq, epoch, type_url, payload, command_id)
       select 2, 't', 'e', n, 0, n, 1, 'x', '', id from unnest($1::text[]) with ordinality as u(id, n)`,
      [ids],
    );
    const { rows } = await pool.query(
      'select input_topic as topic, input_partition as partition, input_offset as "offset", derived from events where generation = 2 order by seq',
    );
    expect(rows).toEqual([
      { topic: 'in', partition: 3, offset: 17, derived: false },
      { topic: 'a.b-c', partition: 0, offset: 0, derived: true },
      { topic: 'in', partition: 3, offset: 17, derived: true },
      { topic: null, partition: null, offset: null, derived: false },
    ]);
  });

  it('are the same whatever schema a connection is in', async () => {
    const client = await pool.connect();
    await client.query('set search_path = public');
    try {
      const event = await client.query(
        "select data from journal.events where generation = 1 and entity_id = 'c7' limit 1",
      );
      const command = await client.query('select value from journal.commands where shard = 2 and chunk = 1500');
      expect([event.rows, command.rows]).toEqual([[{ data: { text: 'a' } }], [{ value: { text: 'a' } }]]);
    } finally {
      // It is not like the others any more.
      client.release(true);
    }
  });
});
