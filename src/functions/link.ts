import { setTimeout as delay } from 'node:timers/promises';
import { asFailureOf, messageOf, StateferryError } from '../errors.ts';
import type { Dialect, ProxyInfo } from '../protocol/dialect.ts';
import type { ClientTls } from '../secure.ts';
import { createFunctionClient, type FunctionClient } from './client.ts';
import { type Discovered, discover } from './discovery.ts';

const DISCOVERY_TIMEOUT_MS = 5_000;

export interface LinkOptions {
  readonly url: URL;
  readonly tls?: ClientTls | undefined;
  readonly dialects: readonly Dialect[];
  readonly proxy: ProxyInfo;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** Other runtimes may be at the same function: it is not told that its runtime has gone. */
  readonly shared?: boolean;
  /** One line per change: away (with the reason), and back. */
  readonly onAway: (reason: string) => void;
  readonly onBack: (discovered: Discovered) => void;
  /** It came back as something that cannot be run. */
  readonly onRefused: (error: StateferryError) => void;
}

/** The connection to one function: knows whether it is there, and asks again with back-off while it is not. */
export interface FunctionLink {
  readonly client: FunctionClient;
  /** Waits for the function and discovers it. */
  connect(signal: AbortSignal): Promise<Discovered>;
  isUp(): boolean;
  /** A call or stream was lost: nothing more is sent until the function has answered a discovery. */
  suspect(reason: string): void;
  /** Tells the function that its runtime is gone (so that it may end, PROTOCOLS 2), then closes the connection. */
  close(): Promise<void>;
}

export function createLink(options: LinkOptions): FunctionLink {
  const client = createFunctionClient(options.url, options.tls);
  const closing = new AbortController();
  let up = false;
  let watching = false;
  let dialect: Dialect | undefined;

  /** Asks until there is an answer; only `retry` failures are waited out. */
  async function persist(signal: AbortSignal): Promise<Discovered> {
    let pause = options.backoffMinMs;
    let said = '';
    for (;;) {
      try {
        const discovered = await discover({
          client,
          dialects: options.dialects,
          proxy: options.proxy,
          timeoutMs: DISCOVERY_TIMEOUT_MS,
        });
        dialect = discovered.dialect;
        up = true;
        watch();
        return discovered;
      } catch (error) {
        if (!(error instanceof StateferryError) || error.fate !== 'retry') throw error;
        const reason = messageOf(error);
        if (reason !== said) options.onAway(reason);
        said = reason;
      }
      await delay(pause, undefined, { signal });
      pause = Math.min(pause * 2, options.backoffMaxMs);
    }
  }

  function suspect(reason: string): void {
    if (!up || closing.signal.aborted) return;
    up = false;
    options.onAway(reason);
    persist(closing.signal).then(options.onBack, (error: unknown) => {
      if (closing.signal.aborted) return;
      options.onRefused(asFailureOf('FUNCTION_PROTOCOL', error));
    });
  }

  /** A function may be replaced while nothing is asked of it: then no call fails, and only the connection tells. */
  function watch(): void {
    if (watching) return;
    watching = true;
    client.onceLost(() => {
      watching = false;
      suspect('the connection was closed');
    });
  }

  return {
    client,
    connect: persist,
    isUp: () => up,
    suspect,
    async close() {
      closing.abort();
      up = false;
      if (dialect?.proxyTerminatedPath !== undefined && options.shared !== true) {
        // A function that ends at once never answers this call, and one that is gone need not.
        await client.unary(dialect.proxyTerminatedPath, new Uint8Array(), 1_000).catch(() => undefined);
      }
      client.close();
    },
  };
}
