import { describe, expect, it } from 'vitest';
import { remembering } from '../../src/topics/coordinators.ts';

const GROUP = 0;
const TRANSACTION = 1;

/** A cluster whose coordinators move with every question that reaches it. */
function cluster() {
  const asked: string[] = [];
  let now = 0;
  const find = remembering(
    ({ groupId, coordinatorType }) => {
      asked.push(`${coordinatorType} ${groupId}`);
      return groupId === 'away' ? Promise.reject(new Error('no coordinator')) : Promise.resolve(asked.length);
    },
    () => now,
  );
  const self = { findGroupCoordinatorMetadata: find };
  return {
    asked,
    ask: (coordinatorType: number, groupId: string) => self.findGroupCoordinatorMetadata({ groupId, coordinatorType }),
    pass: (ms: number) => {
      now += ms;
    },
  };
}

describe('the memory of coordinators', () => {
  it('is asked once by a transactional producer, for its own and for its group’s', async () => {
    const { ask, asked } = cluster();
    for (let i = 0; i < 3; i++) {
      expect(await ask(TRANSACTION, 'id')).toBe(1);
      expect(await ask(GROUP, 'group')).toBe(2);
    }
    expect(asked).toEqual(['1 id', '0 group']);
  });

  it('lasts for a second', async () => {
    const { ask, pass } = cluster();
    expect(await ask(TRANSACTION, 'id')).toBe(1);
    pass(999);
    expect(await ask(TRANSACTION, 'id')).toBe(1);
    pass(1);
    expect(await ask(TRANSACTION, 'id')).toBe(2);
  });

  it('keeps no failure', async () => {
    const { ask, asked } = cluster();
    await expect(ask(TRANSACTION, 'away')).rejects.toThrow('no coordinator');
    await expect(ask(TRANSACTION, 'away')).rejects.toThrow('no coordinator');
    expect(asked).toHaveLength(2);
  });

  it('leaves a consumer alone, and is of one client only', async () => {
    const consumer = cluster();
    await consumer.ask(GROUP, 'group');
    await consumer.ask(GROUP, 'group');
    expect(consumer.asked).toHaveLength(2);
    const producers = [cluster(), cluster()];
    for (const producer of producers) await producer.ask(TRANSACTION, 'id');
    for (const producer of producers) expect(producer.asked).toHaveLength(1);
  });
});
