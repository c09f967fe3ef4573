import { createServer } from 'node:http';
import { ServerCredentials } from '@grpc/grpc-js';
import type { Calls } from './calls.ts';
import { createGrpcDoor } from './grpc-door.ts';
import { createHealth } from './health.ts';
import { createHttpDoor } from './http/http-door.ts';
import { limitCalls } from './limited-calls.ts';
import { createListener } from './listener.ts';
import { createReflection } from './reflection.ts';
import type { Services } from './services.ts';

/** How long calls that are under way may take to end when the doors close, in ms. */
const CLOSE_GRACE_MS = 5_000;
/** How deep a caller's JSON may nest: what the protobuf libraries accept of messages. */
const MAX_JSON_DEPTH = 100;
/** Connections for each call that may be under way, at most: most clients keep one, and some of them are idle. */
const CONNECTIONS_PER_CALL = 2;

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
  maxCalls: number;
  maxMessageBytes: number;
  corsOrigins: readonly string[];
  isFunctionUp: () => boolean;
  onListening: (address: { host: string; port: number }) => void;
  /** A rule of the function's HTTP annotations that cannot be served. */
  onFault: (sentence: string) => void;
}): Doors {
  const { maxCalls, maxMessageBytes } = options;
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
  const grpcDoor = createGrpcDoor({
    calls,
    own: [...health.methods, ...createReflection(() => services)],
    maxMessageBytes,
    credentials: ServerCredentials.createInsecure(),
  });
  const httpDoor = createHttpDoor({
    calls,
    services: () => services,
    limits: { maxMessageBytes, maxJsonDepth: MAX_JSON_DEPTH },
    cors: { origins: options.corsOrigins },
    onFault: options.onFault,
  });
  const httpServer = createServer(httpDoor.listener);
  // A call may stream in for as long as it likes; its headers may not.
  httpServer.requestTimeout = 0;
  const listener = createListener({
    maxConnections: maxCalls * CONNECTIONS_PER_CALL,
    http1: (socket) => httpServer.emit('connection', socket),
    http2: grpcDoor.inject,
  });
  return {
    async serve(next, nextCalls) {
      services = next;
      current = nextCalls;
      grpcDoor.serve(next);
      httpDoor.prepare(next);
      health.changed();
      if (listening) return;
      options.onListening(await listener.listen(options.host, options.port));
      listening = true;
    },
    changed: () => health.changed(),
    async close() {
      if (!listening) return;
      listening = false;
      const closed = listener.close();
      await Promise.all([grpcDoor.stop(CLOSE_GRACE_MS), calls.settled(CLOSE_GRACE_MS)]);
      // The answers of the last calls are written in the turn in which the calls end.
      await new Promise(setImmediate);
      listener.endHttp1();
      await closed;
    },
  };
}
