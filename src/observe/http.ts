import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Registry } from 'prom-client';
import { messageOf, StateferryError } from '../errors.ts';
import { keepRenewed, type ServerTls, secureContext } from '../server-tls.ts';
import { type Log, scoped } from './log.ts';
import type { ShardPlace } from './places.ts';
import type { Health, Status } from './status.ts';

/** None of the paths is longer than ten characters; a scraper may add a few parameters. */
const MAX_URL_CHARACTERS = 1_024;
const MAX_HEADER_BYTES = 8 * 1_024;
const MAX_CONNECTIONS = 64;
/** How health is asked for by what has no credentials, as Kubernetes; they say nothing but that and why. */
const OPEN: ReadonlySet<string> = new Set(['/healthz', '/readyz']);
/** A client that has not sent its whole request by then is cut off. */
const REQUEST_TIMEOUT_MS = 10_000;

export interface Http {
  /**
   * Listens.
   * @returns the address that it got: with port 0 in the configuration, the free port that was found.
   * @throws StateferryError HTTP_ADDRESS when the address cannot be had.
   */
  start(): Promise<{ readonly host: string; readonly port: number }>;
  /** Stops listening and ends open connections. */
  stop(): Promise<void>;
}

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
}

/**
 * The server for metrics, health and status: GET and HEAD on five paths, read-only. Where it asks who calls, by a token or by
 * client certificates, it does so for all but `/healthz` and `/readyz`.
 * - `/healthz`: 200 unless the engine has failed. That it answers at all says that the event loop turns.
 * - `/readyz`: 200 when the process does its work, else 503; the body gives the reasons either way.
 * - `/metrics`: the registry in the Prometheus text format.
 * - `/status`: the process as JSON, see `Status`.
 * - `/shards`: where all shards of the deployment are, as JSON, see `ShardPlace`; 503 when that cannot be told.
 */
export function createHttp(options: {
  config: { readonly host: string; readonly port: number };
  registry: Registry;
  health: () => Health;
  status: () => Status;
  /** Rejects when the journal cannot be asked. */
  places: () => Promise<readonly ShardPlace[]>;
  log: Log;
  /** Undefined: none is asked for. */
  token?: string | undefined;
  /** Undefined: clear text. */
  tls?: ServerTls | undefined;
}): Http {
  const { config, registry, health, status, places, token, tls } = options;
  const log = scoped(options.log, 'http');
  const routes = new Map<string, () => Answer | Promise<Answer>>(
    Object.entries({
      '/healthz': () => json(health().state === 'failed' ? 503 : 200, health()),
      '/readyz': () => json(health().reasons.length === 0 ? 200 : 503, health()),
      '/metrics': async () => ({ code: 200, type: registry.contentType, body: await registry.metrics() }),
      '/status': () => json(200, status()),
      '/shards': async () => {
        try {
          return json(200, { shards: await places() });
        } catch (error) {
          return json(503, { error: messageOf(error) });
        }
      },
    }),
  );

  const answer = async (request: IncomingMessage): Promise<Answer> => {
    const url = request.url ?? '';
    if (request.method !== 'GET' && request.method !== 'HEAD') return plain(405, 'only GET and HEAD are answered here');
    if (url.length > MAX_URL_CHARACTERS) return plain(414, `a URL has at most ${MAX_URL_CHARACTERS} characters here`);
    const path = url.split('?', 1)[0] as string;
    const route = routes.get(path);
    if (route === undefined) return plain(404, `there are ${[...routes.keys()].join(', ')}`);
    if (!OPEN.has(path) && !mayRead(request)) return plain(401, 'a token or a client certificate is wanted here');
    try {
      return await route();
    } catch (error) {
      log.error({ err: error, path }, 'A request could not be answered');
      return plain(500, 'see the log of this process');
    }
  };

  const wanted = token === undefined ? undefined : digest(`Bearer ${token}`);
  const byCertificate = tls !== undefined && tls.clients !== 'none';
  const mayRead = (request: IncomingMessage): boolean => {
    if (wanted === undefined && !byCertificate) return true;
    const socket = request.socket as Partial<TLSSocket>;
    if (byCertificate && socket.getPeerX509Certificate?.() !== undefined && socket.authorized === true) return true;
    return wanted !== undefined && timingSafeEqual(digest(request.headers.authorization ?? ''), wanted);
  };

  const limits = {
    maxHeaderSize: MAX_HEADER_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: REQUEST_TIMEOUT_MS,
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    // A body that nobody asked for is read and dropped, so that the connection can go on.
    request.resume();
    void answer(request).then((given) => send(request, response, given));
  };
  const secured =
    tls &&
    createSecureServer(
      {
        ...limits,
        ...secureContext(tls.certificates),
        handshakeTimeout: REQUEST_TIMEOUT_MS,
        requestCert: byCertificate,
        rejectUnauthorized: tls.clients === 'required',
      },
      listener,
    );
  const stopRenewing =
    secured &&
    keepRenewed(tls, secured, {
      onRenewed: () => log.info('New files for TLS are in use'),
      onBrokenFiles: (reason) => log.warn({ reason }, 'New files for TLS cannot be used; those from before are kept'),
    });
  const server = secured ?? createServer(limits, listener);
  server.maxConnections = MAX_CONNECTIONS;

  return {
    async start() {
      await new Promise<void>((resolve, reject) => {
        server.once('error', (error: NodeJS.ErrnoException) => reject(notListening(config, error)));
        server.listen(config.port, config.host, resolve);
      });
      server.removeAllListeners('error');
      server.on('error', (error) =>
        log.error({ err: error }, 'The server for metrics, health and status has an error'),
      );
      const { address, port } = server.address() as AddressInfo;
      log.info({ host: address, port }, 'Metrics, health and status are served');
      if (!isLoopback(address) && wanted === undefined && !byCertificate) {
        log.warn({ host: address, port }, 'Everyone who reaches this address can read metrics and status');
      }
      return { host: address, port };
    },
    stop: () =>
      new Promise((resolve) => {
        stopRenewing?.();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function send(request: IncomingMessage, response: ServerResponse, { code, type, body }: Answer): void {
  response.writeHead(code, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(code === 405 ? { allow: 'GET, HEAD' } : {}),
    ...(code === 401 ? { 'www-authenticate': 'Bearer' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Of a fixed length, for a comparison whose time tells nothing. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function json(code: number, value: unknown): Answer {
  return { code, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

function plain(code: number, sentence: string): Answer {
  return { code, type: 'text/plain; charset=utf-8', body: `${sentence}\n` };
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

function notListening(config: { host: string; port: number }, error: NodeJS.ErrnoException): StateferryError {
  const why = error.code === 'EADDRINUSE' ? 'another process listens there' : messageOf(error);
  return new StateferryError(
    'HTTP_ADDRESS',
    `the server for metrics, health and status cannot listen on ${config.host}:${config.port}: ${why}. ` +
      'Set http.host and http.port to an address of this machine that is free (port 0 takes any free port).',
    { cause: error },
  );
}
