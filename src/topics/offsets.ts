import type { Admin } from 'kafkajs';

export interface OffsetRange {
  /** Oldest offset still on the topic. */
  readonly low: bigint;
  /** One past the newest record that no open transaction holds back (kafkajs asks for the last stable offset). */
  readonly high: bigint;
}

/** Offset ranges of every partition of a topic, by partition number. */
export async function offsetRanges(admin: Admin, topic: string): Promise<Map<number, OffsetRange>> {
  const offsets = await admin.fetchTopicOffsets(topic);
  return new Map(offsets.map((o) => [o.partition, { low: BigInt(o.low), high: BigInt(o.high) }]));
}

/** The group's committed offsets: topic → partition → offset; what has none is absent, a topic that is gone too. */
export async function committedOffsets(
  admin: Admin,
  groupId: string,
  topics: readonly string[],
): Promise<Map<string, Map<number, bigint>>> {
  // All of the group's, since kafkajs fails where it is asked for a topic that is gone.
  const fetched = await admin.fetchOffsets({ groupId });
  const wanted = fetched.filter(({ topic }) => topics.includes(topic));
  return new Map(
    wanted.map(({ topic, partitions }) => [
      topic,
      new Map(partitions.filter((p) => p.offset !== '-1').map((p) => [p.partition, BigInt(p.offset)])),
    ]),
  );
}

/** Removes a group and its offsets, which would count for another one of that name; nothing happens where there is none. */
export async function dropGroup(admin: Admin, groupId: string): Promise<void> {
  if ((await admin.listGroups()).groups.some((group) => group.groupId === groupId)) await admin.deleteGroups([groupId]);
}
