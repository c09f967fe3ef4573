import { describe, expect, it } from 'vitest';
import { placeShards } from '../../src/observe/places.ts';
import type { ShardStatus } from '../../src/observe/status.ts';
import { aStatus } from './a-status.ts';

const NOW = 1_700_000_010_000;
const [running] = aStatus().shards as [ShardStatus];
const member = { id: 'm-1', host: '10.0.0.7' };

function reasonOf(given: Partial<Parameters<typeof placeShards>[0]>): string | undefined {
  const none = { shards: [], opening: new Map() };
  return placeShards({ count: 1, rows: [], members: new Map(), own: none, now: NOW, ...given })[0]?.reason;
}

const row = (owners: string[]) => [{ shard: 0, epoch: 4, owners }];
const members = new Map([[0, member]]);
const own = (shard: ShardStatus) => ({ shards: [shard], opening: new Map<number, number>() });
const halt = {
  code: 'FUNCTION_FAILED',
  error: 'no stock',
  topic: 'carts',
  partition: 0,
  offset: '90',
  service: null,
  method: null,
  entityType: null,
  entityId: null,
  since: NOW,
};

describe('where a shard is', () => {
  it.each([
    ['open here', { own: own(running), members }],
    [
      'open here, draining; assigned to the member at 10.0.0.7',
      { own: own({ ...running, state: 'draining' as const }), members },
    ],
    [
      'open here, halted before carts/0/90: FUNCTION_FAILED, no stock',
      { own: own({ ...running, state: 'halted' as const, halt }), members },
    ],
    [
      'assigned here, opening for 2.5 s; x not known to have released it or to be fenced',
      { own: { shards: [], opening: new Map([[0, NOW - 2_500]]) }, rows: row(['x']), members },
    ],
    ['opened by x; assigned to the member at 10.0.0.7', { rows: row(['x']), members }],
    ['opened by x; assigned to nobody', { rows: row(['x']) }],
    ['opened by x; the group gave no answer', { rows: row(['x']), members: undefined }],
    [
      'opened by y, while x not known to be fenced; assigned to the member at 10.0.0.7',
      { rows: row(['x', 'y']), members },
    ],
    ['released, and not opened since; assigned to the member at 10.0.0.7', { rows: row([]), members }],
    ['never opened; assigned to nobody', {}],
  ])('%s', (reason, given) => {
    expect(reasonOf(given)).toBe(reason);
  });

  it('is told of every shard, with its owners and its member, and whether it is here', () => {
    const rows = [{ shard: 1, epoch: 4, owners: ['x'] }];
    const places = placeShards({ count: 2, rows, members: new Map([[1, member]]), own: own(running), now: NOW });
    expect(places).toMatchObject([
      { shard: 0, epoch: 0, owners: [], member: null, here: true },
      { shard: 1, epoch: 4, owners: ['x'], member, here: false },
    ]);
  });
});
