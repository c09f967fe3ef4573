import kafkajs, { type Admin } from 'kafkajs';

const { AssignerProtocol } = kafkajs;

/** Which member of the group has which partitions of `topic`; partitions that nobody has are absent. */
export async function assignedMembers(
  admin: Admin,
  groupId: string,
  topic: string,
): Promise<Map<number, { readonly id: string; readonly host: string }>> {
  const { groups } = await admin.describeGroups([groupId]);
  const found = new Map<number, { readonly id: string; readonly host: string }>();
  for (const { memberId, clientHost, memberAssignment } of groups[0]?.members ?? []) {
    // Empty while the group rebalances.
    const assignment =
      memberAssignment.length === 0 ? null : AssignerProtocol.MemberAssignment.decode(memberAssignment);
    for (const partition of assignment?.assignment[topic] ?? []) {
      found.set(partition, { id: memberId, host: clientHost.replace(/^\//, '') });
    }
  }
  return found;
}
