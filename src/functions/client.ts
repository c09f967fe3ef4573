import * as grpc from '@grpc/grpc-js';
import { asBuffer } from '../bytes.ts';

/** A message limit for answers of functions; Kalix' SDKs accept 12 MiB themselves (PROTOCOLS 10). */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/**
 * Connections that streams and calls take in turn. A command that does not fit into what a connection's window has left
 * (65,535 bytes, unless the function says otherwise) is sent in two parts, and HTTP/2 of Node.js sends the second part when
 * there is nothing else to send: under load it was the last of thousands to be answered. More windows, fewer of those.
 */
const CONNECTIONS = 4;

const identity = (bytes: Buffer): Buffer => bytes;

/** A stream of raw messages to and from a function. */
export type RawStream = grpc.ClientDuplexStream<Buffer, Buffer>;

/** Raw gRPC to one function: bytes in, bytes out; what they mean is the dialect's matter. */
export interface FunctionClient {
  /** Resolves with the answer's bytes; rejects with the gRPC ServiceError. */
  unary(path: string, request: Uint8Array, deadlineMs: number): Promise<Buffer>;
  /** One call without a promise: for the way of a record. Returns a function that cancels the call. */
  call(
    path: string,
    request: Uint8Array,
    deadlineMs: number,
    done: (error: grpc.ServiceError | null, answer?: Buffer) => void,
  ): () => void;
  stream(path: string): RawStream;
  /** Calls `lost` once, when the connection that is there now is lost; at once where there is none. Not after `close`. */
  onceLost(lost: () => void): void;
  close(): void;
}

export function createFunctionClient(url: URL): FunctionClient {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const credentials = url.protocol === 'https:' ? grpc.credentials.createSsl() : grpc.credentials.createInsecure();
  const connect = () =>
    new grpc.Client(`dns:${url.hostname}:${port}`, credentials, {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': -1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      // No keepalive: Go and Python functions answer pings with GOAWAY (PROTOCOLS 10).
    });
  const clients = Array.from({ length: CONNECTIONS }, connect);
  const [client] = clients as [grpc.Client];
  let turn = 0;
  const next = () => clients[turn++ % CONNECTIONS] as grpc.Client;
  return {
    unary: (path, request, deadlineMs) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          path,
          identity,
          identity,
          asBuffer(request),
          new grpc.Metadata(),
          { deadline: Date.now() + deadlineMs },
          (error, answer) => (error === null && answer !== undefined ? resolve(answer) : reject(error)),
        );
      }),
    call(path, request, deadlineMs, done) {
      const call = next().makeUnaryRequest(
        path,
        identity,
        identity,
        asBuffer(request),
        new grpc.Metadata(),
        { deadline: Date.now() + deadlineMs },
        (error, answer) => done(error, answer),
      );
      return () => call.cancel();
    },
    stream: (path) => next().makeBidiStreamRequest(path, identity, identity),
    onceLost(lost) {
      const channel = client.getChannel();
      const look = (): void => {
        const state = channel.getConnectivityState(false);
        if (state === grpc.connectivityState.SHUTDOWN) return;
        if (state === grpc.connectivityState.READY) channel.watchConnectivityState(state, Infinity, look);
        else lost();
      };
      look();
    },
    close() {
      for (const one of clients) one.close();
    },
  };
}
