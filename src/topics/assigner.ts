import kafkajs, { type PartitionAssigner } from 'kafkajs';

const { AssignerProtocol } = kafkajs;

/** Version of the user data below. */
const VERSION = 1;

export interface GroupMember {
  readonly memberId: string;
  readonly topics: readonly string[];
  /** Shards it owned before this rebalance. */
  readonly owned: readonly number[];
}

/**
 * Spreads shards evenly (counts differ by one at most), moves as few as possible, and gives a contested shard to the
 * member with the lowest id. Pure and independent of the order of `members`.
 */
export function assignShards(members: readonly GroupMember[], shards: number): Map<string, number[]> {
  const sorted = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
  const least = Math.floor(shards / sorted.length);
  let larger = shards % sorted.length;
  const kept = new Map<string, number[]>();
  const taken = new Set<number>();
  for (const member of sorted) {
    const mine = [...new Set(member.owned)].filter((s) => s >= 0 && s < shards && !taken.has(s)).sort((a, b) => a - b);
    for (const shard of mine) taken.add(shard);
    kept.set(member.memberId, mine);
  }
  const byHoldings = [...sorted].sort((a, b) => size(kept, b) - size(kept, a));
  const quota = new Map<string, number>();
  for (const { memberId } of byHoldings) {
    quota.set(memberId, larger > 0 ? least + 1 : least);
    if (larger > 0) larger--;
  }
  const free: number[] = [];
  for (const { memberId } of sorted) {
    const mine = kept.get(memberId) ?? [];
    for (const shard of mine.splice(quota.get(memberId) ?? 0)) taken.delete(shard);
  }
  for (let shard = 0; shard < shards; shard++) if (!taken.has(shard)) free.push(shard);
  for (const { memberId } of sorted) {
    const mine = kept.get(memberId) ?? [];
    while (mine.length < (quota.get(memberId) ?? 0)) mine.push(free.shift() as number);
    mine.sort((a, b) => a - b);
  }
  return kept;
}

function size(kept: ReadonlyMap<string, readonly number[]>, member: GroupMember): number {
  return kept.get(member.memberId)?.length ?? 0;
}

/**
 * The group's assigner: partition n of every topic goes to the same member (a shard has one owner), and a member keeps
 * what it had, so that a rebalance leaves warm entities where they are.
 */
export function createAssigner(options: { shards: number; owned: () => readonly number[] }): PartitionAssigner {
  return () => ({
    name: 'stateferry-co-partitioned-sticky',
    version: VERSION,
    protocol: ({ topics }) => ({
      name: 'stateferry-co-partitioned-sticky',
      metadata: AssignerProtocol.MemberMetadata.encode({
        version: VERSION,
        topics,
        userData: Buffer.from(JSON.stringify({ owned: options.owned() })),
      }),
    }),
    assign: async ({ members }) => {
      const decoded = members.map((member): GroupMember => {
        const metadata = AssignerProtocol.MemberMetadata.decode(member.memberMetadata);
        return { memberId: member.memberId, topics: metadata?.topics ?? [], owned: ownedOf(metadata?.userData) };
      });
      const assignment = assignShards(decoded, options.shards);
      return decoded.map(({ memberId, topics }) => ({
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({
          version: VERSION,
          assignment: Object.fromEntries(topics.map((topic) => [topic, assignment.get(memberId) ?? []])),
          userData: Buffer.alloc(0),
        }),
      }));
    },
  });
}

/** A member that sends anything else than our user data owns nothing that could be kept. */
function ownedOf(userData: Buffer | undefined): number[] {
  if (userData === undefined || userData.length === 0) return [];
  const parsed: unknown = JSON.parse(userData.toString());
  const owned = (parsed as { owned?: unknown } | null)?.owned;
  return Array.isArray(owned) ? owned.filter((n): n is number => Number.isInteger(n)) : [];
}
