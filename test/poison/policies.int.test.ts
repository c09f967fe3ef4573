import { describe, expect, it } from 'vitest';
import { healthOf } from '../../src/observe/status.ts';
import { eventually } from '../support/processes.ts';
import { createOrderShop, entityOf } from './shop-of-orders.ts';

const ALWAYS = Number.POSITIVE_INFINITY;

const shop = await createOrderShop(['plain', 'stubborn', 'strict', 'patient', 'lasting'], (topics) => [
  { topic: topics.lasting, policy: 'retry', attempts: 1_000, initialBackoffMs: 60_000, maxBackoffMs: 60_000 },
  { topic: topics.stubborn, policy: 'retry', attempts: 4, initialBackoffMs: 20, maxBackoffMs: 60 },
  { topic: topics.strict, policy: 'halt' },
  { topic: topics.patient, policy: 'retry', attempts: 2, initialBackoffMs: 10, maxBackoffMs: 10, lastResort: 'pause' },
]);
const { operator, failing, given } = shop;

const orders = (entityId: string) => ({ entityType: 'orders', entityId });
const shardOf = (number: number) => shop.runtime.status().shards.find(({ shard }) => shard === number);
const isHalted = (number: number) => eventually(`shard ${number} is halted`, () => shardOf(number)?.state === 'halted');
const timesGiven = (text: string) => given.filter((one) => one === text).length;

it('without a policy, what fails is a dead letter, and its entity goes on', async () => {
  failing.set('plain bad', ALWAYS);
  await shop.order('plain', 'p', 'plain 1', 'plain bad', 'plain 2');
  await shop.answered('p', 'plain 1', 'plain 2');
  expect(timesGiven('plain bad')).toBe(1);
  const [letter] = await shop.letters('p', 1);
  expect(letter?.headers['stateferry-error']).toBe('no plain bad');
});

describe('retry', () => {
  it('tries a command again until it is carried out; what is behind it waits, other entities do not', async () => {
    const [slow, other] = [entityOf(0, 'slow'), entityOf(0, 'other')];
    failing.set('second try', 3);
    await shop.order('stubborn', slow, 'before', 'second try', 'after');
    await shop.order('stubborn', other, 'beside');
    await shop.answered(other, 'beside');
    await shop.answered(slow, 'before', 'second try', 'after');
    expect(timesGiven('second try')).toBe(4);
    expect(given.indexOf('beside')).toBeLessThan(given.indexOf('after'));
    expect(shop.runtime.status().totals.retries).toBe(3);
  });

  it('gives up after the last attempt', async () => {
    failing.set('hopeless', ALWAYS);
    await shop.order('stubborn', 'h', 'hopeless', 'hopeful');
    await shop.answered('h', 'hopeful');
    expect(timesGiven('hopeless')).toBe(4);
    expect(await shop.letters('h', 1)).toHaveLength(1);
  });

  it('never tries a record again that cannot be read', async () => {
    await shop.send('stubborn', { key: 'u', value: '{' });
    expect((await shop.letters('u', 1))[0]?.headers['stateferry-error-code']).toBe('RECORD_UNDECODABLE');
  });
});

describe('pause', () => {
  it('parks the command that fails and those behind it, until an operator skips it and resumes', async () => {
    const [sick, well] = [entityOf(1, 'sick'), entityOf(1, 'well')];
    failing.set('sick 2', ALWAYS);
    await shop.order('patient', sick, 'sick 1', 'sick 2', 'sick 3');
    await shop.order('patient', well, 'well 1');
    await shop.answered(well, 'well 1');
    await shop.answered(sick, 'sick 1');
    await shop.order('plain', sick, 'sick 4');
    await eventually('its commands wait', async () => (await operator.controlled())[0]?.parked === 3);
    expect(await operator.controlled()).toMatchObject([
      {
        ...orders(sick),
        shard: 1,
        state: 'paused',
        by: '',
        reason: expect.stringContaining('FUNCTION_FAILED, no sick 2'),
      },
    ]);
    expect(timesGiven('sick 2')).toBe(2);

    expect(await operator.operate({ kind: 'skip', ...orders(sick) })).toMatchObject({
      code: 0,
      out: `orders ${sick}: skipped ${shop.topics.patient}/1/1\n`,
    });
    const [letter] = await shop.letters(sick, 1);
    expect(letter?.value?.toString()).toBe(JSON.stringify({ id: sick, text: 'sick 2' }));
    expect(letter?.headers).toMatchObject({
      'stateferry-error-code': 'SKIPPED_BY_OPERATOR',
      'stateferry-error': 'tester skipped it (a test)',
      'stateferry-topic': shop.topics.patient,
      'stateferry-offset': '1',
    });
    await operator.operate({ kind: 'resume', ...orders(sick) });
    await shop.answered(sick, 'sick 1', 'sick 3', 'sick 4');
    await eventually('no entity is paused', async () => (await operator.controlled()).length === 0);
  });

  it('outlives the process, and what fails again when it is resumed stands first again', async () => {
    const sick = entityOf(0, 'chronic');
    failing.set('chronic 1', ALWAYS);
    await shop.order('patient', sick, 'chronic 1', 'chronic 2');
    await eventually('its commands wait', async () => (await operator.controlled())[0]?.parked === 2);
    await shop.restart();
    await shop.runtime.ready();
    await operator.operate({ kind: 'resume', ...orders(sick) });
    await eventually('it has failed again', () => timesGiven('chronic 1') === 4);
    await eventually('its commands wait', async () => {
      const [entity] = await operator.controlled();
      return entity?.state === 'paused' && entity.parked === 2;
    });
    failing.delete('chronic 1');
    await operator.operate({ kind: 'resume', ...orders(sick) });
    await shop.answered(sick, 'chronic 1', 'chronic 2');
  });
});

describe('halt', () => {
  const [bad, beside, elsewhere] = [entityOf(0, 'bad'), entityOf(0, 'beside'), entityOf(1, 'elsewhere')];

  it('stops the shard before the command, says why, and lets the other shards go on', async () => {
    failing.set('fatal', ALWAYS);
    await shop.order('strict', bad, 'fine', 'fatal');
    await isHalted(0);
    await shop.order('strict', beside, 'waits');
    await shop.order('strict', elsewhere, 'goes on');
    await shop.answered(elsewhere, 'goes on');
    await shop.answered(bad, 'fine');
    const halt = {
      code: 'FUNCTION_FAILED',
      error: 'no fatal',
      topic: shop.topics.strict,
      partition: 0,
      ...orders(bad),
    };
    expect(shardOf(0)?.halt).toMatchObject(halt);
    expect(healthOf(shop.runtime.status()).reasons).toEqual([
      expect.stringMatching(
        /^shard 0 is halted before strict-.*\/0\/1 for orders.OrderService\/Place: FUNCTION_FAILED, no fatal$/,
      ),
    ]);
    expect(await shop.runtime.logged('Halted a shard')).toMatchObject({
      level: 'error',
      shard: 0,
      code: 'FUNCTION_FAILED',
    });
    expect(shop.answersOf(beside)).toEqual([]);
  });

  it('comes to the same end in the next process', async () => {
    await shop.restart();
    await isHalted(0);
    expect(shop.answersOf(beside)).toEqual([]);
  });

  it('tries again when it is told to', async () => {
    const before = timesGiven('fatal');
    expect(await operator.operate({ kind: 'shard-resume', shard: 0, waitMs: 3_000 }).catch(String)).toContain(
      'not done',
    );
    await eventually('it was tried again', () => timesGiven('fatal') > before);
    await isHalted(0);
  });

  it('goes on when the command is skipped, and everything behind it is carried out', async () => {
    expect(await operator.operate({ kind: 'skip', ...orders(bad) })).toMatchObject({ code: 0 });
    await shop.answered(beside, 'waits');
    const [letter] = await shop.letters(bad, 1);
    expect(letter?.headers['stateferry-error']).toMatch(
      /skipped it \(a test\); it had failed: FUNCTION_FAILED, no fatal$/,
    );
    await shop.runtime.ready();
    expect(shardOf(0)?.halt).toBeNull();
  });

  it('is for records that cannot be read, too: those are skipped by the shard', async () => {
    await shop.send('strict', { key: bad, value: '{' });
    await isHalted(0);
    expect(shardOf(0)?.halt).toMatchObject({
      code: 'RECORD_UNDECODABLE',
      service: 'orders.OrderService',
      entityId: null,
    });
    expect(await operator.operate({ kind: 'shard-skip', shard: 0 })).toMatchObject({ code: 0 });
    expect((await shop.letters(bad, 2))[1]?.headers['stateferry-error-code']).toBe('SKIPPED_BY_OPERATOR');
    await shop.order('strict', bad, 'on');
    await shop.answered(bad, 'fine', 'on');
  });

  it('ends when the entity of the command is paused instead', async () => {
    failing.set('fatal 2', ALWAYS);
    await shop.order('strict', bad, 'fatal 2');
    await isHalted(0);
    await shop.order('strict', beside, 'free');
    expect(await operator.operate({ kind: 'pause', ...orders(bad) })).toMatchObject({ code: 0 });
    await shop.answered(beside, 'waits', 'free');
    failing.delete('fatal 2');
    await operator.operate({ kind: 'resume', ...orders(bad) });
    await shop.answered(bad, 'fine', 'on', 'fatal 2');
  });
});

describe('an operator who asks for nothing that can be done', () => {
  it('is told so', async () => {
    const lone = orders('lone');
    expect(await operator.operate({ kind: 'skip', ...lone })).toMatchObject({
      code: 1,
      out: 'orders lone: nothing of it waits\n',
    });
    expect((await operator.operate({ kind: 'resume', ...lone })).out).toBe('orders lone: it was not paused\n');
    expect((await operator.operate({ kind: 'shard-resume', shard: 1 })).out).toBe('shard 1: it was not halted\n');
    expect(await operator.operate({ kind: 'shard-skip', shard: 1 })).toMatchObject({ code: 1 });
    await expect(operator.operate({ kind: 'shard-skip', shard: 2 })).rejects.toThrow('from 0 to 1');
  });

  it('is warned of a type that nothing is of', async () => {
    const { err } = await operator.operate({ kind: 'resume', entityType: 'ordesr', entityId: 'x' });
    expect(err).toContain('nothing of the entity type ordesr yet');
  });
});

it('a command that waits for its next attempt can be skipped', async () => {
  failing.set('tried', ALWAYS);
  await shop.order('lasting', 'r', 'tried', 'next');
  await eventually('it is tried', () => timesGiven('tried') === 1);
  expect(await operator.operate({ kind: 'skip', ...orders('r') })).toMatchObject({ code: 0 });
  await shop.answered('r', 'next');
  expect((await shop.letters('r', 1))[0]?.headers['stateferry-error-code']).toBe('SKIPPED_BY_OPERATOR');
});

it('a command that waits for its next attempt does not hold up the end of the process', async () => {
  failing.set('resting', ALWAYS);
  await shop.order('lasting', 's', 'resting');
  await eventually('it is tried', () => timesGiven('resting') === 1);
  const before = performance.now();
  await shop.runtime.stop();
  expect(performance.now() - before).toBeLessThan(4_000);
  expect(await shop.runtime.logged('Released a shard', { clean: false }).catch(() => 'none')).toBe('none');
});
