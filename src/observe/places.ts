import { describeHalt, type ShardStatus } from './status.ts';

/** A member of the consumer group. */
export interface GroupMember {
  readonly id: string;
  readonly host: string;
}

/** Where a shard is, by the journal and by the group, and why, as one process can tell it. */
export interface ShardPlace {
  readonly shard: number;
  /** 0: it has never been opened. */
  readonly epoch: number;
  /** Transactional ids that opened it and neither released it nor are known to be fenced; the newest is the last. */
  readonly owners: readonly string[];
  /** Whom the group assigned it to; null: to nobody, or that cannot be told. */
  readonly member: GroupMember | null;
  /** The process that answers has it, or is opening it. */
  readonly here: boolean;
  /** Why it is there, or why nobody runs it. */
  readonly reason: string;
}

/** What the journal has of a shard's owners. */
export interface OwnedRow {
  readonly shard: number;
  readonly epoch: number;
  readonly owners: readonly string[];
}

/** All shards of the deployment, in order. Pure. */
export function placeShards(given: {
  readonly count: number;
  readonly rows: readonly OwnedRow[];
  /** By shard; undefined where the group could not be asked. */
  readonly members: ReadonlyMap<number, GroupMember> | undefined;
  /** The process that answers: its open shards, and since when, in ms since the epoch, it opens others. */
  readonly own: { readonly shards: readonly ShardStatus[]; readonly opening: ReadonlyMap<number, number> };
  /** Milliseconds since the epoch. */
  readonly now: number;
}): ShardPlace[] {
  const { count, rows, members, own, now } = given;
  return Array.from({ length: count }, (_, shard) => {
    const { epoch = 0, owners = [] } = rows.find((row) => row.shard === shard) ?? {};
    const member = members?.get(shard) ?? null;
    const open = own.shards.find((status) => status.shard === shard);
    const since = own.opening.get(shard);
    const assigned = members === undefined ? 'the group gave no answer' : assignedTo(member);
    let reason: string;
    if (open !== undefined) reason = openHere(open, assigned);
    else if (since !== undefined) reason = openingHere(owners, (now - since) / 1_000);
    else reason = elsewhere(epoch, owners, assigned);
    return { shard, epoch, owners, member, here: open !== undefined || since !== undefined, reason };
  });
}

function assignedTo(member: GroupMember | null): string {
  return member === null ? 'assigned to nobody' : `assigned to the member at ${member.host}`;
}

function openHere({ state, halt }: ShardStatus, assigned: string): string {
  if (halt !== null) return `open here, halted before ${describeHalt(halt)}`;
  return state === 'running' ? 'open here' : `open here, ${state}; ${assigned}`;
}

function openingHere(owners: readonly string[], seconds: number): string {
  const waits = owners.length === 0 ? '' : `; ${owners.join(', ')} not known to have released it or to be fenced`;
  return `assigned here, opening for ${seconds.toFixed(1)} s${waits}`;
}

function elsewhere(epoch: number, owners: readonly string[], assigned: string): string {
  const newest = owners.at(-1);
  if (epoch === 0) return `never opened; ${assigned}`;
  if (newest === undefined) return `released, and not opened since; ${assigned}`;
  const earlier = owners.slice(0, -1);
  return earlier.length === 0
    ? `opened by ${newest}; ${assigned}`
    : `opened by ${newest}, while ${earlier.join(', ')} not known to be fenced; ${assigned}`;
}
