import type { EventEmitter } from 'node:events';
import type { Writable } from 'node:stream';
import * as grpc from '@grpc/grpc-js';
import { asBuffer } from '../bytes.ts';
import type { Method } from '../model/component.ts';
import { CallFailure, type Calls, type DoorCall } from './calls.ts';
import { fromGrpc, toGrpc } from './grpc-metadata.ts';
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
  credentials: grpc.ServerCredentials;
}): GrpcDoor {
  const { calls } = options;
  const server = new grpc.Server({
    'grpc.max_receive_message_length': options.maxMessageBytes,
    'grpc.max_send_message_length': -1,
  });
  const injector = server.createConnectionInjector(options.credentials);
  let served: string[] = [];
  for (const { path, type, handler } of options.own) server.register(path, handler, identity, identity, type);

  function register(method: Method): string {
    const path = `/${method.component.service}/${method.name}`;
    const { clientStreaming, serverStreaming } = method;
    if (!clientStreaming && !serverStreaming) {
      const handler: grpc.handleUnaryCall<Buffer, Buffer> = (call, answer) => void unary(method, call, answer);
      server.register(path, handler, identity, identity, 'unary');
    } else if (!serverStreaming) {
      const handler: grpc.handleClientStreamingCall<Buffer, Buffer> = (call, answer) =>
        void streamedIn(method, call, answer);
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
      const { payload, metadata } = await calls.unary(toDoorCall(method, call), call.request);
      if (metadata.length > 0) call.sendMetadata(toGrpc(metadata));
      answer(null, asBuffer(payload.value));
    } catch (error) {
      answer(toStatus(error));
    }
  }

  async function streamedIn(
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
      served = [...components.values()].flatMap(({ methods }) => [...methods.values()].map(register));
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

function toDoorCall(method: Method, call: Call): DoorCall {
  const gone = new AbortController();
  // The deadline counts as one too: grpc-js cancels what is late.
  (call as EventEmitter).on('cancelled', () => gone.abort());
  const deadline = call.getDeadline();
  const at = deadline instanceof Date ? deadline.getTime() : deadline;
  return {
    method,
    peer: { address: addressOf(call.getPeer()) },
    metadata: fromGrpc(call.metadata),
    signal: gone.signal,
    ...(Number.isFinite(at) && { deadline: at }),
  };
}

/** The address in `address:port`; undefined for `unknown`, which is what grpc-js says of a connection that is gone. */
function addressOf(peer: string): string | undefined {
  const colon = peer.lastIndexOf(':');
  return colon < 0 ? undefined : peer.slice(0, colon);
}

function toStatus(error: unknown): Partial<grpc.StatusObject> & { name: string; message: string } {
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
