import net from 'node:net';
import type { TLSSocket } from 'node:tls';
import { messageOf, StateferryError } from '../errors.ts';
import { createTlsLayer, type DoorTls, type TlsEvents } from './tls.ts';

/** What an HTTP/2 client with prior knowledge sends first (RFC 9113, 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** A peer that is gone without a word is noticed by the kernel, which begins to ask after so long, in ms. */
const KEEP_ALIVE_MS = 60_000;

/** One port for clients of HTTP/1.1 and of HTTP/2. */
export interface Listener {
  /** @throws StateferryError HTTP_ADDRESS when the address cannot be listened on. */
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
  /** Takes no further connections; resolves when there are none any more. */
  close(): Promise<void>;
  /** Ends the connections of HTTP/1.1, once what was written to them is sent. */
  endHttp1(): void;
}

/** In clear text the first bytes of a connection tell what it speaks, with `tls` what was agreed on in its handshake. */
export function createListener(options: {
  maxConnections: number;
  /** A connection whose protocol is not known by then is closed, in ms. */
  silentMs: number;
  http1: (socket: net.Socket) => void;
  http2: (socket: net.Socket) => void;
  tls?: (DoorTls & TlsEvents) | undefined;
  /** The options that say where it listens, for the sentence when it cannot. */
  setBy?: string;
}): Listener {
  const { setBy = 'doors.host and doors.port' } = options;
  const undecided = new Set<net.Socket>();
  const http1 = new Set<net.Socket>();
  const tls = options.tls && createTlsLayer(options.tls, secured, options.tls);

  const server = net.createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
    (socket) => {
      const silence = setTimeout(() => socket.destroy(), options.silentMs);
      const decide = (): void => {
        clearTimeout(silence);
        undecided.delete(socket);
        socket.off('close', decide);
      };
      undecided.add(socket);
      socket.on('close', decide);
      if (tls === undefined) look(socket, decide);
      else tls.accept(socket, decide);
    },
  );
  server.maxConnections = options.maxConnections;

  function look(socket: net.Socket, decide: () => void): void {
    let seen = Buffer.alloc(0);
    const end = (): void => void socket.destroy();
    const onData = (bytes: Buffer): void => {
      seen = Buffer.concat([seen, bytes]);
      const length = Math.min(seen.length, PREFACE.length);
      const mayBe2 = seen.subarray(0, length).equals(PREFACE.subarray(0, length));
      if (mayBe2 && length < PREFACE.length) return;
      socket.pause();
      decide();
      socket.off('data', onData);
      socket.off('error', end);
      socket.unshift(seen);
      // It reads from the handle below the socket from here on, after what is in the socket already.
      if (mayBe2) options.http2(socket);
      else {
        takeHttp1(socket);
        socket.resume();
      }
    };
    socket.on('error', end);
    socket.on('data', onData);
  }

  /** A client that names no protocol gets HTTP/1.1: HTTP/2 is only spoken where it was agreed on (RFC 9113, 3.3). */
  function secured(socket: TLSSocket): void {
    if (socket.alpnProtocol === 'h2') options.http2(socket);
    else takeHttp1(socket);
  }

  function takeHttp1(socket: net.Socket): void {
    http1.add(socket);
    socket.on('close', () => http1.delete(socket));
    options.http1(socket);
  }

  return {
    listen: (host, port) =>
      new Promise((resolve, reject) => {
        server.once('error', (cause) =>
          reject(
            new StateferryError(
              'HTTP_ADDRESS',
              `the doors cannot listen on ${host}:${port} (${messageOf(cause)}). Set ${setBy}, or doors.enabled to false.`,
              { cause },
            ),
          ),
        );
        server.listen(port, host, () => resolve({ host, port: (server.address() as net.AddressInfo).port }));
      }),
    close: () =>
      new Promise((resolve) => {
        tls?.close();
        for (const socket of undecided) socket.destroy();
        server.close(() => resolve());
      }),
    endHttp1() {
      for (const socket of http1) socket.destroySoon();
    },
  };
}
