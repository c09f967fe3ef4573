import { status } from '@grpc/grpc-js';
import type { Metadata } from '../../model/payload.ts';
import { CallFailure } from '../calls.ts';
import type { DoorResponse, Exchange } from './exchange.ts';
import { HttpFailure, httpStatusOf } from './http-failure.ts';
import { responseHeaders } from './metadata-headers.ts';

/** Answers without a body, whatever the message. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);

/** Has an answer with this status to this request a body? */
export function hasBody({ request }: Exchange, httpStatus: number): boolean {
  return request.method !== 'HEAD' && !BODILESS.has(httpStatus);
}

/** An answer that is there as a whole. */
export interface Answer {
  readonly httpStatus: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly metadata?: Metadata;
  readonly contentType?: string;
  readonly body?: Uint8Array | string;
}

/** Sends an answer. The caller may be gone; then nothing happens. */
export function send(exchange: Exchange, answer: Answer): void {
  const { request, response } = exchange;
  // What is left of a body that nobody reads is dropped, so that the connection can go on.
  request.resume();
  if (exchange.isGone()) return;
  writeHead(response, answer);
  const body = toBytes(answer.body ?? '');
  if (!BODILESS.has(answer.httpStatus)) response.setHeader('content-length', body.length);
  if (hasBody(exchange, answer.httpStatus) && body.length > 0) response.end(body);
  else response.end();
}

/**
 * A part of a body as bytes. Text must not be given to Node as it is: it would write the headers that go with it in the
 * text's encoding, and their bytes beyond ASCII would be encoded a second time.
 */
export function toBytes(body: Uint8Array | string): Uint8Array {
  return typeof body === 'string' ? Buffer.from(body, 'utf8') : body;
}

/** Status and headers of an answer whose body is still to come. */
export function writeHead(response: DoorResponse, answer: Omit<Answer, 'body'>): void {
  response.statusCode = answer.httpStatus;
  for (const [name, values] of responseHeaders(answer.metadata ?? [])) {
    // What the door itself varies the answer by stays, whatever the function adds.
    const own = name === 'vary' ? response.getHeader(name) : undefined;
    const all = own === undefined ? values : [String(own), ...values];
    // A header that is there twice means the same as one with commas, and HTTP/2 takes many of them only once.
    response.setHeader(name, name === 'set-cookie' ? all : all.join(', '));
  }
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  response.setHeader('x-content-type-options', 'nosniff');
  if (answer.contentType !== undefined) response.setHeader('content-type', answer.contentType);
}

/** A failure as an answer: the body is exactly its message, the gRPC code is in `grpc-status`. */
export function failureAnswer(failure: CallFailure | HttpFailure): Answer {
  const refused = failure instanceof HttpFailure;
  return {
    httpStatus: refused ? failure.httpStatus : httpStatusOf(failure),
    headers: { ...(refused ? failure.headers : {}), 'grpc-status': String(failure.code) },
    ...(refused ? {} : { metadata: failure.metadata }),
    contentType: 'text/plain; charset=utf-8',
    body: failure.message,
  };
}

/** What the caller is told of anything thrown: only the two failures that are made for callers are told as they are. */
export function tellable(error: unknown): CallFailure | HttpFailure {
  if (error instanceof CallFailure || error instanceof HttpFailure) return error;
  return new CallFailure(status.INTERNAL, 'The call failed inside the runtime; its log says more.', { cause: error });
}
