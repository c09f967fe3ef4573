import net from 'node:net';
import tls from 'node:tls';
import type { ISocketFactory } from 'kafkajs';
import { type ClientTls, tlsOptionsIn, tlsTrouble } from '../secure.ts';

/** As kafkajs' own sockets have it, in ms. */
const TLS_OPTIONS = tlsOptionsIn('kafka.tls');
const KEEP_ALIVE_MS = 60_000;
/** A broker that wants SASL answers to ApiVersions alone, and that with less, in bytes; a connection that is older was let in. */
const FEW_BYTES = 2_048;
const YOUNG_MS = 5_000;
/**
 * Brokers close what nobody has used for `connections.max.idle.ms` (10 min). One that closes this soon after it was used was
 * lost, in ms.
 */
const IN_USE_MS = 30_000;
/** A record of TLS that says why the other side hangs up begins so: alert, and the major version (RFC 8446, 5.1 and 6). */
const ALERT = Buffer.from([0x15, 0x03]);

/**
 * Connections to brokers: in TLS with what `tls` gives at that moment, else in clear text. What a connection fails with
 * says what was found and what to do, also where a broker speaks TLS to a client that does not. `onLost`: one that was in use
 * is closed, whoever closed it.
 */
export function socketsFor(
  secrets: ClientTls | undefined,
  options: { readonly sasl: boolean; readonly onLost?: (() => void) | undefined },
): ISocketFactory {
  return ({ host, port, onConnect }) => {
    const socket = secrets === undefined ? plain(host, port, onConnect) : secured(host, port, secrets, onConnect);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    if (!options.sasl) explainSilence(socket);
    if (options.onLost !== undefined) watch(socket, options.onLost);
    return socket;
  };
}

function watch(socket: net.Socket, onLost: () => void): void {
  let usedAt = Number.NEGATIVE_INFINITY;
  socket.on('data', () => {
    usedAt = performance.now();
  });
  socket.on('close', () => {
    if (performance.now() - usedAt < IN_USE_MS) onLost();
  });
}

/** A broker that wants to know who its clients are hangs up on those that do not say: kafkajs would only say that it did. */
function explainSilence(socket: net.Socket): void {
  const began = Date.now();
  socket.on('end', () => {
    if (socket.bytesRead === 0 || socket.bytesRead > FEW_BYTES || Date.now() - began > YOUNG_MS) return;
    socket.emit(
      'error',
      new Error(
        'the broker hung up right after it was greeted: where it wants to know who its clients are, set kafka.sasl',
      ),
    );
  });
}

function secured(host: string, port: number, secrets: ClientTls, onConnect: () => void): net.Socket {
  const servername = net.isIP(host) === 0 ? { servername: host } : {};
  const socket = tls.connect({ host, port, ...servername, ...secrets() }, onConnect);
  // Before kafkajs listens: its own error is made of this message.
  socket.on('error', (error) => {
    error.message = tlsTrouble(error, TLS_OPTIONS) ?? error.message;
  });
  return socket;
}

function plain(host: string, port: number, onConnect: () => void): net.Socket {
  const socket = net.connect({ host, port }, onConnect);
  // kafkajs would take it for the length of an answer, and wait for that.
  socket.once('data', (bytes) => {
    if (!bytes.subarray(0, ALERT.length).equals(ALERT)) return;
    socket.destroy(new Error('the broker speaks TLS on this port: set kafka.tls, or use its port for clear text'));
  });
  return socket;
}
