import { encodeReplicatedDelta } from '../codec/replicated-record.ts';
import type { JournalDeletion, JournalEvent, JournalSnapshot } from '../model/chunk.ts';
import type { Command } from '../model/command.ts';
import type { ReplicatedAction, ReplicatedData, ReplicatedDelta } from '../model/replicated.ts';
import { fromNothing, merge } from '../replicated/merge.ts';

/** An entity has a snapshot at each so many changes, so that it is loaded with fewer than that. */
export const CHANGES_PER_SNAPSHOT = 100;

/** What an action makes of a replicated entity, for the journal and in memory. */
export interface ReplicatedChange {
  /** Undefined: it is deleted, and so is all that the function has of it. */
  readonly data: ReplicatedData | undefined;
  /** What the function is to be told, since it believes in another value. */
  readonly correction?: ReplicatedDelta;
}

/** The rows of an action, and what the entity is after it. */
export interface ReplicatedRows {
  readonly change: ReplicatedChange;
  readonly event?: JournalEvent;
  readonly snapshot?: JournalSnapshot;
  readonly deletion?: JournalDeletion;
}

/**
 * What a replicated entity's action does: each change is an event, as dialect-neutral as the value, and the runtime
 * takes the snapshots, since it can. A change that loses against what is there is no event. Pure.
 * @throws Error with a clause for a message, where the delta is not one of the entity's value.
 */
export function decideReplicated(
  command: Command,
  action: ReplicatedAction,
  position: { readonly seq: number; readonly data?: ReplicatedData | undefined },
): ReplicatedRows {
  const key = { entityType: command.method.component.entityType, entityId: command.entityId };
  if (action.kind === 'delete') {
    return { change: { data: undefined }, deletion: { ...key, seq: position.seq, cleanupAfterMs: 0 } };
  }
  const { data, correction } = merge(position.data, action.delta);
  const change = correction === undefined ? { data } : { data, correction };
  if (data === position.data) return { change };
  const seq = position.seq + 1;
  const { typeUrl, value } = encodeReplicatedDelta(action.delta);
  const event = { ...key, seq, typeUrl, payload: value, commandId: command.id };
  if (seq % CHANGES_PER_SNAPSHOT !== 0) return { change, event };
  const whole = encodeReplicatedDelta(fromNothing(data));
  return { change, event, snapshot: { ...key, seq, typeUrl: whole.typeUrl, payload: whole.value } };
}
