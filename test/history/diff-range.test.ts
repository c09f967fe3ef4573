import { describe, expect, test } from 'vitest';
import { isGiven } from '../../src/history/diff-range.ts';

const range = {
  shards: new Map([
    [0, { from: { in: 10n }, to: { in: 20n } }],
    [1, { from: {}, to: { in: 5n } }],
  ]),
  later: new Set<string>(),
  earlier: new Set(['in/0/9#1', 'in/0/9#2@feed']),
};
const given = (commandId: string, isCommand = false, more: Partial<typeof range> = {}) =>
  isGiven({ commandId, isCommand }, { ...range, ...more });

describe('what follows from the input that a generation was given', () => {
  test('is what a record between the two places led to, by however many steps', () => {
    expect(['in/0/10', 'in/0/19#3#1', 'in/1/0'].map((id) => given(id))).toEqual([true, true, true]);
    expect(['in/0/9', 'in/0/20', 'in/1/5', 'out/0/11', 'in/2/0', 'none'].map((id) => given(id))).toEqual(
      new Array(6).fill(false),
    );
  });

  test('is what a command that was on its way where it began led to, but not that it was sent', () => {
    expect(given('in/0/9#1')).toBe(true);
    expect(given('in/0/9#1', true)).toBe(false);
    expect(given('in/0/9#1#4', true)).toBe(true);
    expect(given('in/0/9#2@feed')).toBe(true);
    expect(given('in/0/9#3')).toBe(false);
  });

  test('is not what a command that was not given led to', () => {
    const later = new Set(['in/0/12#1']);
    expect(given('in/0/12#1', false, { later })).toBe(false);
    expect(given('in/0/12#1#2', false, { later })).toBe(false);
    expect(given('in/0/12#2', false, { later })).toBe(true);
  });
});
