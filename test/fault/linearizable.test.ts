import { describe, expect, it } from 'vitest';
import { createRandom } from '../support/random.ts';
import { type Change, checkLinearizable, type Operation } from './linearizable.ts';

const ENTITY = 'counter';
const NEVER = Number.POSITIVE_INFINITY;

/** Changes of one entity, each by one: the commands that made them, in order. */
const order = (...commands: string[]): Map<string, Change[]> =>
  new Map([[ENTITY, commands.map((commandId, i) => ({ commandId, balance: i + 1 }))]]);

const write = (commandId: string, [from, until]: [number, number], answer?: number): Operation => ({
  name: `write ${commandId}`,
  entity: ENTITY,
  from,
  until,
  commandId,
  ...(answer !== undefined && { answer: { balance: answer, changes: answer } }),
});
const read = ([from, until]: [number, number], seen: number, balance = seen): Operation => ({
  name: `read of ${seen}`,
  entity: ENTITY,
  from,
  until,
  answer: { balance, changes: seen },
});

const found = (operations: Operation[], ...commands: string[]): string[] =>
  checkLinearizable(operations, order(...commands)).map(({ operation, sentence }) => `${operation.name} ${sentence}`);

describe('a history that is linearizable passes', () => {
  it.each<[string, Operation[], string[]]>([
    [
      'one after the other',
      [write('a', [0, 1], 1), read([2, 3], 1), write('b', [4, 5], 2), read([6, 7], 2)],
      ['a', 'b'],
    ],
    ['a reading one that has seen nothing', [read([0, 1], 0)], []],
    ['of two at once, either may be first', [write('a', [0, 9], 2), write('b', [1, 8], 1)], ['b', 'a']],
    [
      'one that reads may see what is under way, or not',
      [write('a', [0, 9], 1), read([1, 2], 0), read([3, 4], 1)],
      ['a'],
    ],
    ['two that read at once may see a write and not', [write('a', [0, 9], 1), read([1, 5], 1), read([2, 4], 0)], ['a']],
    ['an unknown one that never took effect', [write('x', [0, NEVER]), read([1, 2], 0), read([8, 9], 0)], []],
    ['an unknown one that takes effect late', [write('x', [0, NEVER]), read([1, 2], 0), read([8, 9], 1)], ['x']],
    ['changes that nobody has told of', [read([0, 1], 2)], ['?', '?']],
    ['several changes by one command', [write('a', [0, 1], 3), read([2, 3], 3)], ['a', 'a', 'a']],
    [
      'one that begins in the moment in which another one ends',
      [write('a', [0, 5], 2), write('b', [5, 6], 1)],
      ['b', 'a'],
    ],
  ])('%s', (_, operations, commands) => {
    expect(found(operations, ...commands)).toEqual([]);
  });

  it('each entity by itself', () => {
    const other = { ...write('b', [5, 6], 1), entity: 'other' };
    const orders = new Map([...order('a'), ['other', [{ commandId: 'b', balance: 1 }]] as const]);
    expect(checkLinearizable([write('a', [0, 1], 1), other], orders)).toEqual([]);
  });
});

describe('a history that is not is found out', () => {
  it.each<[string, Operation[], string[], string]>([
    [
      'a reading one that has not seen what was answered before',
      [write('a', [0, 1], 1), read([2, 3], 0)],
      ['a'],
      'read of 0 has seen 0 changes of counter, 1 ms after write a, at change 1, was over',
    ],
    [
      'a reading one behind what another had seen',
      [write('a', [0, NEVER]), read([1, 2], 1), read([3, 4], 0)],
      ['a'],
      'read of 0 has seen 0 changes of counter, 1 ms after read of 1, at change 1, was over',
    ],
    [
      'a write before one that was answered before it',
      [write('a', [0, 1], 2), write('b', [2, 3], 1)],
      ['b', 'a'],
      'write b made change 1 of counter, 1 ms after write a, at change 2, was over',
    ],
    [
      'a write before what had been read before it',
      [read([0, 1], 1), write('a', [2, 3], 1)],
      ['a'],
      'write a made change 1 of counter, 1 ms after read of 1, at change 1, was over',
    ],
    [
      'one of unknown outcome that took effect before it was asked for',
      [read([0, 1], 1), write('a', [2, NEVER])],
      ['a'],
      'write a made change 1 of counter, 1 ms after read of 1, at change 1, was over',
    ],
    [
      'an answered write that is not there',
      [write('a', [0, 1], 1)],
      [],
      'write a is known to have taken effect, and a has changed nothing of counter',
    ],
    [
      'a write that is there twice',
      [write('a', [0, 1], 1)],
      ['a', 'b', 'a'],
      'write a made change 1 and change 3 of counter, and others were made between them',
    ],
    [
      'an answer of another place',
      [write('a', [0, 9], 2), write('b', [0, 9], 2)],
      ['a', 'b'],
      'write a was answered 2 after 2 changes, and made change 1 of counter, which leads to 1',
    ],
    [
      'a reading one that has seen half of a command',
      [read([0, 1], 2)],
      ['a', 'a', 'a'],
      'read of 2 has seen change 2 of counter, and not the next one, which a made with it',
    ],
    [
      'a reading one that has seen what there never was',
      [read([0, 1], 1, 7)],
      ['a'],
      'read of 1 was answered 7 after 1 changes, and counter has 1 there',
    ],
    [
      'a reading one that has seen more than there is',
      [read([0, 1], 5)],
      ['a'],
      'read of 5 was answered 5 after 5 changes, and counter has not so many there',
    ],
  ])('%s', (_, operations, commands, sentence) => {
    expect(found(operations, ...commands)).toEqual([sentence]);
  });
});

/**
 * Whether there is an order at all, found by trying every one. Without `told`, one that changes may come to nothing.
 */
function isLinearizable(operations: readonly Operation[], left: readonly string[], seen = 0): boolean {
  if (operations.length === 0) return left.length === 0;
  const firstOver = Math.min(...operations.map(({ until }) => until));
  return operations.some((operation) => {
    if (operation.from > firstOver) return false;
    const others = operations.filter((other) => other !== operation);
    const { commandId, answer } = operation;
    if (commandId === undefined) return answer?.changes === seen && isLinearizable(others, left, seen);
    if (operation.until === NEVER && !left.includes(commandId)) return isLinearizable(others, left, seen);
    if (left[0] !== commandId) return false;
    const fits = answer === undefined || answer.changes === seen + 1;
    return fits && isLinearizable(others, left.slice(1), seen + 1);
  });
}

it('says of small histories at random what trying all orders says', () => {
  const random = createRandom(3);
  const counts = { good: 0, bad: 0 };
  for (let nth = 0; nth < 3_000; nth++) {
    const writes = Array.from({ length: random.int(4) }, (_, i) => `w${i}`);
    const made = writes.filter(() => random.int(4) > 0);
    for (let i = made.length - 1; i > 0; i--) {
      const j = random.int(i + 1);
      [made[i], made[j]] = [made[j] as string, made[i] as string];
    }
    const time = (): [number, number] => {
      const from = random.int(12);
      return [from, from + 1 + random.int(6)];
    };
    const operations = [
      ...writes.map((id) => {
        const at = made.indexOf(id) + 1;
        const [from, until] = time();
        if (at === 0 || random.int(4) === 0) return write(id, [from, NEVER]);
        return write(id, [from, until], at);
      }),
      ...Array.from({ length: random.int(4) }, () => read(time(), random.int(made.length + 1))),
    ];
    const good = isLinearizable(operations, made);
    counts[good ? 'good' : 'bad']++;
    expect(found(operations, ...made).length === 0, JSON.stringify({ operations, made })).toBe(good);
  }
  expect(Math.min(counts.good, counts.bad)).toBeGreaterThan(500);
});
