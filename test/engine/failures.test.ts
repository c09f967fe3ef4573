import { describe, expect, it } from 'vitest';
import { createFailures, topicOfCommand } from '../../src/engine/failures.ts';

const add = { topic: 'orders', service: 'shop.Cart', method: 'Add' };

describe('failure policies', () => {
  it('give up what no rule is for', () => {
    const failures = createFailures([{ topic: 'other', policy: 'halt' }]);
    expect(failures.ofCommand(add, 1)).toBe('dead-letter');
    expect(failures.ofRecord({ ...add, service: undefined, method: undefined })).toBe('dead-letter');
  });

  it('are those of the first rule that fits all that it names', () => {
    const failures = createFailures([
      { topic: 'orders', service: 'shop.Cart', method: 'Remove', policy: 'halt' },
      { service: 'shop.Cart', policy: 'pause' },
      { policy: 'dead-letter' },
    ]);
    expect(failures.ofCommand(add, 1)).toBe('pause');
    expect(failures.ofCommand({ ...add, method: 'Remove' }, 1)).toBe('halt');
    expect(failures.ofCommand({ ...add, service: 'shop.Desk' }, 1)).toBe('dead-letter');
  });

  it('try again after pauses that double up to a longest, then do the last resort', () => {
    const failures = createFailures([
      { policy: 'retry', attempts: 5, initialBackoffMs: 100, maxBackoffMs: 300, lastResort: 'pause' },
    ]);
    expect([1, 2, 3, 4, 5].map((attempt) => failures.ofCommand(add, attempt))).toEqual([
      { retryInMs: 100 },
      { retryInMs: 200 },
      { retryInMs: 300 },
      { retryInMs: 300 },
      'pause',
    ]);
  });

  it('never try a record again that cannot be read: the last resort comes at once, and no entity is paused for it', () => {
    const retry = { policy: 'retry', attempts: 5, initialBackoffMs: 1, maxBackoffMs: 1 } as const;
    expect(createFailures([{ ...retry, lastResort: 'halt' }]).ofRecord(add)).toBe('halt');
    expect(createFailures([{ ...retry, lastResort: 'pause' }]).ofRecord(add)).toBe('dead-letter');
    expect(createFailures([{ policy: 'pause' }]).ofRecord(add)).toBe('dead-letter');
  });

  it('count a stray as of its own topic, and what a function asked for as of the command topic', () => {
    expect(topicOfCommand('orders/3/17', 'd-commands')).toBe('orders');
    expect(topicOfCommand('orders/3/17#1', 'd-commands')).toBe('d-commands');
  });
});
