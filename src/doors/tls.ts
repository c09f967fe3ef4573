import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { messageOf } from '../errors.ts';
import { keepRenewed, type RenewalEvents, type ServerTls, secureContext } from '../server-tls.ts';

/** TLS at the doors, as the configuration wants it. */
export interface DoorTls extends ServerTls {
  /** A port of this host where the doors speak clear text besides; undefined: there is none. */
  readonly plainPort: number | undefined;
}

/** What becomes known of TLS while it is spoken. */
export interface TlsEvents extends RenewalEvents {
  /** A client was sent away. */
  readonly onRefused: (reason: string, address: string | undefined) => void;
}

/** The server's half of TLS, for connections that it is given. */
export interface TlsLayer {
  /** Ends with `done` and then `secured`, or with the connection closed. */
  accept(socket: Socket, done: () => void): void;
  close(): void;
}

/** TLS 1.2 and later; HTTP/2 where the client speaks it, and else HTTP/1.1 (ALPN, RFC 7301). */
export function createTlsLayer(tls: DoorTls, secured: (socket: TLSSocket) => void, events: TlsEvents): TlsLayer {
  /** By the two ends of a connection, which its secured socket has, too: it does not tell which one it is made of. */
  const handshakes = new Map<string, () => void>();
  const server = createServer({
    ...secureContext(tls.certificates),
    ALPNProtocols: ['h2', 'http/1.1'],
    requestCert: tls.clients !== 'none',
    // Judged below, where the reason can be told.
    rejectUnauthorized: false,
  });
  server.on('secureConnection', (socket) => {
    const refusal = refusalOf(socket, tls.clients);
    if (refusal === undefined) {
      handshakes.get(endsOf(socket))?.();
      return secured(socket);
    }
    socket.on('error', () => undefined);
    socket.destroy();
    events.onRefused(refusal, socket.remoteAddress);
  });
  // Clear text, a version or a cipher that is too old, a client that does not trust the certificate, one that goes away.
  server.on('tlsClientError', (error, socket) => {
    events.onRefused(messageOf(error), socket.remoteAddress);
    socket.destroy();
  });

  const stop = keepRenewed(tls, server, events);

  return {
    accept(socket, done) {
      const ends = endsOf(socket);
      handshakes.set(ends, done);
      socket.on('close', () => handshakes.delete(ends));
      server.emit('connection', socket);
    },
    close: stop,
  };
}

/**
 * A certificate that cannot be trusted is refused also where none is needed. Whether there is one is asked first: a session
 * of TLS 1.3 that is taken up again counts as authorized for Node, also where its client never had one.
 */
function refusalOf(socket: TLSSocket, clients: DoorTls['clients']): string | undefined {
  if (clients === 'none') return undefined;
  if (socket.getPeerX509Certificate() === undefined) {
    return clients === 'required' ? 'the client has no certificate' : undefined;
  }
  if (socket.authorized) return undefined;
  return `the certificate of the client is not taken: ${String(socket.authorizationError)}`;
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
