import { describe, expect, it } from 'vitest';
import { Duplicates } from '../../src/engine/duplicates.ts';
import type { Item, ItemOwner } from '../../src/engine/item.ts';

/** A journal that answers when it is told to. */
function journal() {
  const asked: { keys: string[]; answer: (found: boolean[]) => void; fail: (error: Error) => void }[] = [];
  const failures: unknown[] = [];
  const duplicates = new Duplicates({
    find: (items) =>
      new Promise((resolve, reject) => {
        asked.push({
          keys: items.map(({ command }) => command?.idempotencyKey ?? ''),
          answer: resolve,
          fail: reject,
        });
      }),
    onFailed: (error) => failures.push(error),
  });
  return { duplicates, asked, failures };
}

const shard: ItemOwner = { isReady: () => false, publish: () => undefined };
const item = (idempotencyKey: string, owner = shard) =>
  ({ command: { idempotencyKey }, shard: owner, duplicate: undefined }) as unknown as Item;
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a command with an idempotency key', () => {
  it('is what the journal says, and all that come together are asked for at once', async () => {
    const { duplicates, asked } = journal();
    const [one, two] = [item('a'), item('b')];
    let answers = 0;
    for (const each of [one, two]) duplicates.look(each, () => answers++);
    await turn();
    expect(asked.map(({ keys }) => keys)).toEqual([['a', 'b']]);
    expect([one.duplicate, two.duplicate]).toEqual([undefined, undefined]);
    asked[0]?.answer([true, false]);
    await turn();
    expect([one.duplicate, two.duplicate, answers]).toEqual([true, false, 2]);
  });

  it('is a duplicate of one that was decided while it waited, whatever the journal said before', async () => {
    const { duplicates, asked } = journal();
    const [first, second, third] = [item('a'), item('a'), item('a')];
    duplicates.look(first, () => undefined);
    duplicates.look(second, () => undefined);
    await turn();
    asked[0]?.answer([false, false]);
    await turn();
    // Asked before the decision, answered after it.
    duplicates.look(third, () => undefined);
    await turn();
    duplicates.decided(first);
    asked[1]?.answer([false]);
    await turn();
    expect([first.duplicate, second.duplicate, third.duplicate]).toEqual([false, true, true]);
  });

  it('is a duplicate of a decided one that is not journaled yet, without asking', async () => {
    const { duplicates, asked } = journal();
    const first = item('a');
    duplicates.decided(first);
    const second = item('a');
    duplicates.look(second, () => undefined);
    await turn();
    expect([second.duplicate, asked.length]).toEqual([true, 0]);
  });

  it('asks the journal once that has it', async () => {
    const { duplicates, asked } = journal();
    const first = item('a');
    duplicates.decided(first);
    duplicates.journaled(first);
    duplicates.look(item('a'), () => undefined);
    await turn();
    expect(asked.map(({ keys }) => keys)).toEqual([['a']]);
  });

  it('leaves the key to the next one when it had no effect', async () => {
    const { duplicates, asked } = journal();
    const [failed, next] = [item('a'), item('a')];
    duplicates.look(failed, () => undefined);
    duplicates.look(next, () => undefined);
    await turn();
    asked[0]?.answer([false, false]);
    await turn();
    duplicates.forget(failed);
    expect(next.duplicate).toBe(false);
  });

  it('comes again after its shard was dropped, and is not taken for a duplicate of itself', async () => {
    const { duplicates, asked } = journal();
    const other: ItemOwner = { isReady: () => false, publish: () => undefined };
    const [mine, theirs] = [item('a'), item('b', other)];
    duplicates.decided(mine);
    duplicates.decided(theirs);
    duplicates.drop(shard);
    const [again, second] = [item('a'), item('b', other)];
    duplicates.look(again, () => undefined);
    duplicates.look(second, () => undefined);
    await turn();
    expect(asked.map(({ keys }) => keys)).toEqual([['a']]);
    expect(second.duplicate).toBe(true);
  });

  it('is asked for again after the journal could not be asked', async () => {
    const { duplicates, asked, failures } = journal();
    duplicates.look(item('a'), () => undefined);
    await turn();
    asked[0]?.fail(new Error('gone'));
    await turn();
    expect(failures).toHaveLength(1);
    duplicates.look(item('b'), () => undefined);
    await turn();
    expect(asked.map(({ keys }) => keys)).toEqual([['a'], ['b']]);
  });
});
