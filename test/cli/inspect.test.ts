import { describe, expect, it, test } from 'vitest';
import type { EntityHistoryRequest, JournalRequest } from '../../src/cli/context.ts';
import { runCli } from '../../src/cli/program.ts';

/** Runs a command line whose commands only tell what they were asked. */
async function ask(...argv: string[]) {
  const asked: (JournalRequest | EntityHistoryRequest)[] = [];
  let err = '';
  const note = async (_: unknown, request: JournalRequest | EntityHistoryRequest) => {
    asked.push(request);
    return 0;
  };
  const code = await runCli({
    argv,
    env: { DATABASE_URL: 'postgres://127.0.0.1/app' },
    cwd: '/nowhere',
    version: '1',
    signal: new AbortController().signal,
    out: { write: () => undefined },
    err: {
      write: (text) => {
        err += text;
      },
    },
    commands: { journal: note, entityHistory: note, operate: async () => 0, controlled: async () => 0 },
  });
  return { code, err, request: asked[0] };
}

const COMMON = { generation: undefined, format: undefined, component: undefined };

describe('journal', () => {
  it('needs neither brokers nor a function to be configured', async () => {
    expect((await ask('journal', 'stats')).request).toEqual({ ...COMMON, kind: 'stats' });
  });

  it('takes an entity, or the beginning of entities', async () => {
    const entityOf = async (text: string) => (await ask('journal', 'entities', '--entity', text)).request;
    expect(await entityOf('cart-17')).toMatchObject({ entity: { id: 'cart-17' }, limit: 100 });
    expect(await entityOf('cart-*')).toMatchObject({ entity: { prefix: 'cart-' } });
    expect(await entityOf('star\\*')).toMatchObject({ entity: { id: 'star*' } });
    expect(await entityOf('*')).toMatchObject({ entity: { prefix: '' } });
  });

  it('reads points as times, spans back and sequence numbers', async () => {
    const before = Date.now();
    const { request } = await ask('journal', 'events', '--from', '2h', '--to', '2999-01-01T00:00:00Z');
    if (request?.kind !== 'events' || request.from?.kind !== 'time') throw new Error('it asked for something else');
    expect(request.from.at).toBeGreaterThanOrEqual(before - 7_200_000);
    expect(request.from.at).toBeLessThanOrEqual(Date.now() - 7_200_000);
    expect(request.to).toEqual({ kind: 'time', at: Date.UTC(2999, 0, 1) });
    expect((await ask('journal', 'events', '--entity', 'a', '--from', '3', '--to', '5')).request).toMatchObject({
      from: { kind: 'seq', seq: 3 },
      to: { kind: 'seq', seq: 5 },
      order: 'entity',
    });
  });

  it('goes by entity where one is named, by shard elsewhere, and has a limit unless it follows', async () => {
    expect((await ask('journal', 'events')).request).toMatchObject({ order: 'shard', limit: 100, follow: 'no' });
    expect((await ask('journal', 'events', '--entity', 'a')).request).toMatchObject({ order: 'entity' });
    expect((await ask('journal', 'events', '--limit', 'all')).request).toMatchObject({ limit: undefined });
    expect((await ask('journal', 'events', '--entity', 'a', '--follow')).request).toMatchObject({
      order: 'shard',
      limit: undefined,
      follow: 'beginning',
    });
    expect((await ask('journal', 'tail', '--component', 'carts', '--generation', '2')).request).toMatchObject({
      component: 'carts',
      generation: 2,
      follow: 'now',
    });
  });

  it('shows a command, or an event of an entity whose id may be anything', async () => {
    const thingOf = async (text: string) => {
      const { request } = await ask('journal', 'show', text);
      return request?.kind === 'show' && 'thing' in request ? request.thing : undefined;
    };
    expect(await thingOf('orders/3/41')).toEqual({ kind: 'command', id: 'orders/3/41' });
    expect(await thingOf('orders/3/41#1#2')).toEqual({ kind: 'command', id: 'orders/3/41#1#2' });
    expect(await thingOf('orders/3/41#7@shop.Mailer')).toEqual({ kind: 'command', id: 'orders/3/41#7@shop.Mailer' });
    expect(await thingOf('a/b@c@3')).toEqual({ kind: 'event', entityId: 'a/b@c', seq: 3 });
  });
});

describe('entity', () => {
  it('traces and shows, at a moment of any sort', async () => {
    expect((await ask('entity', 'trace', 'cart-17')).request).toMatchObject({ kind: 'trace', limit: 100 });
    const atOf = async (text: string) => {
      const { request } = await ask('entity', 'show', 'cart-17', '--at', text, '--probe', 'Get');
      return request?.kind === 'show' && 'at' in request ? request.at : undefined;
    };
    expect(await atOf('3')).toEqual({ kind: 'seq', seq: 3 });
    expect(await atOf('2026-01-31T12:00:00Z')).toEqual({ kind: 'time', at: Date.UTC(2026, 0, 31, 12) });
    expect(await atOf('orders/3/41')).toEqual({ kind: 'record', topic: 'orders', partition: 3, offset: 41n });
  });
});

test.each([
  [['journal', 'events', '--from', 'yesterday'], 'neither a sequence number'],
  [['journal', 'events', '--from', '2026-13-41'], 'neither a sequence number'],
  [['journal', 'events', '--from', '3'], 'name it with --entity'],
  [['journal', 'events', '--from', '3', '--entity', 'a*'], 'name it with --entity'],
  [['journal', 'events', '--from', '0', '--entity', 'a'], 'the first event of an entity is number 1'],
  [['journal', 'events', '--from', '5', '--to', '4', '--entity', 'a'], '--from is behind --to'],
  [['journal', 'events', '--from', '1h', '--to', '2h'], '--from is later than --to'],
  [['journal', 'events', '--follow', '--to', '1h'], '--follow has no end'],
  [['journal', 'events', '--follow', '--order', 'entity'], '--follow goes by the order of shards'],
  [['journal', 'events', '--order', 'time'], 'Allowed choices are entity, shard'],
  [['journal', 'events', '--output', 'xml'], 'Allowed choices are table, jsonl, csv'],
  [['journal', 'events', '--input', 'orders'], 'topic/partition/offset'],
  [['journal', 'events', '--shard', 'x'], 'not the number of a shard'],
  [['journal', 'events', '--limit', '0'], 'neither a number'],
  [['journal', 'entities', '--generation', 'x'], 'not the number of a generation'],
  [['journal', 'entities', '--entity', ''], 'It is empty'],
  [['journal', 'show', 'cart-17'], 'an event of an entity such as cart-17@3'],
  [['journal', 'show', 'cart-17@0'], 'an event of an entity such as cart-17@3'],
  [['entity', 'show', 'a', '--at', 'orders/3'], 'topic/partition/offset'],
  [['entity', 'show', 'a', '--at', '0'], 'the first event of an entity is number 1'],
])('%j is refused as a fault of the command line', async (argv, sentence) => {
  const { code, err, request } = await ask(...argv);
  expect([code, request]).toEqual([2, undefined]);
  expect(err).toContain(sentence);
});
