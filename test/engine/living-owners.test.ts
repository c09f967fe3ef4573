import { describe, expect, it } from 'vitest';
import { createLivingOwners } from '../../src/engine/living-owners.ts';
import { openShards } from '../../src/engine/opening.ts';
import { ownerId, processOf } from '../../src/engine/owner-ids.ts';

const [OWN, OTHER, THIRD] = [1, 2, 3].map((n) => `00000000-0000-4000-8000-00000000000${n}`) as [string, string, string];
const shard = (...owners: string[]) => [{ shard: 7, owners }];
const turn = () => new Promise(setImmediate);

/** What is held once the group has said who its members are; `held` begins with what is held before. */
async function heldWith(members: () => Promise<ReadonlySet<string> | undefined>, owned: ReturnType<typeof shard>) {
  const living = createLivingOwners({ process: OWN, members });
  const before = living(owned);
  await turn();
  return { before, after: living(owned) };
}

it('a transactional id tells its process, and an id of an earlier version does not', () => {
  expect(processOf(ownerId('my-app.2', OTHER, 12))).toBe(OTHER);
  expect(processOf(`my-app-${OTHER}`)).toBeUndefined();
  expect(processOf('')).toBeUndefined();
});

describe('the release of a shard is waited for', () => {
  const only =
    (...processes: string[]) =>
    async () =>
      new Set(processes);

  const group = shard(ownerId('d', OTHER, 1));
  it.each<[string, () => Promise<ReadonlySet<string> | undefined>, ReturnType<typeof shard>, number[], number[]]>([
    ['while its owner is a member', only(OWN, OTHER), group, [7], [7]],
    ['not when its owner is no member any more', only(OWN, THIRD), group, [7], []],
    [
      'while one of its owners is a member',
      only(THIRD),
      shard(ownerId('d', OTHER, 1), ownerId('d', THIRD, 2)),
      [7],
      [7],
    ],
    ['not by the process that has left it undone itself', only(OWN), shard(ownerId('d', OWN, 1)), [], []],
    ['where an earlier version owns it', only(OWN), shard(`d-${OTHER}`), [7], [7]],
    ['while the group does not tell its members', async () => undefined, group, [7], [7]],
    [
      'where the group cannot be asked',
      () => Promise.reject(new Error('away')),
      shard(ownerId('d', OTHER, 1)),
      [7],
      [7],
    ],
    [
      'while the group does not answer',
      () => new Promise<undefined>(() => undefined),
      shard(ownerId('d', OTHER, 1)),
      [7],
      [7],
    ],
  ])('%s', async (_, members, owned, before, after) => {
    expect(await heldWith(members, owned)).toEqual({ before, after });
  });

  it('and the group is asked neither where nobody owns it nor twice at once', async () => {
    let asked = 0;
    const living = createLivingOwners({
      process: OWN,
      members: () => {
        asked++;
        return new Promise(() => undefined);
      },
    });
    expect(living([])).toEqual([]);
    expect(asked).toBe(0);
    living(group);
    living(group);
    expect(asked).toBe(1);
  });
});

it('shards of a process that was killed are opened without the grace', async () => {
  const living = createLivingOwners({ process: OWN, members: async () => new Set([OWN]) });
  const opened = new Error('opened');
  const steps = {
    held: async () => living(shard(ownerId('d', OTHER, 1))),
    open: () => Promise.reject(opened),
  };
  const options = { shards: [7], topics: ['in'], start: 'earliest', graceMs: 3_600_000 } as const;
  await expect(openShards(steps as unknown as Parameters<typeof openShards>[0], options)).rejects.toBe(opened);
});
