import { status } from '@grpc/grpc-js';
import type { CallFailure } from '../calls.ts';

/**
 * The HTTP status of each gRPC code, by google.rpc.Code. UNKNOWN is what a function's failure without a code is, and
 * stays 500; OK is no failure, so a failure that says it is one is a fault of the runtime: 500 too.
 */
const HTTP_STATUS: Readonly<Record<status, number>> = {
  [status.OK]: 500,
  [status.CANCELLED]: 499,
  [status.UNKNOWN]: 500,
  [status.INVALID_ARGUMENT]: 400,
  [status.DEADLINE_EXCEEDED]: 504,
  [status.NOT_FOUND]: 404,
  [status.ALREADY_EXISTS]: 409,
  [status.PERMISSION_DENIED]: 403,
  [status.RESOURCE_EXHAUSTED]: 429,
  [status.FAILED_PRECONDITION]: 400,
  [status.ABORTED]: 409,
  [status.OUT_OF_RANGE]: 400,
  [status.UNIMPLEMENTED]: 501,
  [status.INTERNAL]: 500,
  [status.UNAVAILABLE]: 503,
  [status.DATA_LOSS]: 500,
  [status.UNAUTHENTICATED]: 401,
};

/** The HTTP status that a call's failure is answered with; a code that gRPC does not have gives 500. */
export function httpStatusOf(failure: CallFailure): number {
  return HTTP_STATUS[failure.code] ?? 500;
}

/** A request that this door refuses itself, before or instead of a call. The message goes to the caller as it is. */
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure';
  readonly httpStatus: number;
  /** The same refusal as a gRPC status, for gRPC-Web and the `grpc-status` header. */
  readonly code: status;
  /** Response headers that belong to the refusal, `allow` for example. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    httpStatus: number,
    code: status,
    message: string,
    options: { headers?: Readonly<Record<string, string>>; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.httpStatus = httpStatus;
    this.code = code;
    this.headers = options.headers ?? {};
  }
}

/** 400: something in the request is not as the method wants it. */
export function badRequest(message: string, cause?: unknown): HttpFailure {
  return new HttpFailure(400, status.INVALID_ARGUMENT, message, { cause });
}

/** 413: `what` is larger than the limit, in bytes. */
export function tooLarge(what: string, limitBytes: number): HttpFailure {
  return new HttpFailure(
    413,
    status.RESOURCE_EXHAUSTED,
    `${what} is larger than the ${limitBytes} bytes that are taken here; send less in one message.`,
  );
}

/** 408: the end of the body has not come in time. */
export function tooSlow(withinMs: number): HttpFailure {
  return new HttpFailure(
    408,
    status.DEADLINE_EXCEEDED,
    `The body has not come to its end within ${withinMs} ms (doors.timeoutMs); send it again, and faster.`,
  );
}

const QUOTED_CHARACTERS = 60;

/** What a caller sent, for a sentence: in quotes, control characters escaped, cut after 60 characters. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > QUOTED_CHARACTERS ? `${text.slice(0, QUOTED_CHARACTERS)}…` : text);
}
