import { status } from '@grpc/grpc-js';
import { asBuffer } from '../bytes.ts';
import { encodeHeaders } from '../http2/hpack.ts';
import type { ClientTls } from '../secure.ts';
import { type Address, Channel } from './channel.ts';
import { GrpcError } from './grpc-error.ts';
import { RawStream } from './raw-stream.ts';

/** A message limit for answers of functions; Kalix' SDKs accept 12 MiB themselves (PROTOCOLS 10). */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/**
 * Connections that streams and calls take in turn. A connection's window (65,535 bytes, unless the function says otherwise) is what
 * may be on its way to the function at once, of all its streams together.
 */
const CONNECTIONS = 4;

/** Raw gRPC to one function: bytes in, bytes out; what they mean is the dialect's matter. */
export interface FunctionClient {
  /** Resolves with the answer's bytes; rejects with a GrpcError. */
  unary(path: string, request: Uint8Array, deadlineMs: number): Promise<Buffer>;
  /** One call without a promise: for the way of a record. Returns a function that cancels the call. */
  call(
    path: string,
    request: Uint8Array,
    deadlineMs: number,
    done: (error: GrpcError | null, answer?: Buffer) => void,
  ): () => void;
  stream(path: string): RawStream;
  /** Calls `lost` once, when the connection that is there now is lost; at once where there is none. Not after `close`. */
  onceLost(lost: () => void): void;
  close(): void;
}

/** `tls` counts where the URL begins with https. */
export function createFunctionClient(url: URL, tls: ClientTls = () => ({})): FunctionClient {
  const isSecure = url.protocol === 'https:';
  const port = Number(url.port || (isSecure ? '443' : '80'));
  // A URL has brackets around an IPv6 address.
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const address: Address = { host, port, ...(isSecure && { tls }) };
  const authority = (isSecure ? tls().servername : undefined) ?? `${url.hostname}:${port}`;
  const channels = Array.from({ length: CONNECTIONS }, () => new Channel(address));
  const [first] = channels as [Channel];
  const blocks = new Map<string, Buffer>();
  let turn = 0;
  const next = (): Channel => channels[turn++ % CONNECTIONS] as Channel;

  function blockOf(path: string): Buffer {
    let block = blocks.get(path);
    if (block === undefined) {
      block = encodeHeaders([
        [':method', 'POST'],
        [':scheme', isSecure ? 'https' : 'http'],
        [':path', path],
        [':authority', authority],
        ['te', 'trailers'],
        ['content-type', 'application/grpc'],
        ['user-agent', 'stateferry'],
      ]);
      blocks.set(path, block);
    }
    return block;
  }

  function call(
    channel: Channel,
    path: string,
    request: Uint8Array,
    deadlineMs: number,
    done: (error: GrpcError | null, answer?: Buffer) => void,
  ): () => void {
    const timeout = encodeHeaders([['grpc-timeout', `${Math.max(1, Math.ceil(deadlineMs))}m`]]);
    const stream = new RawStream(channel, Buffer.concat([blockOf(path), timeout]), MAX_MESSAGE_BYTES);
    let answer: Buffer | undefined;
    let failure: GrpcError | undefined;
    const late = setTimeout(() => {
      failure = new GrpcError(status.DEADLINE_EXCEEDED, `no answer within ${Math.ceil(deadlineMs)} ms`);
      stream.cancel();
    }, deadlineMs);
    stream.on('data', (message) => {
      answer = message;
    });
    stream.on('error', (error) => {
      clearTimeout(late);
      done(failure ?? error);
    });
    stream.on('end', () => {
      clearTimeout(late);
      if (answer === undefined) done(new GrpcError(status.INTERNAL, 'the call ended well, without an answer'));
      else done(null, answer);
    });
    stream.write(asBuffer(request));
    stream.end();
    return () => stream.cancel();
  }

  return {
    unary: (path, request, deadlineMs) =>
      new Promise((resolve, reject) => {
        call(first, path, request, deadlineMs, (error, answer) =>
          error === null && answer !== undefined ? resolve(answer) : reject(error),
        );
      }),
    call: (path, request, deadlineMs, done) => call(next(), path, request, deadlineMs, done),
    stream: (path) => new RawStream(next(), blockOf(path), MAX_MESSAGE_BYTES),
    onceLost: (lost) => first.onceLost(lost),
    close() {
      for (const channel of channels) channel.close();
    },
  };
}
