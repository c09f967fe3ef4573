import type { EventEmitter } from 'node:events';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Writable } from 'node:stream';
import * as grpc from '@grpc/grpc-js';
import { asBuffer } from '../bytes.ts';
import type { Method } from '../model/component.ts';
import { type Asker, CallFailure, type Calls, type DoorCall } from './calls.ts';
import { fromGrpc, toGrpc } from './grpc-metadata.ts';
import { readGrpcTimeout } from './grpc-timeout.ts';
import { type Arrival, showStreams } from './http2-streams.ts';
import { namesOf, type Peer } from './peer.ts';
import type { Services } from './services.ts';
import { untilWritable } from './writable.ts';

const identity = (bytes: Buffer): Buffer => bytes;

type Call =
  | grpc.ServerUnaryCall<Buffer, Buffer>
  | grpc.ServerReadableStream<Buffer, Buffer>
  | grpc.ServerWritableStream<Buffer, Buffer>
  | grpc.ServerDuplexStream<Buffer, Buffer>;

/** A method that the door itself answers: reflection and health. */
export interface OwnMethod {
  readonly path: string;
  readonly type: 'unary' | 'serverStream' | 'bidi';
  readonly handler: grpc.UntypedHandleCall;
}

/** Streams of one connection that may be open at once; a client waits with further ones. */
const STREAMS_PER_CONNECTION = 1_000;
/** In `grpc-timeout`, the longest that grpc-js counts right: it has 31 bits of milliseconds. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;
const LONGEST_TIMEOUT = `${Math.floor(LONGEST_TIMEOUT_MS / 1_000)}S`;

/** Serves the methods of the function's services as they are, by name, on whatever connections it is given. */
export interface GrpcDoor {
  /** Serves these in the place of those before. */
  serve(services: Services): void;
  /** Takes a connection that speaks HTTP/2. */
  readonly inject: (socket: import('node:net').Socket) => void;
  /** Lets calls that are under way end within so many ms. */
  stop(graceMs: number): Promise<void>;
}

export function createGrpcDoor(options: {
  calls: Calls;
  own: readonly OwnMethod[];
  maxMessageBytes: number;
  /** Streams whose input has not ended, of all connections; further ones are refused. */
  maxStreams: number;
  /** How long a method that takes one message waits for it, in ms. */
  inputMs: number;
  /** A connection whose client has not taken our settings by then speaks no HTTP/2, in ms. */
  settingsMs: number;
  /** Takes the requests on the same connections that are none of gRPC. */
  others: (arrival: Arrival) => void;
}): GrpcDoor {
  const { calls, inputMs } = options;
  const server = new grpc.Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION,
  });
  // TLS, where there is any, has ended before.
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  let served: string[] = [];
  /** Paths of methods that take as many messages as their callers like, for as long as they like. */
  let streamedIn: ReadonlySet<string> = new Set();
  let unended = 0;

  showStreams(server, {
    session(session) {
      const silent = setTimeout(() => session.destroy(), options.settingsMs);
      const forget = (): void => clearTimeout(silent);
      session.once('localSettings', forget);
      session.once('close', forget);
    },
    stream(arrival, toGrpc) {
      const { stream, headers } = arrival;
      const isGrpc = isOfGrpc(headers);
      if (!followInput(stream, isGrpc && !streamedIn.has(headers[':path'] ?? ''))) return;
      if (isGrpc) toGrpc(withinTimers(headers));
      else options.others(arrival);
    },
  });

  /** Counts a stream until its input has ended; `once`: which it must have within `inputMs`. False: it was refused. */
  function followInput(stream: ServerHttp2Stream, once: boolean): boolean {
    if (unended >= options.maxStreams) {
      stream.on('error', () => undefined);
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return false;
    }
    unended++;
    const late = once ? setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), inputMs) : undefined;
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      unended--;
      clearTimeout(late);
    };
    stream.once('end', end);
    stream.once('close', end);
    // It is answered, and the rest of its input is nobody's (RFC 9113, 8.1).
    stream.once('finish', () => {
      if (!ended) stream.close(constants.NGHTTP2_NO_ERROR);
    });
    return true;
  }
  for (const { path, type, handler } of options.own) server.register(path, handler, identity, identity, type);

  function register(method: Method): string {
    const path = pathOf(method);
    const { clientStreaming, serverStreaming } = method;
    if (!clientStreaming && !serverStreaming) {
      const handler: grpc.handleUnaryCall<Buffer, Buffer> = (call, answer) => void unary(method, call, answer);
      server.register(path, handler, identity, identity, 'unary');
    } else if (!serverStreaming) {
      const handler: grpc.handleClientStreamingCall<Buffer, Buffer> = (call, answer) =>
        void answerStream(method, call, answer);
      server.register(path, handler, identity, identity, 'clientStream');
    } else if (!clientStreaming) {
      const handler: grpc.handleServerStreamingCall<Buffer, Buffer> = (call) =>
        void streamedOut(method, call, once(call.request));
      server.register(path, handler, identity, identity, 'serverStream');
    } else {
      // An iterator that ended would otherwise destroy the stream, and the answers' half of it too.
      const handler: grpc.handleBidiStreamingCall<Buffer, Buffer> = (call) =>
        void streamedOut(method, call, call.iterator({ destroyOnReturn: false }));
      server.register(path, handler, identity, identity, 'bidi');
    }
    return path;
  }

  async function unary(
    method: Method,
    call: grpc.ServerUnaryCall<Buffer, Buffer>,
    answer: grpc.sendUnaryData<Buffer>,
  ): Promise<void> {
    try {
      const { payload, metadata } = await calls.unary(toDoorCall(method, call), () => call.request);
      if (metadata.length > 0) call.sendMetadata(toGrpc(metadata));
      answer(null, asBuffer(payload.value));
    } catch (error) {
      answer(toStatus(error));
    }
  }

  async function answerStream(
    method: Method,
    call: grpc.ServerReadableStream<Buffer, Buffer>,
    answer: grpc.sendUnaryData<Buffer>,
  ): Promise<void> {
    try {
      for await (const { payload, metadata } of calls.streamed(toDoorCall(method, call), call)) {
        if (metadata.length > 0) call.sendMetadata(toGrpc(metadata));
        answer(null, asBuffer(payload.value));
        return;
      }
      answer(null, Buffer.alloc(0));
    } catch (error) {
      answer(toStatus(error));
    }
  }

  async function streamedOut(
    method: Method,
    call: grpc.ServerWritableStream<Buffer, Buffer> | grpc.ServerDuplexStream<Buffer, Buffer>,
    input: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    try {
      let first = true;
      for await (const { payload, metadata } of calls.streamed(toDoorCall(method, call), input)) {
        if (first && metadata.length > 0) call.sendMetadata(toGrpc(metadata));
        first = false;
        if (call.cancelled) return;
        // The union of both streams' overloads is not callable as it is.
        const out: Writable = call;
        if (!out.write(asBuffer(payload.value))) await untilWritable(out);
      }
      call.end();
    } catch (error) {
      call.emit('error', toStatus(error));
    }
  }

  return {
    serve({ components }) {
      for (const path of served) server.unregister(path);
      const methods = [...components.values()].flatMap((component) => [...component.methods.values()]);
      served = methods.map(register);
      streamedIn = new Set([
        ...methods.filter(({ clientStreaming }) => clientStreaming).map(pathOf),
        ...options.own.filter(({ type }) => type === 'bidi').map(({ path }) => path),
      ]);
    },
    inject: (socket) => injector.injectConnection(socket),
    async stop(graceMs) {
      injector.drain(graceMs);
      const forced = setTimeout(() => server.forceShutdown(), graceMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      clearTimeout(forced);
      injector.destroy();
    },
  };
}

function pathOf({ component, name }: Method): string {
  return `/${component.service}/${name}`;
}

/** By what grpc-js takes for its own; gRPC-Web is the HTTP door's. */
function isOfGrpc({ 'content-type': contentType = '' }: IncomingHttpHeaders): boolean {
  return contentType.startsWith('application/grpc') && !contentType.startsWith('application/grpc-web');
}

/** A longer wait would end at once: it is as good as the longest that can be counted. */
function withinTimers(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const timeout = headers['grpc-timeout'];
  if (typeof timeout !== 'string' || (readGrpcTimeout(timeout) ?? 0) <= LONGEST_TIMEOUT_MS) return headers;
  return { ...headers, 'grpc-timeout': LONGEST_TIMEOUT };
}

function toDoorCall(method: Method, call: Call): DoorCall {
  const gone = new AbortController();
  // The deadline counts as one too: grpc-js cancels what is late.
  (call as EventEmitter).on('cancelled', () => gone.abort());
  const deadline = call.getDeadline();
  const at = deadline instanceof Date ? deadline.getTime() : deadline;
  return {
    method,
    ...asker(call),
    signal: gone.signal,
    ...(Number.isFinite(at) && { deadline: at }),
  };
}

/** Who called, and what came with it. */
export function asker(call: Pick<Call, 'getPeer' | 'getAuthContext' | 'metadata'>): Asker {
  return { peer: peerOf(call), metadata: fromGrpc(call.metadata) };
}

function peerOf(call: Pick<Call, 'getPeer' | 'getAuthContext'>): Peer {
  const address = addressOf(call.getPeer());
  const certificate = call.getAuthContext()?.sslPeerCertificate;
  return certificate === undefined ? { address } : { address, names: namesOf(certificate) };
}

/** The address in `address:port`; undefined for `unknown`, which is what grpc-js says of a connection that is gone. */
function addressOf(peer: string): string | undefined {
  const colon = peer.lastIndexOf(':');
  return colon < 0 ? undefined : peer.slice(0, colon);
}

/** Anything thrown as gRPC tells it. */
export function toStatus(error: unknown): Partial<grpc.StatusObject> & { name: string; message: string } {
  const failure =
    error instanceof CallFailure
      ? error
      : new CallFailure(grpc.status.INTERNAL, `the runtime failed: ${String(error)}`);
  return {
    name: failure.name,
    message: failure.message,
    code: failure.code,
    details: failure.message,
    metadata: toGrpc(failure.metadata),
  };
}

async function* once(message: Buffer): AsyncGenerator<Uint8Array> {
  yield message;
}
