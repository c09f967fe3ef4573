import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below every common range of ephemeral ports (Linux 32768, the others 49152). A client that keeps on reconnecting to a
 * stopped server's ephemeral port can be given that very port as its own and connect to itself: the server could then
 * not come back.
 */
const LOWEST = 15_000;
const HIGHEST = 32_000;

/** Whether something holds `port` on 127.0.0.1 (or on all addresses) right now. */
export function portTaken(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(true);
      else reject(error);
    });
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(false)));
  });
}

/** `count` different ports on 127.0.0.1 that were free a moment ago. Another process may still take one before you do. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(LOWEST, HIGHEST);
    if (!ports.has(port) && !(await portTaken(port))) ports.add(port);
  }
  return [...ports];
}
