import pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { wrapJson } from '../../src/codec/any.ts';
import { encodeReplicatedDelta } from '../../src/codec/replicated-record.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { ANY_URLS } from '../../src/protocol/any-urls.ts';
import { type Cli, createCli } from '../support/cli.ts';
import { compileProtos } from '../support/compile-protos.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

const file = fileScope();
const SHARDS = 2;
const T0 = Date.UTC(2026, 0, 31, 12);
const MINUTE = 60_000;
let db: pg.Pool;
let cli: Cli;

const at = (minutes: number) => new Date(T0 + minutes * MINUTE);
/** Two events are of one chunk, and as old as it is. */
const timeOf = (shardSeq: number) => at(Math.ceil(shardSeq / 2) * 2);

async function insertEvent(
  shard: number,
  shardSeq: number,
  [entityType, entityId, seq]: [string, string, number],
  more: {
    readonly when?: Date;
    readonly commandId?: string;
    readonly typeUrl?: string;
    readonly payload?: Uint8Array;
  } = {},
): Promise<void> {
  const { when = timeOf(shardSeq), commandId = `orders/${shard}/${shardSeq}`, typeUrl, payload } = more;
  await db.query(
    `insert into event (generation, entity_type, entity_id, seq, shard, shard_seq, epoch, type_url, payload, command_id, at)
     values (1, $1, $2, $3, $4, $5, 1, $6, $7, $8, $9)`,
    [
      entityType,
      entityId,
      seq,
      shard,
      shardSeq,
      typeUrl ?? 'type.googleapis.com/shop.Added',
      payload ?? Buffer.from([0x08, shardSeq]),
      commandId,
      when,
    ],
  );
}

const lines = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

beforeAll(async () => {
  const url = await createDatabase(file);
  await migrate({ url, schema: 'stateferry' });
  db = new pg.Pool({ connectionString: url, max: 2, options: '-c search_path=stateferry' });
  file.onTestFinished(() => db.end());
  cli = createCli({ 'deployment.name': 'shop', 'postgres.url': url, 'function.url': 'http://127.0.0.1:1' });
  await db.query('insert into deployment (name, shards, created_at) values ($1, $2, $3)', ['shop', SHARDS, at(0)]);
  for (const [digest, field, hours] of [
    ['first', 'amount', 2],
    ['second', 'count', 1],
  ] as const) {
    const set = compileProtos({
      'shop.proto': `syntax = "proto3"; package shop; message Added { int32 ${field} = 1; }`,
    });
    await db.query(
      `insert into function_version (digest, service_name, dialect, sdk, descriptors, components, discovered_at)
       values ($1, 'shop', 'kalix', 'sdk', $2, $3, now() - $4 * interval '1 hour')`,
      [
        digest,
        Buffer.from(set),
        JSON.stringify([
          { kind: 'event-sourced', service: 'shop.CartService', entityType: 'carts' },
          { kind: 'replicated', service: 'shop.TallyService', entityType: 'tallies' },
          { kind: 'action', service: 'shop.Mailer', entityType: 'shop.Mailer' },
        ]),
        hours,
      ],
    );
  }
  // Two events a chunk, and the second version from the third chunk on; of shard 1 the first chunks are not remembered.
  for (let n = 1; n <= 10; n++) {
    await insertEvent(0, n, ['carts', `cart-${n % 2}`, Math.ceil(n / 2)]);
    await insertEvent(1, n, ['carts', 'other', n]);
  }
  for (let chunk = 1; chunk <= 5; chunk++) {
    for (const shard of chunk >= 4 ? [0, 1] : [0]) {
      await db.query(
        `insert into chunk (generation, shard, chunk, positions, shard_seq, records, function, at)
         values (1, $1, $2, $3, $4, 2, $5, $6)`,
        [
          shard,
          chunk,
          JSON.stringify({ orders: String(chunk * 2 + 1) }),
          chunk * 2,
          shard === 1 ? null : chunk < 3 ? 'first' : 'second',
          at(chunk * 2),
        ],
      );
    }
  }
  for (const shard of [0, 1]) {
    await db.query(
      `insert into shard (generation, shard, applied, counted_from, chunk, shard_seq) values (1, $1, '{"orders":"11"}', '{"orders":"1"}', 5, 10)`,
      [shard],
    );
  }
});

describe('events', () => {
  it('are read by the version of the function that wrote them', async () => {
    const { out } = await cli('journal', 'events', '--shard', '0');
    expect(lines(out).map(({ payload }) => payload)).toEqual([
      { amount: 1 },
      { amount: 2 },
      { amount: 3 },
      { amount: 4 },
      ...[5, 6, 7, 8, 9, 10].map((count) => ({ count })),
    ]);
  });

  it('go by shard or by entity', async () => {
    const placesOf = async (...argv: string[]) =>
      lines((await cli('journal', 'events', '--entity', 'cart-*', ...argv)).out).map(
        ({ entity, seq }) => `${entity}@${seq}`,
      );
    expect(await placesOf('--order', 'shard')).toEqual(
      Array.from({ length: 10 }, (_, i) => `cart-${(i + 1) % 2}@${Math.ceil((i + 1) / 2)}`),
    );
    expect(await placesOf()).toEqual([0, 1].flatMap((cart) => [1, 2, 3, 4, 5].map((seq) => `cart-${cart}@${seq}`)));
  });

  it('are taken from a time to a time, to the millisecond, also where chunks are not remembered', async () => {
    const seqsOf = async (...argv: string[]) =>
      lines((await cli('journal', 'events', ...argv)).out).map(({ shard, shardSeq }) => `${shard}/${shardSeq}`);
    const between = ['--from', at(4).toISOString(), '--to', at(6).toISOString()];
    expect(await seqsOf(...between)).toEqual(['0/3', '0/4', '0/5', '0/6', '1/3', '1/4', '1/5', '1/6']);
    expect(
      await seqsOf(...between, '--order', 'entity', '--component', 'shop.CartService', '--entity', 'other'),
    ).toEqual(['1/3', '1/4', '1/5', '1/6']);
    const just = new Date(at(4).getTime() + 1).toISOString();
    expect(await seqsOf('--from', just, '--to', at(7).toISOString())).toEqual(['0/5', '0/6', '1/5', '1/6']);
    expect((await cli('journal', 'events', '--from', '1m')).out).toBe('');
  });

  it('are taken by sequence, type, record and what derives from it, and as many as asked for', async () => {
    const seqsOf = async (...argv: string[]) => {
      const { out } = await cli('journal', 'events', ...argv);
      return out === '' ? [] : lines(out).map(({ shard, shardSeq }) => `${shard}/${shardSeq}`);
    };
    expect(await seqsOf('--entity', 'other', '--from', '9')).toEqual(['1/9', '1/10']);
    expect(await seqsOf('--entity', 'other', '--to', '2')).toEqual(['1/1', '1/2']);
    expect(await seqsOf('--type', 'Added')).toEqual([]);
    expect(await seqsOf('--type', 'shop.Added', '--shard', '1', '--limit', '1')).toEqual(['1/1']);
    expect(await seqsOf('--type', 'type.googleapis.com/shop.Added', '--limit', 'all')).toHaveLength(20);
    expect(await seqsOf('--input', 'orders/0/4')).toEqual(['0/4']);
    const { err } = await cli('journal', 'events', '--limit', '19');
    expect(err).toBe('There are more: --limit 19 was reached.\n');
    expect((await cli('journal', 'events', '--limit', '20')).err).toBe('');
  });

  it('that cannot be read are shown as bytes', async () => {
    await insertEvent(1, 11, ['carts', 'strange', 1], {
      typeUrl: 'type.googleapis.com/shop.Lost',
      payload: Buffer.from([0xff]),
    });
    await db.query('update shard set shard_seq = 11 where shard = 1');
    const { out } = await cli('journal', 'events', '--entity', 'strange');
    expect(lines(out)).toMatchObject([{ type: 'shop.Lost', bytes: 1, payload: null, base64: '/w==' }]);
    const table = await cli('journal', 'events', '--entity', 'strange', '--output', 'table');
    expect(table.out).toMatch(/^AT +COMPONENT +ENTITY .*PAYLOAD\n.* shop\.Lost +base64 \/w== \(1 bytes\)\n$/);
  });

  it('are followed from now on or from the beginning, in order, each once, until they are enough or Ctrl-C', async () => {
    const stop = new AbortController();
    const tail = cli.start(stop.signal, 'journal', 'tail', '--component', 'carts');
    const enough = cli.start(stop.signal, 'journal', 'events', '--follow', '--shard', '1', '--limit', '13');
    await eventually('the beginning is printed', () => enough.out().split('\n').length > 11);
    let seq = 11;
    const add = async (): Promise<void> => {
      seq++;
      await db.query('begin');
      await insertEvent(1, seq, ['carts', 'other', seq - 1], { when: new Date() });
      await db.query('update shard set shard_seq = $1 where shard = 1', [seq]);
      await db.query('commit');
    };
    await add();
    // The tail has begun at the latest when it prints.
    await eventually('the tail has begun', async () => {
      if (tail.out() === '' && seq < 40) await add();
      return tail.out() !== '';
    });
    await add();
    const { out, code } = await enough.ended;
    expect(code).toBe(0);
    expect(lines(out).map(({ shardSeq }) => shardSeq)).toEqual(Array.from({ length: 13 }, (_, i) => i + 1));
    await eventually('the tail has the last', () => tail.out().includes(`"shardSeq":${seq},`));
    stop.abort();
    const ended = await tail.ended;
    expect(ended).toMatchObject({ code: 0, err: '' });
    const numbers = lines(ended.out).map(({ shardSeq }) => shardSeq as number);
    const first = numbers[0] as number;
    expect(first).toBeGreaterThan(11);
    expect(numbers).toEqual(Array.from({ length: seq - first + 1 }, (_, i) => first + i));
  });
});

describe('entities', () => {
  it('are listed a page at a time', async () => {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const { out, err } = await cli(
        'journal',
        'entities',
        '--limit',
        '1',
        ...(cursor === undefined ? [] : ['--after', cursor]),
      );
      seen.push(...lines(out).map(({ entity }) => String(entity)));
      cursor = /--after '([^']+)'/.exec(err)?.[1];
    } while (cursor !== undefined);
    expect(seen).toEqual(['cart-0', 'cart-1', 'other', 'strange']);
  });

  it('have their last event, how many they have, and when', async () => {
    const { out } = await cli('journal', 'entities', '--entity', 'cart-1');
    expect(lines(out)).toEqual([
      {
        component: 'carts',
        kind: 'event-sourced',
        entity: 'cart-1',
        shard: expect.any(Number),
        seq: 5,
        events: 5,
        first: at(2).toISOString(),
        last: at(10).toISOString(),
        deleted: null,
      },
    ]);
  });
});

describe('stats', () => {
  it('count what there is, and tell how large it is', async () => {
    await db.query(
      `insert into value (generation, entity_type, entity_id, revision, shard, epoch, type_url, payload, command_id)
       values (1, 'boxes', 'b1', 2, 0, 1, 'json.kalix.io/box', $1, 'orders/0/1'), (1, 'boxes', 'b2', 1, 0, 1, null, null, 'orders/0/2')`,
      [wrapJson(ANY_URLS.kalix, 'box', Buffer.from('{"a":1}')).value],
    );
    await db.query(
      `insert into snapshot (generation, entity_type, entity_id, seq, type_url, payload) values (1, 'carts', 'cart-1', 4, 'x', 'abc')`,
    );
    const { out } = await cli('journal', 'stats');
    const all = lines(out);
    expect(all.find(({ component }) => component === 'carts')).toMatchObject({
      service: 'shop.CartService',
      entities: 4,
      maxEvents: expect.any(Number),
      snapshots: 1,
      snapshotBytes: 3,
      values: 0,
      first: at(2).toISOString(),
    });
    expect(all.find(({ component }) => component === 'boxes')).toMatchObject({
      kind: 'value',
      entities: 2,
      events: 0,
      bytes: 9,
      meanEvents: null,
      values: 1,
      deletions: 1,
    });
    expect(all.find(({ table }) => table === 'chunk')).toMatchObject({ chunks: 7, oldest: at(2).toISOString() });
    expect(all.find(({ table }) => table === 'outbox')).toMatchObject({ chunks: 0, oldest: null });
  });
});

describe('show', () => {
  it('tells of an event by which version it was written, where the journal remembers its chunk', async () => {
    expect((await cli('journal', 'show', 'cart-1@1')).out).toContain('Function:  version first of shop');
    expect((await cli('journal', 'show', 'cart-1@5')).out).toContain('Function:  version second of shop');
    const json = JSON.parse((await cli('journal', 'show', 'cart-1@5', '--json')).out) as Record<string, unknown>;
    expect(json).toMatchObject({ seq: 5, payload: { count: 9 }, chunk: { number: 5, records: 2 }, outputs: [] });
    expect((await cli('journal', 'show', 'other@2')).out).toContain('Chunk:     not known: it is older than');
  });
});

it.each([
  [
    ['journal', 'events', '--component', 'cart'],
    1,
    'the journal has no component "cart": it has boxes, carts, tallies.',
  ],
  [['journal', 'events', '--entity', 'nobody'], 1, 'the journal has no entity "nobody".'],
  [['journal', 'events', '--entity', 'cart-1', '--from', '6'], 1, '"cart-1" has 5 events, and --from names number 6.'],
  [['journal', 'events', '--shard', '2'], 1, 'there is no shard 2: the deployment has 2'],
  [['journal', 'events', '--from', '2999-01-01'], 1, 'nothing is there yet'],
  [['journal', 'events', '--to', '2020-01-01'], 1, 'the journal begins at 2026-01-31T12:00:00.000Z'],
  [['journal', 'events', '--input', 'order/0/4'], 1, 'the deployment reads no topic "order": it reads orders.'],
  [['journal', 'events', '--input', 'orders/2/4'], 1, '"orders" has no partition 2'],
  [['journal', 'events', '--input', 'orders/0/11'], 1, 'orders/0/11 is not applied yet'],
  [['journal', 'show', 'orders/0/0'], 1, 'orders/0/0 was there before the deployment began to read, at 1'],
  [['journal', 'show', 'orders/0/4#1'], 1, 'the journal has nothing of a command orders/0/4#1'],
  [['journal', 'show', 'cart-1@6'], 1, '"cart-1" of "carts" has no event 6'],
  [['journal', 'show', 'b1@1'], 1, 'is a value, which keeps no events'],
  [['journal', 'stats', '--generation', '7'], 1, 'the journal has no generation 7: it has 1, and 1 is the live one.'],
  [['journal', 'entities', '--after', 'x'], 2, '--after x is no cursor'],
  [['entity', 'show', 'cart-1', '--at', '6'], 1, '"cart-1" has 5 events, and --at names number 6'],
  [['entity', 'show', 'cart-1', '--at', at(0).toISOString()], 1, 'before it'],
  [['entity', 'show', 'b1', '--at', '1'], 1, 'the journal keeps the present one alone: revision 2'],
  [['entity', 'show', 'b1', '--at', '3'], 1, '"b1" has 2 revisions, and --at names number 3'],
  [['entity', 'show', 'b1', '--at', '7d'], 1, 'with journal.keepValues, what comes from then on is kept'],
  [['entity', 'show', 'b1', '--probe', 'Get'], 2, '"boxes" is value: its state is in the journal'],
  [['entity', 'show', 'cart-1', '--probe', 'Get'], 1, 'no function answers at http://127.0.0.1:1'],
  [['entity', 'trace', 'nobody'], 1, 'the journal has no entity "nobody"'],
])('%j is refused with %i and a sentence', async (argv, code, sentence) => {
  const printed = await cli(...argv);
  expect(printed).toMatchObject({ code, out: '' });
  expect(printed.err).toContain(sentence);
  expect(printed.err).not.toContain('    at ');
});

describe('the state of an entity', () => {
  const stateOf = async (entity: string, ...argv: string[]) => {
    const { out, err } = await cli('entity', 'show', entity, '--json', ...argv);
    expect(err).toBe('');
    return JSON.parse(out) as Record<string, unknown>;
  };
  let place = 100;
  const add = (key: [string, string, number], payload?: { typeUrl: string; value: Uint8Array }) =>
    insertEvent(1, ++place, key, {
      when: at(place),
      ...(payload && { typeUrl: payload.typeUrl, payload: payload.value }),
    });

  it('that is replicated is made of its changes, up to any of them', async () => {
    for (const [i, change] of [2, 3, -1].entries()) {
      await add(['tallies', 'votes', i + 1], encodeReplicatedDelta({ kind: 'counter', change }));
    }
    expect(await stateOf('votes')).toMatchObject({ seq: 3, last: 3, state: { counter: 4 } });
    expect(await stateOf('votes', '--at', '2')).toMatchObject({ seq: 2, last: 3, state: { counter: 5 } });
    const snapshot = encodeReplicatedDelta({ kind: 'counter', change: 50 });
    await db.query(
      `insert into snapshot (generation, entity_type, entity_id, seq, type_url, payload) values (1, 'tallies', 'votes', 2, $1, $2)`,
      [snapshot.typeUrl, Buffer.from(snapshot.value)],
    );
    expect(await stateOf('votes')).toMatchObject({ state: { counter: 49 } });
    expect(await stateOf('votes', '--at', '1')).toMatchObject({ state: { counter: 2 } });
    const { out } = await cli('journal', 'events', '--entity', 'votes', '--limit', '1');
    expect(lines(out)).toMatchObject([{ payload: { counter: { change: 2 } } }]);
    expect((await cli('entity', 'show', 'votes', '--probe', 'Get')).code).toBe(2);
  });

  it('that was deleted counts what came after, and as of before, what came before', async () => {
    for (const seq of [1, 2, 3]) await add(['carts', 'reborn', seq]);
    await db.query(
      `insert into deletion (generation, entity_type, entity_id, seq, due_at) values (1, 'carts', 'reborn', 2, now() - interval '1 day')`,
    );
    const seqsOf = async (...argv: string[]) =>
      ((await stateOf('reborn', ...argv)).events as { seq: number }[]).map(({ seq }) => seq);
    expect(await seqsOf()).toEqual([3]);
    expect(await seqsOf('--at', '2')).toEqual([1, 2]);
  });

  it('is asked for by component where several have such an entity', async () => {
    await add(['carts', 'twin', 1]);
    await db.query(
      `insert into value (generation, entity_type, entity_id, revision, shard, epoch, command_id) values (1, 'boxes', 'twin', 1, 1, 1, 'orders/1/1')`,
    );
    for (const argv of [
      ['entity', 'show', 'twin'],
      ['entity', 'trace', 'twin'],
      ['journal', 'show', 'twin@1'],
    ]) {
      const { code, err } = await cli(...argv);
      expect([code, err]).toEqual([
        2,
        'stateferry: several components have an entity "twin": say which with --component: boxes, carts.\n',
      ]);
      expect((await cli(...argv, '--component', 'shop.CartService')).code).toBe(0);
    }
    expect(await stateOf('twin', '--component', 'boxes')).toMatchObject({ revision: 1, deleted: true });
  });
});

describe('what retention has removed', () => {
  beforeAll(async () => {
    await db.query("delete from event where entity_id = 'other' and seq <= 3");
    await db.query(
      `insert into snapshot (generation, entity_type, entity_id, seq, type_url, payload, removed_through)
       values (1, 'carts', 'other', 5, 'type.googleapis.com/shop.Added', '', 3)`,
    );
    await db.query(
      "insert into removed (generation, shard, kind, entity_type, through, rows, bytes) values (1, 1, 'events', 'carts', 3, 3, 6)",
    );
  });

  it('is said of the events that are listed', async () => {
    const said = async (...argv: string[]) => (await cli('journal', 'events', ...argv)).err;
    expect(await said('--entity', 'other')).toBe('Retention has removed the events of carts other up to 3.\n');
    expect(await said('--entity', 'other', '--from', '4')).toBe('');
    expect(await said('--entity', 'cart-1')).toBe('');
    expect(await said('--shard', '1')).toContain(
      'Retention has removed 3 events of carts below snapshots, up to event 3 of shard 1.\n',
    );
    expect(await said('--shard', '0')).not.toContain('Retention');
  });

  it('is no damage: one that is asked for is told from one that never was, and so is a state', async () => {
    expect(await cli('journal', 'show', 'other@2')).toMatchObject({
      code: 1,
      err: 'stateferry: event 2 of "other" is there no more: retention has removed its events up to 3.\n',
    });
    const { code, err } = await cli('entity', 'show', 'other', '--at', '4');
    expect(code).toBe(1);
    expect(err).toContain(
      'retention has removed the events of "other" up to 3: its states before event 5, where its snapshot is, cannot be made any more.',
    );
    const early = await cli('entity', 'show', 'other', '--at', at(1).toISOString());
    expect(early.err).toContain(
      'retention has removed the events of "other" up to 3: the oldest one that is there is of',
    );
    const later = await cli('entity', 'show', 'other', '--at', '7', '--json');
    expect(later.code).toBe(0);
    expect(JSON.parse(later.out)).toMatchObject({ seq: 7, snapshot: { seq: 5 }, events: [{ seq: 6 }, { seq: 7 }] });
    expect((await cli('entity', 'trace', 'other')).out).toContain('Retention has removed its events up to 3.\n');
  });

  it('is counted', async () => {
    const { out } = await cli('journal', 'stats', '--component', 'carts', '--output', 'jsonl');
    expect(lines(out)[0]).toMatchObject({ component: 'carts', removed: 3 });
    const told = await cli('journal', 'retention', '--dry-run');
    expect(told.out).toContain('journal.retention lets nothing go: everything is kept.\n');
    expect(told.out).toContain('Removed so far: 3 events of carts up to event 3 of shard 1');
  });
});

it('what takes long is stopped by Ctrl-C, in the database too', async () => {
  const holder = await db.connect();
  await holder.query('begin');
  await holder.query('lock table event in access exclusive mode');
  const stop = new AbortController();
  const running = cli.start(stop.signal, 'journal', 'stats');
  const waiting = async () => {
    const { rows } = await db.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where wait_event_type = 'Lock' and query like '%event%'
       and datname = current_database()`,
    );
    return rows[0]?.n === 1;
  };
  try {
    await eventually('it waits', waiting);
    stop.abort();
    expect(await running.ended).toEqual({ code: 1, out: '', err: 'stateferry: stopped before the end\n' });
    expect(await waiting()).toBe(false);
  } finally {
    await holder.query('rollback');
    holder.release();
  }
});

it('a journal of an earlier version is told from one of this', async () => {
  await db.query('alter table function_version rename to function_versions');
  const { code, err } = await cli('journal', 'stats');
  await db.query('alter table function_versions rename to function_version');
  expect(code).toBe(1);
  expect(err).toContain('the journal is not of this version');
});
