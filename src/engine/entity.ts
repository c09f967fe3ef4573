import type { Session } from '../functions/session.ts';
import type { EntityKey } from '../model/chunk.ts';
import type { Command } from '../model/command.ts';
import type { Component } from '../model/component.ts';
import type { Item, ItemOwner } from './item.ts';
import type { Replica } from './replica.ts';

/**
 * Where an entity is on its way to its next command:
 * - passive: no stream at the function;
 * - settling: commands of it are decided and not journaled yet, so the journal is no place to load it from;
 * - asking: its next command has an idempotency key, and the journal is asked whether it has taken effect before;
 * - queued: waits for a free stream; loading: its state is being read;
 * - idle: has a stream and nothing to do; busy: one command is at the function;
 * - leaving: nothing is at the function but callers that have gone, of whom it may say what it does about them;
 * - held: has a command and a stream, and waits for its turn: the function has as many commands as it may have, or a
 *   suspect goes first, alone;
 * - resting: its first command failed, and is tried again after a pause or when somebody says so.
 */
export type EntityState =
  | 'passive'
  | 'settling'
  | 'asking'
  | 'queued'
  | 'loading'
  | 'idle'
  | 'busy'
  | 'leaving'
  | 'held'
  | 'resting'
  | 'dropped';

/** An entity that has something to do or a stream; an action's caller is one, too. */
export interface Entity {
  readonly id: string;
  readonly key: EntityKey;
  readonly component: Component;
  readonly shard: ItemOwner;
  state: EntityState;
  session: Session | undefined;
  readonly mailbox: Item[];
  seq: number;
  revision: number;
  /** Of a replicated entity with a stream. */
  replica: Replica | undefined;
  /** Decided commands that are not in the journal yet. */
  unsettled: number;
  /** Ends its rest. */
  rest: NodeJS.Timeout | undefined;
  /** performance.now() when it had nothing more to do. */
  idleSince: number;
}

export function newEntity(given: Pick<Entity, 'id' | 'key' | 'component' | 'shard'>): Entity {
  return {
    ...given,
    state: 'passive',
    session: undefined,
    mailbox: [],
    seq: 0,
    revision: 0,
    replica: undefined,
    unsettled: 0,
    rest: undefined,
    idleSince: 0,
  };
}

/** The first of its commands that is not decided, behind cancellations that are at the function. */
export function first({ mailbox, replica }: Entity): Item | undefined {
  return mailbox[replica === undefined ? 0 : replica.leaving];
}

export function removeFrom(mailbox: Item[], item: Item): void {
  if (mailbox[0] === item) mailbox.shift();
  else if (mailbox.includes(item)) mailbox.splice(mailbox.indexOf(item), 1);
}

export function isAtRest({ replica, mailbox }: Entity): boolean {
  return replica === undefined && mailbox.length === 0;
}

/** Actions have no entities: the record's key stands for one, so that what one key sends is answered in order. */
export function idOf(component: Component, command: Command, item: Item): string {
  if (component.kind !== 'action') return entityIdOf({ entityType: component.entityType, entityId: command.entityId });
  if (command.key === null)
    return `${component.service}\0\0${item.record.topic}\0${item.record.partition}\0${item.record.offset}`;
  return `${component.service}\0${Buffer.from(command.key).toString('latin1')}`;
}

export function entityIdOf({ entityType, entityId }: EntityKey): string {
  return `${entityType}\0${entityId}`;
}
