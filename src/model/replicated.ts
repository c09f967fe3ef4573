import type { Payload } from './payload.ts';

/** Maps whose values are all of one type, and maps whose values are of any. */
export type ReplicatedMapKind = 'map' | 'counter-map' | 'register-map' | 'multi-map';

/** How a register's write stands among others: the latest wins, the first one stays, or the greatest given clock wins. */
export type RegisterClock = 'default' | 'reverse' | 'custom' | 'custom-auto-increment';

/**
 * The value of a replicated entity (CRDT), whatever its dialect calls the type. Elements and keys are known by their
 * bytes: `elements` and `entries` are by src/replicated/identity.ts, in order of their first coming.
 */
export type ReplicatedData =
  /** A gcounter only grows. A whole number, exact up to 2^53. */
  | { readonly kind: 'gcounter' | 'counter'; readonly value: number }
  /** A gset only grows. */
  | { readonly kind: 'gset' | 'set'; readonly elements: ReadonlyMap<string, Payload> }
  /** `clock`: what a later write is compared with, a whole number. */
  | { readonly kind: 'register'; readonly value: Payload; readonly clock: number }
  | { readonly kind: 'flag'; readonly isOn: boolean }
  | {
      readonly kind: ReplicatedMapKind;
      readonly entries: ReadonlyMap<string, { readonly key: Payload; readonly data: ReplicatedData }>;
    }
  /** There is one voter: whoever owns the entity. */
  | { readonly kind: 'vote'; readonly selfVote: boolean };

export type ReplicatedKind = ReplicatedData['kind'];

/** An entry of a map, as a delta has it. */
export interface ReplicatedEntryDelta {
  readonly key: Payload;
  readonly delta: ReplicatedDelta;
}

/** A change of a value, or, from nothing, a value: where there was none, the delta's type is the value's. */
export type ReplicatedDelta =
  | { readonly kind: 'gcounter' | 'counter'; readonly change: number }
  /** First cleared, then removed, then added. */
  | {
      readonly kind: 'gset' | 'set';
      readonly cleared: boolean;
      readonly removed: readonly Payload[];
      readonly added: readonly Payload[];
    }
  /** `clockValue` counts for the custom clocks alone. */
  | {
      readonly kind: 'register';
      readonly value: Payload;
      readonly clock: RegisterClock;
      readonly clockValue: number;
    }
  | { readonly kind: 'flag'; readonly isOn: boolean }
  /** First cleared, then removed, then the rest: `updated` entries change what is there, or nothing; `added` ones begin from nothing. */
  | {
      readonly kind: ReplicatedMapKind;
      readonly cleared: boolean;
      readonly removed: readonly Payload[];
      readonly updated: readonly ReplicatedEntryDelta[];
      readonly added: readonly ReplicatedEntryDelta[];
    }
  | { readonly kind: 'vote'; readonly selfVote: boolean };

/** What a replicated entity's reply does to its value. */
export type ReplicatedAction =
  | { readonly kind: 'update'; readonly delta: ReplicatedDelta }
  | { readonly kind: 'delete' };
