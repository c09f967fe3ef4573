import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** Towards the server, or back to the client. */
export type Direction = 'up' | 'down';

/** What a proxy does to its connections; nothing set: it passes everything on. */
export interface ProxyRules {
  /** New connections are ended at once. */
  refuse?: boolean;
  /** Bytes of these directions vanish; the connection stays open. */
  swallow?: readonly Direction[];
  /** Bytes of both directions wait until the rule is lifted, and then go through. */
  stall?: boolean;
  /** Every piece of either direction comes so much later, in ms. */
  delayMs?: number;
}

/**
 * Looks at the bytes of one connection. `down` returns what of an answer goes on to the client; it may end the
 * connection by `cut`.
 */
export interface Inspector {
  up(bytes: Buffer): void;
  down(bytes: Buffer): Buffer;
}

/** A port of 127.0.0.1 that leads to another one and can be troubled. */
export interface TcpProxy {
  readonly port: number;
  /** Replaces the rules. A connection that lost bytes to the rules before is cut: its two ends would not agree any more. */
  rule(rules: ProxyRules): void;
  /** Resets every connection there is. */
  reset(): void;
  /** Connections that it took so far. */
  readonly connections: number;
  close(): Promise<void>;
}

/** Bytes that may wait for a slow side before the other is asked to wait. */
const HELD_BYTES = 4 * 1024 * 1024;

export async function startProxy(options: {
  readonly port: number;
  /** A port of 127.0.0.1. */
  readonly to: () => number;
  readonly inspect?: (cut: () => void) => Inspector;
}): Promise<TcpProxy> {
  let rules: ProxyRules = {};
  let connections = 0;
  const open = new Set<Connection>();

  const server = createServer({ noDelay: true }, (client) => {
    connections++;
    client.on('error', () => undefined);
    if (rules.refuse === true) {
      client.resetAndDestroy();
      return;
    }
    const connection = createConnection(client, options, () => rules);
    open.add(connection);
    connection.closed.then(() => open.delete(connection));
  });
  server.listen(options.port, '127.0.0.1');
  await once(server, 'listening');
  const reset = (): void => {
    for (const connection of open) connection.reset();
  };
  return {
    port: options.port,
    get connections() {
      return connections;
    },
    rule(next) {
      const stalled = rules.stall === true && next.stall !== true;
      rules = next;
      if (next.refuse === true) reset();
      for (const connection of open) {
        if (connection.lost()) connection.reset();
        else if (stalled) connection.flush();
      }
    },
    reset,
    async close() {
      const closed = once(server, 'close');
      server.close();
      reset();
      await closed;
    },
  };
}

interface Connection {
  reset(): void;
  /** Bytes of it vanished. */
  lost(): boolean;
  /** Lets go what waited. */
  flush(): void;
  readonly closed: Promise<void>;
}

function createConnection(
  client: Socket,
  options: Parameters<typeof startProxy>[0],
  rules: () => ProxyRules,
): Connection {
  const server = connect({ port: options.to(), host: '127.0.0.1', noDelay: true });
  let lost = false;
  const reset = (): void => {
    client.resetAndDestroy();
    server.resetAndDestroy();
  };
  const inspector = options.inspect?.(reset);
  const up = pipe(client, server, 'up', (bytes) => {
    inspector?.up(bytes);
    return bytes;
  });
  const down = pipe(server, client, 'down', (bytes) => inspector?.down(bytes) ?? bytes);

  function pipe(from: Socket, to: Socket, direction: Direction, look: (bytes: Buffer) => Buffer) {
    const waiting: { bytes: Buffer; at: number }[] = [];
    let held = 0;
    let ended = false;
    let timer: NodeJS.Timeout | undefined;

    function flush(): void {
      clearTimeout(timer);
      timer = undefined;
      while (waiting.length > 0) {
        if (rules().stall === true) return;
        const [first] = waiting;
        if (first === undefined) break;
        const wait = first.at - performance.now();
        if (wait > 0) {
          timer = setTimeout(flush, wait);
          return;
        }
        waiting.shift();
        held -= first.bytes.length;
        if (!to.destroyed) to.write(first.bytes);
      }
      if (ended) to.end();
      else if (from.isPaused() && held < HELD_BYTES) from.resume();
    }

    from.on('data', (bytes: Buffer) => {
      const { swallow, delayMs = 0 } = rules();
      if (swallow?.includes(direction)) {
        lost = true;
        return;
      }
      const seen = look(bytes);
      if (seen.length === 0) return;
      waiting.push({ bytes: seen, at: delayMs === 0 ? 0 : performance.now() + delayMs });
      held += seen.length;
      if (held > HELD_BYTES || to.writableNeedDrain) from.pause();
      flush();
    });
    to.on('drain', () => {
      if (from.isPaused() && held < HELD_BYTES) from.resume();
    });
    from.on('end', () => {
      ended = true;
      flush();
    });
    from.on('error', () => undefined);
    return { flush };
  }

  const closed = new Promise<void>((resolve) => {
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.once('close', (hadError) => {
        if (hadError) other.resetAndDestroy();
        else other.destroySoon();
        resolve();
      });
    }
  });
  return {
    reset,
    lost: () => lost,
    flush() {
      up.flush();
      down.flush();
    },
    closed,
  };
}
