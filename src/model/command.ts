import type { Method } from './component.ts';
import type { Metadata, Payload } from './payload.ts';

/**
 * Who a command is, for ever: `topic/partition/offset` of the external record it came from, followed by `#n` for each
 * step of derivation (a forward or side effect is the n-th command derived from its parent). A stray keeps its id.
 */
export type CommandId = string;

/** Where an answer goes besides the method's own destination: carried along a chain of forwards. */
export interface ReplyTo {
  readonly topic: string;
}

/** One message for an entity or an action, whatever door it came through. */
export interface Command {
  readonly id: CommandId;
  readonly method: Method;
  /** Empty for actions. */
  readonly entityId: string;
  readonly payload: Payload;
  readonly metadata: Metadata;
  readonly replyTo?: ReplyTo;
}
