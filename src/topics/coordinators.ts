import { createRequire } from 'node:module';

/** Where kafkajs 2.2.4 keeps what a client knows of its cluster. */
const MODULE = 'kafkajs/src/cluster/index.js';
/** FindCoordinator's key type for transactional ids (KIP-98). */
const TRANSACTION = 1;
/** A coordinator that has moved is asked for again after so many ms at the latest. */
const KEPT_MS = 1_000;

interface Lookup {
  readonly groupId: string;
  readonly coordinatorType: number;
}

/** The part of kafkajs' Cluster that matters here. */
interface Cluster {
  findGroupCoordinatorMetadata(lookup: Lookup): Promise<unknown>;
}

interface Kept {
  readonly answer: unknown;
  readonly at: number;
}

/**
 * Makes transactional producers remember their coordinators for a second. kafkajs asks for them before AddPartitions,
 * AddOffsets, TxnOffsetCommit and EndTxn each: four of a small transaction's nine round trips. Consumers are left alone;
 * a producer that met a coordinator which had moved is given up by its owner, and its memory with it (transactor.ts), or
 * tries for longer than that (fence.ts). To be called before the first transaction.
 */
export function installCoordinatorMemory(): void {
  const { prototype } = createRequire(import.meta.url)(MODULE) as { prototype: Cluster & { isRemembering?: true } };
  if (prototype.isRemembering) return;
  prototype.isRemembering = true;
  prototype.findGroupCoordinatorMetadata = remembering(prototype.findGroupCoordinatorMetadata, () => performance.now());
}

/** `find` with such a memory for each cluster. `now`: in ms. */
export function remembering(
  find: Cluster['findGroupCoordinatorMetadata'],
  now: () => number,
): Cluster['findGroupCoordinatorMetadata'] {
  const memories = new WeakMap<Cluster, Map<string, Kept>>();
  return async function (this: Cluster, lookup) {
    // Only a transactional producer asks for this type, and it does so before it asks for its group's coordinator.
    if (lookup.coordinatorType === TRANSACTION && !memories.has(this)) memories.set(this, new Map());
    const memory = memories.get(this);
    if (memory === undefined) return find.call(this, lookup);
    const key = `${lookup.coordinatorType} ${lookup.groupId}`;
    const kept = memory.get(key);
    if (kept !== undefined && now() - kept.at < KEPT_MS) return kept.answer;
    memory.delete(key);
    const answer = await find.call(this, lookup);
    memory.set(key, { answer, at: now() });
    return answer;
  };
}
