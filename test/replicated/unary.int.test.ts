import { describe, expect, it } from 'vitest';
import { fileScope } from '../support/scope.ts';
import { replyWith, startScriptedFunction } from '../support/scripted-function.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { ask, clientOf, faults, query, settings } from './deployment.ts';
import { DIALECTS, startTally, TALLY, TALLY_DESCRIPTOR } from './tally.ts';

const file = fileScope();

describe.each(DIALECTS)('a replicated entity of %s', async (dialect) => {
  const fn = await startTally(file, dialect);
  const config = await settings(file, fn);

  it('is kept by the journal through passivation, restarts and a deletion, exactly', async (t) => {
    const first = startRuntime(t, config);
    const client = await clientOf(t, await first.doors());
    expect(await ask(client, 'Get', 'a')).toBe(0);
    for (let n = 1; n <= 205; n++) expect(await ask(client, 'Add', 'a', 1)).toBe(n);
    expect(await ask(client, 'Add', 'a', -5)).toBe(200);
    await expect(ask(client, 'AddThenFail', 'a', 9)).rejects.toMatchObject({ details: 'as told' });
    // What a failure leaves at the function is not known, so a stream is opened anew.
    expect(await ask(client, 'Get', 'a')).toBe(200);
    expect(await query(config, 'select count(*)::int as events from event')).toEqual([{ events: 206 }]);
    expect(await query(config, 'select seq::int, type_url from snapshot')).toEqual([
      { seq: 200, type_url: 'type.googleapis.com/stateferry.internal.ReplicatedDelta' },
    ]);
    await first.stop();

    const second = startRuntime(t, config);
    const again = await clientOf(t, await second.doors());
    expect(await ask(again, 'Get', 'a')).toBe(200);
    expect(await ask(again, 'Add', 'b', 7)).toBe(7);
    await ask(again, 'Delete', 'a');
    expect(fn.tally('a').entity.isOver).toBe(true);
    expect(await ask(again, 'Get', 'a')).toBe(0);
    expect(fn.tally('a').exists).toBe(false);
    expect(await ask(again, 'Add', 'a', 3)).toBe(3);
    await second.stop();

    const third = startRuntime(t, config);
    const last = await clientOf(t, await third.doors());
    expect([await ask(last, 'Get', 'a'), await ask(last, 'Get', 'b')]).toEqual([3, 7]);
    expect(await faults(config)).toEqual([]);
  });
});

describe('the journal of a replicated entity', () => {
  it('is read by a function of another dialect', async (t) => {
    const [first, last] = [await startTally(t, 'cloudstate-first'), await startTally(t, 'kalix')];
    const config = await settings(t, first);
    const before = startRuntime(t, config);
    const client = await clientOf(t, await before.doors());
    for (let n = 1; n <= 101; n++) await ask(client, 'Add', 'a', 2);
    await before.stop();

    const after = startRuntime(t, { ...config, 'function.url': last.url });
    const other = await clientOf(t, await after.doors());
    expect(await ask(other, 'Get', 'a')).toBe(202);
    expect(await ask(other, 'Add', 'a', -3)).toBe(199);
    await after.stop();

    const again = startRuntime(t, config);
    expect(await ask(await clientOf(t, await again.doors()), 'Get', 'a')).toBe(199);
  });

  it('fails the commands of an entity that has other events, by a sentence, and those of no other', async (t) => {
    const sourced = await startScriptedFunction(t, {
      descriptor: TALLY_DESCRIPTOR,
      components: [{ kind: 'event-sourced', service: TALLY, entityType: 'tallies' }],
      onCommand: ({ id }) => {
        const count = sourced.pack('tally.Count', { value: 1 });
        return { reply: { command_id: id, ...replyWith(count), events: [count] } };
      },
    });
    const fn = await startTally(t, 'kalix');
    const config = await settings(t, fn);
    const before = startRuntime(t, { ...config, 'function.url': sourced.url });
    expect(await ask(await clientOf(t, await before.doors()), 'Add', 'a', 1)).toBe(1);
    await before.stop();

    const after = startRuntime(t, config);
    const client = await clientOf(t, await after.doors());
    const [bad, good] = await Promise.allSettled([ask(client, 'Get', 'a'), ask(client, 'Add', 'b', 4)]);
    expect(bad).toMatchObject({
      reason: { details: expect.stringContaining('the journal has a type.googleapis.com/tally.Count') },
    });
    expect(good).toMatchObject({ value: 4 });
  });
});
