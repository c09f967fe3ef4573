import type { Metadata, Payload } from './payload.ts';
import type { ReplicatedAction } from './replicated.ts';

/** A command that a function asks for: a forward or a side effect. */
export interface Call {
  readonly service: string;
  readonly method: string;
  readonly payload: Payload;
  readonly metadata: Metadata;
}

/** A call that goes beside the answer. */
export interface SideEffect extends Call {
  /** Whoever waits for the answer gets it only after this has taken effect. */
  readonly synchronous: boolean;
}

/** What the caller of a command is told. */
export type Answer =
  | { readonly kind: 'reply'; readonly payload: Payload; readonly metadata: Metadata }
  | { readonly kind: 'forward'; readonly call: Call }
  | { readonly kind: 'failure'; readonly description: string; readonly grpcStatus?: number; readonly restart: boolean }
  /** The handler returned nothing: legal on the wire (PROTOCOLS 5), answered by the method's default output. */
  | { readonly kind: 'none' };

/** What a value entity's reply does to its state. */
export type StateAction =
  | { readonly kind: 'update'; readonly value: Payload }
  | { readonly kind: 'delete'; readonly cleanupAfterMs: number };

/** Everything a function's reply asks for. */
export interface Effect {
  readonly answer: Answer;
  readonly sideEffects: readonly SideEffect[];
  /** Event sourced entities: in order, not yet numbered. */
  readonly events: readonly Payload[];
  /** Event sourced entities: the state after all `events` of this effect. */
  readonly snapshot?: Payload;
  /** Value entities. */
  readonly state?: StateAction;
  /** Replicated entities. */
  readonly replicated?: ReplicatedAction;
  /** Replicated entities: more messages will follow for the caller of this command. */
  readonly streamed?: boolean;
  /** Event sourced entities of dialect D: delete, clean up after this many ms. */
  readonly deletedAfterMs?: number;
}
