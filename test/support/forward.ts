import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Scope } from './scope.ts';

/** A port that leads to a server, or to nobody. */
export interface Forward {
  /** Connections are refused until `open`, and those that there are are cut. */
  close(): Promise<void>;
  open(): Promise<void>;
}

/** A port of 127.0.0.1 that leads to `to` (host:port) from `open` on; closed when the scope ends. */
export function createForward(t: Scope, options: { readonly port: number; readonly to: string }): Forward {
  const [host = '', port = ''] = options.to.split(':');
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const forward: Forward = {
    async open() {
      server = createServer((near) => {
        const far = connect(Number(port), host);
        for (const [socket, other] of [
          [near, far],
          [far, near],
        ] as const) {
          sockets.add(socket);
          socket.on('error', () => undefined);
          socket.on('close', () => {
            sockets.delete(socket);
            other.destroy();
          });
        }
        near.pipe(far).pipe(near);
      }).listen(options.port, '127.0.0.1');
      await once(server, 'listening');
    },
    async close() {
      const closing = server;
      server = undefined;
      if (closing === undefined) return;
      const closed = once(closing, 'close');
      closing.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  t.onTestFinished(() => forward.close());
  return forward;
}
