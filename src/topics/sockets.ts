import net from 'node:net';
import tls from 'node:tls';
import type { ISocketFactory } from 'kafkajs';

/** As kafkajs 2.2.4's own factory, in ms. */
const KEEP_ALIVE_MS = 60_000;
/**
 * Brokers close what nobody has used for `connections.max.idle.ms` (10 min). One that closes this soon after it was used was
 * lost, in ms.
 */
const IN_USE_MS = 30_000;

/** Sockets as kafkajs makes them itself; `onLost`: one that was in use is closed, whoever closed it. */
export function watchedSockets(onLost: () => void): ISocketFactory {
  return ({ host, port, ssl, onConnect }) => {
    // kafkajs gives none, whatever its types say, where it was told nothing of TLS.
    const secured = ssl as tls.ConnectionOptions | null | undefined;
    const socket = secured
      ? tls.connect({ host, port, ...(net.isIP(host) === 0 && { servername: host }), ...secured }, onConnect)
      : net.connect({ host, port }, onConnect);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    let usedAt = Number.NEGATIVE_INFINITY;
    socket.on('data', () => {
      usedAt = performance.now();
    });
    socket.on('close', () => {
      if (performance.now() - usedAt < IN_USE_MS) onLost();
    });
    return socket;
  };
}
