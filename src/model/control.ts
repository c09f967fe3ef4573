import type { CommandId } from './command.ts';
import type { EntityKey } from './entity.ts';

/** Where a command stands among the parked ones of its shard: the chunk that parked it first, and its number in it. */
export interface Place {
  readonly chunk: number;
  readonly ordinal: number;
}

/** Negative: `a` stands before `b`; 0: they are the same. */
export function comparePlaces(a: Place, b: Place): number {
  return a.chunk - b.chunk || a.ordinal - b.ordinal;
}

/** A command that waits in the journal until its entity is resumed. */
export interface ParkedCommand {
  readonly key: EntityKey;
  readonly place: Place;
  readonly commandId: CommandId;
  /** stateferry.internal.Outbox with one record: as it is put back onto the command topic (codec/put-back.ts). */
  readonly record: Uint8Array;
}

/** An entity whose commands are parked, as the journal has it. */
export interface EntityControl {
  readonly key: EntityKey;
  /** resuming: parked commands are put back, and new ones wait behind them. */
  readonly state: 'paused' | 'resuming';
  readonly reason: string;
  /** Empty: a failure policy. */
  readonly by: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** The last command that was put back and has not come back from the command topic. */
  readonly released: Place | undefined;
}

/** An entity's control as the opening of its shard finds it. */
export interface LoadedControl extends EntityControl {
  /** Its parked commands, and the place of the first. */
  readonly parked: number;
  readonly first: Place | undefined;
}

/** What a chunk writes besides its commands' effects: what operators have asked for, and what follows from it. */
export interface ControlWrites {
  readonly parked: readonly ParkedCommand[];
  /** Parked commands that leave: they are among the chunk's outputs, put back or as dead letters. */
  readonly unparked: readonly Place[];
  readonly controls: readonly EntityControl[];
  /** Entities that are as all others again. */
  readonly freed: readonly EntityKey[];
  /** Operations that are done. */
  readonly done: readonly { readonly id: number; readonly outcome: string }[];
}

/** What an operator asks for. */
export type Operation = {
  readonly id: number;
  readonly shard: number;
  readonly by: string;
  readonly reason: string;
} & (
  | { readonly kind: 'pause' | 'resume' | 'skip'; readonly key: EntityKey }
  | { readonly kind: 'shard-resume' | 'shard-skip' }
  /** A dead letter that is put back, encoded as a parked command is. */
  | { readonly kind: 'retry'; readonly record: Uint8Array }
);
