import kafkajs, { type PartitionAssigner } from 'kafkajs';

const { AssignerProtocol } = kafkajs;

/** Version of the user data below, to which fields may be added. */
const VERSION = 1;

/** What a member tells the others when it joins, in JSON. */
interface UserData {
  /** Shards it owned before. */
  readonly owned: readonly number[];
  /** Its process (engine/owner-ids.ts); absent in those of earlier versions. */
  readonly process?: string;
}

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
export function createAssigner(options: {
  shards: number;
  process: string;
  owned: () => readonly number[];
}): PartitionAssigner {
  return () => ({
    name: 'stateferry-co-partitioned-sticky',
    version: VERSION,
    protocol: ({ topics }) => ({
      name: 'stateferry-co-partitioned-sticky',
      metadata: AssignerProtocol.MemberMetadata.encode({
        version: VERSION,
        topics,
        userData: encodeUserData({ owned: options.owned(), process: options.process }),
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

function encodeUserData(data: UserData): Buffer {
  return Buffer.from(JSON.stringify(data));
}

/** A member that sends anything else than our user data owns nothing that could be kept. */
function ownedOf(userData: Buffer | undefined): number[] {
  const owned = parseUserData(userData)?.owned;
  return Array.isArray(owned) ? owned.filter((n): n is number => Number.isInteger(n)) : [];
}

/**
 * The process of a member, by what it told the group when it joined; undefined where it told of none, as those of earlier versions.
 * Throws for metadata that are no member's.
 */
export function processOfMember(memberMetadata: Buffer): string | undefined {
  const process = parseUserData(AssignerProtocol.MemberMetadata.decode(memberMetadata)?.userData)?.process;
  return typeof process === 'string' ? process : undefined;
}

function parseUserData(userData: Buffer | undefined): { owned?: unknown; process?: unknown } | null {
  if (userData === undefined || userData.length === 0) return null;
  return JSON.parse(userData.toString()) as { owned?: unknown; process?: unknown } | null;
}
