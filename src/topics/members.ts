import kafkajs, { type Admin } from 'kafkajs';
import { processOfMember } from './assigner.ts';

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

/**
 * The processes that are members of the group, as far as they are of a version that says so; undefined while the group is not at rest,
 * when it tells nothing of its members.
 */
export async function memberProcesses(admin: Admin, groupId: string): Promise<ReadonlySet<string> | undefined> {
  const { groups } = await admin.describeGroups([groupId]);
  const [group] = groups;
  if (group?.state !== 'Stable') return undefined;
  const processes = group.members.map(({ memberMetadata }) => processOfMember(memberMetadata));
  return new Set(processes.filter((process) => process !== undefined));
}
