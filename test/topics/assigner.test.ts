import kafkajs from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { assignShards, createAssigner, type GroupMember, processOfMember } from '../../src/topics/assigner.ts';

const member = (memberId: string, owned: readonly number[] = []): GroupMember => ({ memberId, topics: ['in'], owned });

describe('assigning shards', () => {
  it('gives every shard to exactly one member, with counts that differ by one at most', () => {
    for (let members = 1; members <= 7; members++) {
      for (let shards = 1; shards <= 16; shards++) {
        const assignment = assignShards(
          Array.from({ length: members }, (_, i) => member(`m${i}`)),
          shards,
        );
        const counts = [...assignment.values()].map((list) => list.length);
        expect([...assignment.values()].flat().sort((a, b) => a - b)).toEqual([...Array(shards).keys()]);
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      }
    }
  });

  it('leaves every shard where it is when the group stays the same', () => {
    const before = [member('b', [1, 3, 5]), member('a', [0, 2, 4])];
    expect(assignShards(before, 6)).toEqual(
      new Map([
        ['a', [0, 2, 4]],
        ['b', [1, 3, 5]],
      ]),
    );
  });

  it('moves only what a newcomer needs', () => {
    const assignment = assignShards([member('a', [0, 1, 2, 3]), member('b', [4, 5, 6, 7]), member('c')], 8);
    const moved = [...(assignment.get('c') ?? [])];
    expect(moved).toHaveLength(2);
    expect([...(assignment.get('a') ?? []), ...(assignment.get('b') ?? [])].length).toBe(6);
    expect((assignment.get('a') ?? []).every((shard) => shard < 4)).toBe(true);
    expect((assignment.get('b') ?? []).every((shard) => shard >= 4)).toBe(true);
  });

  it('gives the shards of a member that left to those who stay', () => {
    const assignment = assignShards([member('a', [0, 1]), member('c', [4, 5])], 6);
    expect(assignment.get('a')).toEqual(expect.arrayContaining([0, 1]));
    expect(assignment.get('c')).toEqual(expect.arrayContaining([4, 5]));
  });

  it('lets one of two claimants keep a shard, whatever the order of the members', () => {
    const members = [member('a', [0, 1]), member('b', [1, 2, 3])];
    const assignment = assignShards(members, 4);
    expect(assignShards([...members].reverse(), 4)).toEqual(assignment);
    expect([...assignment.values()].flat().sort()).toEqual([0, 1, 2, 3]);
  });

  it('takes no notice of shards that do not exist', () => {
    expect(assignShards([member('a', [7, -1, 0])], 2)).toEqual(new Map([['a', [0, 1]]]));
  });
});

describe('what a member tells the group', () => {
  const { MemberMetadata, MemberAssignment } = kafkajs.AssignerProtocol;
  const PROCESS = '00000000-0000-4000-8000-000000000001';
  const assignerOf = (owned: readonly number[], process = PROCESS) =>
    createAssigner({ shards: 4, process, owned: () => owned })({} as Parameters<ReturnType<typeof createAssigner>>[0]);
  const metadataOf = (assigner: ReturnType<typeof assignerOf>) => assigner.protocol({ topics: ['in'] }).metadata;

  it('names its process', () => {
    expect(processOfMember(metadataOf(assignerOf([1])))).toBe(PROCESS);
  });

  it('is read from members of earlier versions, too, which name none and keep what they had', async () => {
    const earlier = MemberMetadata.encode({
      version: 1,
      topics: ['in'],
      userData: Buffer.from(JSON.stringify({ owned: [2, 3] })),
    });
    expect(processOfMember(earlier)).toBeUndefined();
    const now = assignerOf([0, 1]);
    const members = [
      { memberId: 'a', memberMetadata: metadataOf(now) },
      { memberId: 'b', memberMetadata: earlier },
    ];
    const assigned = await now.assign({ members, topics: ['in'] });
    expect(
      assigned.map(({ memberId, memberAssignment }) => [
        memberId,
        MemberAssignment.decode(memberAssignment)?.assignment.in,
      ]),
    ).toEqual([
      ['a', [0, 1]],
      ['b', [2, 3]],
    ]);
  });
});
