import { processOf } from './owner-ids.ts';

/** What the group has said of its members counts for so long, in ms: about as long as an owner takes to release a shard. */
const MEMBERS_FOR_MS = 250;

/** Shards that have owners, and their transactional ids. */
export type Owned = readonly { readonly shard: number; readonly owners: readonly string[] }[];

/**
 * Those of the shards whose release is worth waiting for: some owner of it may be alive. An owner that is no member of the
 * group any more was killed, or has slept past its session; an earlier incarnation of `process`, which asks, is over. Neither
 * releases anything. Whatever is not known for sure counts as alive: what an id or the group does not tell, and a group
 * that has not answered yet, since nobody waits for its answer here.
 */
export function createLivingOwners(options: {
  readonly process: string;
  /** Processes that are members of the group; undefined: it cannot tell all of them now. */
  readonly members: () => Promise<ReadonlySet<string> | undefined>;
}): (owned: Owned) => number[] {
  let told: { readonly members: ReadonlySet<string>; readonly at: number } | undefined;
  let asking = false;

  function ask(): void {
    if (asking) return;
    asking = true;
    options.members().then(
      (members) => {
        told = members && { members, at: performance.now() };
        asking = false;
      },
      () => {
        told = undefined;
        asking = false;
      },
    );
  }

  return (owned) => {
    if (owned.length === 0) return [];
    if (told !== undefined && performance.now() - told.at > MEMBERS_FOR_MS) told = undefined;
    const members = told?.members;
    if (members === undefined) ask();
    const mayLive = (owner: string): boolean => {
      const process = processOf(owner);
      if (process === undefined) return true;
      return process !== options.process && (members === undefined || members.has(process));
    };
    return owned.filter(({ owners }) => owners.some(mayLive)).map(({ shard }) => shard);
  };
}
