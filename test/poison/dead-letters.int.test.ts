import { expect, it } from 'vitest';
import { runCli } from '../../src/cli/program.ts';
import { deadLetters } from '../../src/commands/dead-letters.ts';
import { produce, readCommitted } from '../support/kafka.ts';
import { eventually } from '../support/processes.ts';
import { createOrderShop, entityOf } from './shop-of-orders.ts';

const ALWAYS = Number.POSITIVE_INFINITY;

const shop = await createOrderShop(['orders', 'returns'], () => []);
const { failing } = shop;

interface Listed {
  readonly id: string;
  readonly state: string;
  readonly code: string;
  readonly record: { readonly topic: string; readonly offset: string; readonly key: { readonly text: string } };
}

/** `stateferry dead-letters …` as a user gives it. */
async function cli(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const { config } = shop;
  const code = await runCli({
    argv: ['dead-letters', ...argv, '--name', String(config['deployment.name'])],
    env: {
      KAFKA_BROKERS: String(config['kafka.brokers']),
      DATABASE_URL: String(config['postgres.url']),
      STATEFERRY_DEAD_LETTERS_TOPIC: shop.deadLetters,
    },
    cwd: '/',
    version: '0',
    signal: new AbortController().signal,
    out: {
      write: (text) => {
        out += text;
      },
    },
    err: {
      write: (text) => {
        err += text;
      },
    },
    commands: { deadLetters },
  });
  return { code, out, err };
}

async function list(...argv: string[]): Promise<Listed[]> {
  return JSON.parse((await cli('list', '--json', ...argv)).out) as Listed[];
}

/** The id of an entity's only open letter. */
async function idOf(entity: string): Promise<string> {
  const found = (await list()).filter(({ record }) => record.key.text === entity);
  expect(found).toHaveLength(1);
  return found[0]?.id ?? '';
}

it('none is listed where there is none', async () => {
  expect(await cli('list')).toMatchObject({ code: 0, out: 'No open dead letter.\n' });
});

it('they are listed, filtered by topic, code, service and time, and shown whole', async () => {
  failing.set('bad \u001b[31m', ALWAYS);
  await shop.order('orders', 'a', 'bad \u001b[31m');
  await shop.send('returns', { key: 'b', value: Buffer.from([0xff, 0x41]), headers: { extra: 'x' } });
  await shop.letters('a', 1);
  await shop.letters('b', 1);
  const table = await cli('list');
  expect(table.out).toMatch(/^ID +FAILED AT +CODE +RECORD +METHOD +KEY +STATE +ERROR\n/);
  expect(table.out).toMatch(/FUNCTION_FAILED +orders-\S+\/\d\/0 +orders\.OrderService\/Place +a +open +no bad \\u001b/);
  expect((await list()).map(({ code }) => code).sort()).toEqual(['FUNCTION_FAILED', 'RECORD_UNDECODABLE']);
  expect((await list('--topic', shop.topics.returns ?? '')).map(({ record }) => record.key.text)).toEqual(['b']);
  expect((await list('--code', 'FUNCTION_FAILED')).map(({ record }) => record.key.text)).toEqual(['a']);
  expect(await list('--service', 'orders.BoxService')).toEqual([]);
  expect(await list('--since', '2099-01-01')).toEqual([]);
  expect(await list('--limit', '1')).toHaveLength(1);

  const shown = (await cli('show', await idOf('b'))).out;
  expect(shown).toContain('Error:        RECORD_UNDECODABLE: ');
  expect(shown).toContain('Headers:\n  extra: x\n');
  expect(shown).toContain('Payload, 2 bytes:\n  00000000  ff 41 ');
  expect((await cli('show', await idOf('a'))).out).toContain('  "text": "bad \\u001b[31m"\n');
  expect(JSON.parse((await cli('show', '--json', await idOf('b'))).out)).toMatchObject({
    state: 'open',
    record: { value: { base64: '/0E=' }, headers: [{ name: 'extra', value: { text: 'x' } }] },
  });
});

it('a retried one is carried out once, as the command that it was, behind what came since, and is listed no more', async () => {
  const entity = entityOf(0, 'again');
  failing.set('late', 1);
  await shop.order('orders', entity, 'early', 'late', 'later');
  await shop.answered(entity, 'early', 'later');
  await shop.letters(entity, 1);
  const id = await idOf(entity);
  expect(await cli('retry', id)).toEqual({ code: 0, out: '1 put back\n', err: '' });
  await shop.answered(entity, 'early', 'later', 'late');
  expect((await list()).map((letter) => letter.id)).not.toContain(id);
  expect((await list('--all')).find((letter) => letter.id === id)?.state).toBe('retried');
  const replies = shop.follower.of(shop.replies).filter(({ key }) => String(key) === entity);
  const numbers = replies.map(({ headers }) => /\/(\d+)\/reply$/.exec(headers.ce_id ?? '')?.[1]);
  expect(numbers[2]).toBe(String(Number(numbers[0]) + 1));

  expect(await cli('retry', id)).toMatchObject({ code: 1, out: '0 put back, 1 refused\n' });
  expect((await cli('retry', id)).err).toBe(`${id} was dealt with already (retried): --again puts it back once more\n`);
  expect(await cli('retry', id, '--again')).toMatchObject({ code: 0 });
  await shop.answered(entity, 'early', 'later', 'late', 'late');
});

it('one that fails again is a new letter, of the same record', async () => {
  failing.set('never', ALWAYS);
  await shop.order('orders', 'n', 'never');
  await shop.letters('n', 1);
  const first = await idOf('n');
  await cli('retry', first);
  const [one, two] = await shop.letters('n', 2);
  expect(two?.value).toEqual(one?.value);
  for (const name of ['stateferry-topic', 'stateferry-partition', 'stateferry-offset', 'stateferry-timestamp']) {
    expect(two?.headers[name]).toBe(one?.headers[name]);
  }
  expect(await idOf('n')).not.toBe(first);
});

it('one whose key names no shard of its entity reaches it all the same', async () => {
  failing.set('moved', 1);
  const home = entityOf(1, 'moved');
  // It was produced without a key, to the other partition.
  await produce(shop.topics.orders ?? '', [
    { key: null, partition: 0, value: JSON.stringify({ id: home, text: 'moved' }) },
  ]);
  await eventually('it is a dead letter', async () => (await list()).some(({ record }) => record.key?.text === home));
  const id = await idOf(home);
  await cli('retry', id);
  await shop.answered(home, 'moved');
});

it('all that a filter lets through are retried together', async () => {
  const texts = Array.from({ length: 20 }, (_, i) => `many ${i}`);
  for (const text of texts) failing.set(text, 1);
  await shop.order('returns', 'm', ...texts);
  await shop.letters('m', 20);
  const before = (await list()).length;
  expect(await cli('retry', '--all', '--topic', shop.topics.returns ?? '', '--code', 'FUNCTION_FAILED')).toMatchObject({
    code: 0,
    out: '20 put back\n',
  });
  await shop.answered('m', ...texts);
  expect(await list()).toHaveLength(before - 20);
});

it('a dropped one is listed no more, and is not retried by mistake', async () => {
  const id = await idOf('b');
  expect(await cli('drop', id, '--by', 'jo', '--reason', 'a test')).toMatchObject({ code: 0, out: '1 dropped\n' });
  expect((await list()).map((letter) => letter.id)).not.toContain(id);
  expect((await cli('show', id)).out).toMatch(/State: +dropped by jo: a test at /);
  expect(await cli('drop', id)).toMatchObject({ code: 1, err: `${id} was dealt with already (dropped)\n` });
  expect((await cli('retry', id)).err).toContain('--again');
});

it('one that does not exist, and one without its value, are refused', async () => {
  expect(await cli('show', '0/4711')).toMatchObject({ code: 1, err: expect.stringContaining('no dead letter 0/4711') });
  const [letter] = await shop.letters('n', 1);
  const { headers } = letter ?? { headers: {} };
  await produce(shop.deadLetters, [
    { key: 'large', value: null, headers: { ...headers, 'stateferry-left-out': 'value' } },
  ]);
  const id = await idOf('large');
  expect(await cli('retry', id)).toMatchObject({
    code: 1,
    err: expect.stringContaining("does not have the record's value"),
  });
});

it('what is asked for while no process runs is put back by the next', async () => {
  failing.set('patient', 1);
  await shop.order('orders', 'w', 'patient');
  await shop.letters('w', 1);
  const id = await idOf('w');
  await shop.runtime.stop();
  expect(await cli('retry', id, '--wait', '0')).toMatchObject({
    code: 1,
    err: expect.stringContaining('1 more are asked for'),
  });
  expect((await list()).find((letter) => letter.id === id)?.state).toBe('retrying');
  await shop.restart();
  await shop.answered('w', 'patient');
  const commands = await readCommitted(`${String(shop.config['deployment.name'])}-commands`, 'end');
  const putBack = commands.filter(
    ({ key, headers }) => String(key) === 'w' && headers['stateferry-put-back'] !== undefined,
  );
  expect(putBack).toHaveLength(1);
});
