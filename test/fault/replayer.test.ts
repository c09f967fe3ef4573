import { expect, it } from 'vitest';
import type { SeenRecord } from './history.ts';
import { replayFaults } from './replayer.ts';

/** Events of several entities, as key/id. */
function events(...those: readonly string[]): SeenRecord[] {
  return those.map((text, i) => {
    const [key = '', id = ''] = text.split('/');
    const place = {
      topic: 'events',
      partition: 0,
      offset: BigInt(i),
      type: '',
      n: -1,
      code: '',
      from: '',
      value: '',
      at: 0,
    };
    return { ...place, key, id };
  });
}

const first = events('a/1', 'b/1', 'a/2', 'b/2', 'a/3');

it('a replay is right when each entity has its events in their order, wherever the others are', () => {
  expect(replayFaults(first, events('b/1', 'b/2', 'a/1', 'a/2', 'a/3'))).toEqual([]);
});

it.for<[string, string[], string]>([
  [
    'lacks the last event',
    ['a/1', 'a/2', 'b/1', 'b/2'],
    'the replay of "a" has 2 events of 3, and at 2 none instead of 3',
  ],
  ['lacks one between', ['a/1', 'a/3', 'b/1', 'b/2'], 'the replay of "a" has 2 events of 3, and at 1 3 instead of 2'],
  [
    'has one twice',
    ['a/1', 'a/2', 'a/2', 'a/3', 'b/1', 'b/2'],
    'the replay of "a" has 4 events of 3, and at 2 2 instead of 3',
  ],
  [
    'has the last one twice',
    ['a/1', 'a/2', 'a/3', 'a/3', 'b/1', 'b/2'],
    'the replay of "a" has 4 events of 3, and at 3 3 instead of none',
  ],
  [
    'has two in the wrong order',
    ['a/2', 'a/1', 'a/3', 'b/1', 'b/2'],
    'the replay of "a" has 3 events of 3, and at 0 2 instead of 1',
  ],
  [
    'has one of nobody',
    ['a/1', 'a/2', 'a/3', 'b/1', 'b/2', 'c/1'],
    'the replay of "c" has 1 events of 0, and at 0 1 instead of none',
  ],
])('one that %s is found', ([, again, sentence]) => {
  expect(replayFaults(first, events(...again))).toEqual([sentence]);
});
