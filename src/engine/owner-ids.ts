/** Of an id that `ownerId` made: the process in it. Ids of other versions end with a UUID alone. */
const PROCESS = /-([0-9a-f-]{36})\.\d+$/;

/**
 * The transactional id of a process's `nth` incarnation: what it is known by among a shard's owners. `process` is a UUID that
 * the process keeps as long as it is in the group; `processOf` finds it again.
 */
export function ownerId(deployment: string, process: string, nth: number): string {
  return `${deployment}-${process}.${nth}`;
}

/** The process that an owner is an incarnation of; undefined where its id does not say, as those of earlier versions. */
export function processOf(owner: string): string | undefined {
  return PROCESS.exec(owner)?.[1];
}

/** Whether the transactional id is one of the deployment's; those of earlier versions end with a UUID alone. */
export function isOwnerId(deployment: string, transactionalId: string): boolean {
  return (
    transactionalId.startsWith(`${deployment}-`) &&
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.\d+)?$/.test(transactionalId.slice(deployment.length + 1))
  );
}
