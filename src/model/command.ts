import type { Method } from './component.ts';
import type { Metadata, Payload } from './payload.ts';

/**
 * Who a command is, for ever: `topic/partition/offset` of the external record it came from, followed by `#n` for each
 * step of derivation (a forward or side effect is the n-th command derived from its parent), or `#n@feed` where event n
 * of its entity, or the n-th change of its value, is what a feed hands on. A stray keeps its id.
 */
export type CommandId = string;

/** Who waits at a door for what becomes of a command. */
export interface Caller {
  /** Partition of the deployment's answer topic that its process reads. */
  readonly partition: number;
  /** Which of that process's calls it is: CORRELATION_BYTES (codec/answer-record.ts). */
  readonly correlation: Uint8Array;
  /** It waits for the end of this command alone, a side effect; another command answers it. */
  readonly doneOnly: boolean;
  /** Side effects that it waits for besides, by the commands that forwarded to this one. */
  readonly awaits: number;
  /** It takes a stream of answers (replicated entities of dialects A and B). */
  readonly streamed?: true;
}

/** What becomes of a stream of answers: its caller is still there, or has gone. */
export type StreamControl = 'renew' | 'cancel';

/** One message for an entity or an action, whatever door it came through. */
export interface Command {
  readonly id: CommandId;
  readonly method: Method;
  /** Empty for actions. */
  readonly entityId: string;
  /**
   * What orders it, and the key of every record it leads to: the entity id in UTF-8, or, for an action, the key of the
   * record that brought it. Null: nothing orders it.
   */
  readonly key: Uint8Array | null;
  readonly payload: Payload;
  readonly metadata: Metadata;
  /** Topics that the answer goes to besides the method's own: carried along a chain of forwards. */
  readonly replyTo: readonly string[];
  /** Absent: nobody waits for it. */
  readonly caller?: Caller;
  /** It is no command of its own, but about the stream of answers that one of the same caller has opened. */
  readonly stream?: StreamControl;
  /** Commands with the same one are one command, sent more than once: the first takes effect. */
  readonly idempotencyKey?: string;
}
