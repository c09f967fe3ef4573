import { status } from '@grpc/grpc-js';
import type { StreamEnd } from '../http2/connection.ts';
import { ERROR_CODE, errorCodeName } from '../http2/frames.ts';
import type { Header } from '../http2/hpack.ts';
import { GrpcError } from './grpc-error.ts';

/** Before each message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
export const PREFIX_BYTES = 5;

const prefix = Buffer.alloc(PREFIX_BYTES);

/** The prefix of a message of this length; only there until the next one is asked for. */
export function prefixOf(length: number): Buffer {
  prefix.writeUInt32BE(length, 1);
  return prefix;
}

/** Puts the messages of one call together from the pieces that they come in. */
export class MessageReader {
  readonly #maxBytes: number;
  readonly #take: (message: Buffer) => void;
  #rest: Buffer | undefined;

  constructor(maxBytes: number, take: (message: Buffer) => void) {
    this.#maxBytes = maxBytes;
    this.#take = take;
  }

  /**
   * Hands over the messages that end in `piece`, each a copy.
   * @throws GrpcError for a message that is too large, or compressed (nobody said that we take those).
   */
  push(piece: Buffer): void {
    const bytes = this.#rest === undefined ? piece : Buffer.concat([this.#rest, piece]);
    let at = 0;
    while (bytes.length - at >= PREFIX_BYTES) {
      if (bytes[at] !== 0) throw new GrpcError(status.UNIMPLEMENTED, 'a compressed message, which was not asked for');
      const length = bytes.readUInt32BE(at + 1);
      if (length > this.#maxBytes) {
        throw new GrpcError(
          status.RESOURCE_EXHAUSTED,
          `a message of ${length} bytes, and ${this.#maxBytes} are taken at most`,
        );
      }
      const end = at + PREFIX_BYTES + length;
      if (end > bytes.length) break;
      // A copy, because the piece is only there now, and because a small message must not hold a large one.
      const message = Buffer.allocUnsafe(length);
      bytes.copy(message, 0, at + PREFIX_BYTES, end);
      this.#take(message);
      at = end;
    }
    this.#rest = at === bytes.length ? undefined : Buffer.from(bytes.subarray(at));
  }
}

const HTTP_OK = 200;

/** What a call's headers and trailers say about how it ended. */
export class CallStatus {
  #http: number | undefined;
  #contentType = '';
  #code: number | undefined;
  #message = '';

  take(headers: readonly Header[]): void {
    for (const [name, value] of headers) {
      if (name === ':status') this.#http = Number(value);
      else if (name === 'content-type') this.#contentType = value;
      else if (name === 'grpc-status') this.#code = Number(value);
      else if (name === 'grpc-message') this.#message = unescaped(value);
    }
  }

  /** It is no answer of a gRPC server: what comes with it are no messages. */
  get isForeign(): boolean {
    return this.#http !== undefined && this.#http !== HTTP_OK;
  }

  /** Undefined: it ended well. */
  after(end: StreamEnd): GrpcError | undefined {
    if (this.#code !== undefined && end.kind !== 'connection lost') {
      return this.#code === status.OK ? undefined : new GrpcError(this.#code, this.#message);
    }
    switch (end.kind) {
      case 'connection lost':
        return new GrpcError(status.UNAVAILABLE, end.reason);
      case 'refused':
        return new GrpcError(status.UNAVAILABLE, 'the function took the call no more: it is going away');
      case 'reset':
        return new GrpcError(
          RESET_AS.get(end.code) ?? status.INTERNAL,
          `the function reset the stream (${errorCodeName(end.code)})`,
        );
      case 'ended':
        if (this.#http !== undefined && this.#http !== HTTP_OK) {
          return new GrpcError(
            HTTP_AS.get(this.#http) ?? status.UNKNOWN,
            `answered with HTTP status ${this.#http}${this.#contentType === '' ? '' : `, ${this.#contentType}`}: is it a gRPC server?`,
          );
        }
        return new GrpcError(status.UNKNOWN, 'the call ended without a status');
    }
  }
}

/** The statuses that gRPC over HTTP/2 gives the error codes ("Errors"); all others are INTERNAL. */
const RESET_AS = new Map<number, status>([
  [ERROR_CODE.cancel, status.CANCELLED],
  [ERROR_CODE.enhanceYourCalm, status.RESOURCE_EXHAUSTED],
  [ERROR_CODE.inadequateSecurity, status.PERMISSION_DENIED],
]);

/** The statuses of answers that no gRPC server gave (grpc/doc/http-grpc-status-mapping); all others are UNKNOWN. */
const HTTP_AS = new Map<number, status>([
  [400, status.INTERNAL],
  [401, status.UNAUTHENTICATED],
  [403, status.PERMISSION_DENIED],
  [404, status.UNIMPLEMENTED],
  [429, status.UNAVAILABLE],
  [502, status.UNAVAILABLE],
  [503, status.UNAVAILABLE],
  [504, status.UNAVAILABLE],
]);

function unescaped(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}
