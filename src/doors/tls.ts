import type { Socket } from 'node:net';
import { createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import { messageOf } from '../errors.ts';

/** How often the files are looked at, in ms. */
const LOOK_AGAIN_MS = 1_000;

/** What is in the files, in PEM. */
export interface DoorCertificates {
  readonly certificate: string;
  readonly key: string;
  /** Those that clients' certificates must be of. */
  readonly ca?: string;
}

/** TLS at the doors, as the configuration wants it. */
export interface DoorTls {
  /** Whether clients must have a certificate, or may, or are not asked for one. */
  readonly clients: 'required' | 'optional' | 'none';
  readonly certificates: DoorCertificates;
  /** The files as they are now. Throws an Error that says which cannot be read. */
  readonly load: () => DoorCertificates;
  /** Throws an Error that says what is wrong with them. */
  readonly check: (certificates: DoorCertificates) => void;
  /** A port of this host where the doors speak clear text besides; undefined: there is none. */
  readonly plainPort: number | undefined;
}

/** What becomes known of TLS while it is spoken. */
export interface TlsEvents {
  /** A client was sent away. */
  readonly onRefused: (reason: string, address: string | undefined) => void;
  /** New connections are served with what is in the files now. */
  readonly onRenewed: () => void;
  /** The files have changed and cannot be used; those before stay. Told once of each change. */
  readonly onBrokenFiles: (reason: string) => void;
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
  let current = tls.certificates;
  let suspected = '';
  let told = '';
  const server = createServer({
    ...contextOf(current),
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

  /** What is wrong with what the files have become; undefined: nothing. */
  const renew = (): string | undefined => {
    try {
      const found = tls.load();
      if (isSame(found, current)) return undefined;
      tls.check(found);
      server.setSecureContext(contextOf(found));
      current = found;
    } catch (error) {
      return messageOf(error);
    }
    events.onRenewed();
    return undefined;
  };
  const looking = setInterval(() => {
    const wrong = renew() ?? '';
    // The files are not written all at once: what is mended when they are looked at again was never wrong.
    if (wrong !== '' && wrong === suspected && wrong !== told) events.onBrokenFiles(wrong);
    if (wrong === '' || wrong === suspected) told = wrong;
    suspected = wrong;
  }, LOOK_AGAIN_MS);
  looking.unref();

  return {
    accept(socket, done) {
      const ends = endsOf(socket);
      handshakes.set(ends, done);
      socket.on('close', () => handshakes.delete(ends));
      server.emit('connection', socket);
    },
    close: () => clearInterval(looking),
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

function contextOf({ certificate, key, ca }: DoorCertificates): SecureContextOptions {
  return { cert: certificate, key, minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) };
}

function isSame(a: DoorCertificates, b: DoorCertificates): boolean {
  return a.certificate === b.certificate && a.key === b.key && a.ca === b.ca;
}
