import type { status } from '@grpc/grpc-js';
import type { Method } from '../model/component.ts';
import type { Metadata, Payload } from '../model/payload.ts';
import { NO_METADATA } from '../model/payload.ts';
import type { Peer } from './peer.ts';

/** One call at a door, whichever door that is. */
export interface DoorCall {
  readonly method: Method;
  readonly peer: Peer;
  /** What the caller sent with it, transport headers left out. */
  readonly metadata: Metadata;
  /** Aborted when the caller is gone or its deadline has passed; nothing more is then wanted of the call. */
  readonly signal: AbortSignal;
  /** When the caller stops to wait, in ms since the epoch; absent: the runtime's own limit. */
  readonly deadline?: number;
}

/** Whoever calls, as far as a door knows it. */
export type Asker = Pick<DoorCall, 'peer' | 'metadata'>;

/** One message of an answer. */
export interface DoorReply {
  /** Of the method's output type. */
  readonly payload: Payload;
  readonly metadata: Metadata;
}

/** How a call fails for its caller: a gRPC status with a sentence. */
export class CallFailure extends Error {
  override readonly name = 'CallFailure';
  readonly code: status;
  readonly metadata: Metadata;

  constructor(code: status, message: string, options: { metadata?: Metadata; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.metadata = options.metadata ?? NO_METADATA;
  }
}

/** The bytes of a call's input type, got only once it is known that the caller may call: whatever they throw, the call does too. */
export type Input = () => Uint8Array | Promise<Uint8Array>;

/** What stands behind the doors: calls of the function's methods, with the guarantees that the runtime gives them. */
export interface Calls {
  /**
   * A method that takes one message and answers one.
   * @throws CallFailure, and nothing else but what `input` throws
   */
  unary(call: DoorCall, input: Input): Promise<DoorReply>;
  /**
   * A method that streams in, out, or both. Where it does not stream in, `input` gives one message; where it does not
   * stream out, the answer has one. The answer may begin before the input has ended. Ending the iteration early ends the call.
   * @throws CallFailure while it is iterated, and nothing else; what `input` throws comes out as CANCELLED
   */
  streamed(call: DoorCall, input: AsyncIterable<Uint8Array>): AsyncIterable<DoorReply>;
}
