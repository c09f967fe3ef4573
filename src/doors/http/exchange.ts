import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { CallFailure } from '../calls.ts';
import { type Headers, waitMs } from './deadline.ts';

/** A request as both node:http and node:http2 have it. */
export interface DoorRequest extends Readable {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Headers;
  readonly rawHeaders: readonly string[];
  readonly socket: Socket | TLSSocket;
}

/** A response as both node:http and node:http2 have it. */
export interface DoorResponse extends Writable {
  statusCode: number;
  readonly headersSent: boolean;
  getHeader(name: string): number | string | readonly string[] | undefined;
  setHeader(name: string, value: number | string | readonly string[]): unknown;
}

/** The longest time that a timer of Node can be set to, in ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** One request and its answer. */
export interface Exchange {
  readonly request: DoorRequest;
  readonly response: DoorResponse;
  /** Aborted when the caller is gone or its deadline has passed; its reason is the CallFailure of that. */
  readonly signal: AbortSignal;
  /**
   * Begins to count the time that the caller says it waits, and gives when it ends, in ms since the epoch; undefined where
   * it does not say. Throws HttpFailure 400 for a time that cannot be read.
   */
  startDeadline(): number | undefined;
  /** The caller is gone: nothing reaches it any more. */
  isGone(): boolean;
}

/** Follows one request until its response is closed. */
export function openExchange(request: DoorRequest, response: DoorResponse): Exchange {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let gone = false;
  const close = (): void => {
    clearTimeout(timer);
    if (response.writableEnded) return;
    gone = true;
    controller.abort(new CallFailure(status.CANCELLED, 'The caller is gone.'));
  };
  response.once('close', close);
  // A caller that resets its connection is gone, which 'close' tells; the error says no more than that.
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  return {
    request,
    response,
    signal: controller.signal,
    startDeadline() {
      const wait = waitMs(request.headers);
      if (wait === undefined) return undefined;
      const pass = (): void =>
        controller.abort(
          new CallFailure(
            status.DEADLINE_EXCEEDED,
            `The ${wait} ms that the caller waits have passed without an answer.`,
          ),
        );
      if (wait <= LONGEST_TIMER_MS && !gone) timer = setTimeout(pass, wait);
      return Date.now() + wait;
    },
    isGone: () => gone,
  };
}

/** What `promise` gives, unless `signal` is aborted before: then its reason is thrown, and nobody waits for `promise`. */
export async function whileWanted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = (): void => undefined;
  const unwanted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, unwanted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/**
 * The elements of `source` for as long as they are wanted: when `signal` is aborted its reason is thrown at once, and
 * the iteration of `source` is ended, as it is when this one is ended early.
 */
export async function* iterateWhileWanted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void> {
  const iterator = source[Symbol.asyncIterator]();
  let done = false;
  try {
    while (true) {
      const next = await whileWanted(iterator.next(), signal);
      if (next.done === true) {
        done = true;
        return;
      }
      yield next.value;
    }
  } catch (error) {
    // A source that failed has ended; one that is no longer wanted has not.
    done = !signal.aborted;
    throw error;
  } finally {
    // Not awaited: a generator that is inside its own await answers only after that. What it throws then is of no call.
    if (!done) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}
