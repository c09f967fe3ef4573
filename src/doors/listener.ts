import net from 'node:net';
import { messageOf, StateferryError } from '../errors.ts';

/** What an HTTP/2 client with prior knowledge sends first (RFC 9113, 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** A connection that says nothing for so long is closed, in ms. */
const SILENT_MS = 10_000;

/** One port for clients of HTTP/1.1 and of HTTP/2 in clear text: the first bytes tell. */
export interface Listener {
  /** @throws StateferryError HTTP_ADDRESS when the address cannot be listened on. */
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
  /** Takes no further connections; resolves when there are none any more. */
  close(): Promise<void>;
  /** Ends the connections of HTTP/1.1, once what was written to them is sent. */
  endHttp1(): void;
}

export function createListener(options: {
  maxConnections: number;
  http1: (socket: net.Socket) => void;
  http2: (socket: net.Socket) => void;
}): Listener {
  const undecided = new Set<net.Socket>();
  const http1 = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (socket) => {
    let seen = Buffer.alloc(0);
    undecided.add(socket);
    const end = (): void => void socket.destroy();
    const silence = setTimeout(end, SILENT_MS);
    const forget = (): void => {
      clearTimeout(silence);
      undecided.delete(socket);
    };
    socket.on('error', end);
    socket.on('close', forget);
    socket.on('data', look);

    function look(bytes: Buffer): void {
      seen = Buffer.concat([seen, bytes]);
      const length = Math.min(seen.length, PREFACE.length);
      const mayBe2 = seen.subarray(0, length).equals(PREFACE.subarray(0, length));
      if (mayBe2 && length < PREFACE.length) return;
      socket.pause();
      forget();
      socket.off('data', look);
      socket.off('error', end);
      socket.off('close', forget);
      socket.unshift(seen);
      if (mayBe2) {
        // It reads from the handle below the socket from here on, after what is in the socket already.
        options.http2(socket);
      } else {
        http1.add(socket);
        socket.on('close', () => http1.delete(socket));
        options.http1(socket);
        socket.resume();
      }
    }
  });
  server.maxConnections = options.maxConnections;
  return {
    listen: (host, port) =>
      new Promise((resolve, reject) => {
        server.once('error', (cause) =>
          reject(
            new StateferryError(
              'HTTP_ADDRESS',
              `the doors cannot listen on ${host}:${port} (${messageOf(cause)}). Set doors.host and doors.port, or doors.enabled to false.`,
              { cause },
            ),
          ),
        );
        server.listen(port, host, () => resolve({ host, port: (server.address() as net.AddressInfo).port }));
      }),
    close: () =>
      new Promise((resolve) => {
        for (const socket of undecided) socket.destroy();
        server.close(() => resolve());
      }),
    endHttp1() {
      for (const socket of http1) socket.destroySoon();
    },
  };
}
