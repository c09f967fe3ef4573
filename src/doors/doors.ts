import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { Socket } from 'node:net';
import type { Calls } from './calls.ts';
import { createGrpcDoor } from './grpc-door.ts';
import { createHealth, HEALTH_FILE } from './health.ts';
import { createHttpDoor } from './http/http-door.ts';
import { limitCalls } from './limited-calls.ts';
import { createListener } from './listener.ts';
import { createReflection } from './reflection.ts';
import type { Services } from './services.ts';
import type { DoorTls, TlsEvents } from './tls.ts';

/** How long calls that are under way may take to end when the doors close, in ms. */
const CLOSE_GRACE_MS = 5_000;
/** Where clear text beside TLS is spoken, and nowhere else. */
const THIS_HOST = '127.0.0.1';
/** How deep a caller's JSON may nest: what the protobuf libraries accept of messages. */
const MAX_JSON_DEPTH = 100;
/** How long a client may take until it is known what it wants: for its protocol, for the head of a request, in ms. */
const PATIENCE_MS = 10_000;
/** Streams of HTTP/2 that may wait for input, for each call: a call too many is told so, and health can still be asked. */
const STREAMS_PER_CALL = 2;
/** How often the heads of HTTP/1.1 are looked at, in ms. */
const HEAD_LOOK_MS = 1_000;

/** The gRPC and the HTTP door, on one port. */
export interface Doors {
  /** Opens them, or goes on with another version of the function. @throws StateferryError HTTP_ADDRESS */
  serve(services: Services, calls: Calls): Promise<void>;
  /** The function came or went. */
  changed(): void;
  close(): Promise<void>;
}

export function createDoors(options: {
  host: string;
  port: number;
  maxConnections: number;
  maxCalls: number;
  maxMessageBytes: number;
  /** How long the one message of a call may take to come, in ms. */
  timeoutMs: number;
  corsOrigins: readonly string[];
  isFunctionUp: () => boolean;
  onListening: (address: { host: string; port: number }) => void;
  /** TLS on the port; absent: clear text. */
  tls?: (DoorTls & TlsEvents) | undefined;
  /** Where the doors speak clear text beside TLS. */
  onPlainListening?: (address: { host: string; port: number }) => void;
  /** In the place of PATIENCE_MS. */
  patienceMs?: number;
  /** A rule of the function's HTTP annotations that cannot be served. */
  onFault: (sentence: string) => void;
}): Doors {
  const { maxCalls, maxMessageBytes, timeoutMs, tls, patienceMs = PATIENCE_MS } = options;
  let services: Services | undefined;
  let current: Calls | undefined;
  let listening = false;
  // Whatever version is current when a call begins.
  const calls = limitCalls(
    {
      unary: (call, input) => (current as Calls).unary(call, input),
      streamed: (call, input) => (current as Calls).streamed(call, input),
    },
    maxCalls,
  );
  const health = createHealth({
    isServing: options.isFunctionUp,
    knows: (service) => services?.components.has(service) ?? false,
  });
  const httpDoor = createHttpDoor({
    calls,
    services: () => services,
    limits: { maxMessageBytes, bodyMs: timeoutMs, maxJsonDepth: MAX_JSON_DEPTH },
    cors: { origins: options.corsOrigins },
    onFault: options.onFault,
  });
  // Neither of the two servers listens: they are given what is theirs.
  const http1 = createServer(
    { headersTimeout: patienceMs, connectionsCheckingInterval: HEAD_LOOK_MS },
    httpDoor.listener,
  );
  // A call may stream in for as long as it likes; its headers may not, which is looked after from this event on.
  http1.requestTimeout = 0;
  http1.emit('listening');
  const http2 = createHttp2Server(httpDoor.listener);
  const grpcDoor = createGrpcDoor({
    calls,
    own: [...health.methods, ...createReflection(() => services, [HEALTH_FILE])],
    maxMessageBytes,
    maxStreams: maxCalls * STREAMS_PER_CALL,
    inputMs: timeoutMs,
    settingsMs: patienceMs,
    others: ({ stream, headers, flags, rawHeaders }) => http2.emit('stream', stream, headers, flags, rawHeaders),
  });
  const taken = {
    maxConnections: options.maxConnections,
    silentMs: patienceMs,
    http1: (socket: Socket) => http1.emit('connection', socket),
    http2: grpcDoor.inject,
  };
  const listener = createListener({ ...taken, tls });
  const plain =
    tls?.plainPort === undefined
      ? undefined
      : { port: tls.plainPort, listener: createListener({ ...taken, setBy: 'doors.tls.plainPort' }) };
  return {
    async serve(next, nextCalls) {
      services = next;
      current = nextCalls;
      grpcDoor.serve(next);
      httpDoor.prepare(next);
      health.changed();
      if (listening) return;
      // Before it is so: what is open by then is closed in the end, if the rest fails.
      listening = true;
      if (plain !== undefined) options.onPlainListening?.(await plain.listener.listen(THIS_HOST, plain.port));
      options.onListening(await listener.listen(options.host, options.port));
    },
    changed: () => health.changed(),
    async close() {
      if (!listening) return;
      listening = false;
      const closed = Promise.all([listener.close(), plain?.listener.close()]);
      await Promise.all([grpcDoor.stop(CLOSE_GRACE_MS), calls.settled(CLOSE_GRACE_MS)]);
      // The answers of the last calls are written in the turn in which the calls end.
      await new Promise(setImmediate);
      listener.endHttp1();
      plain?.listener.endHttp1();
      http1.close();
      await closed;
    },
  };
}
