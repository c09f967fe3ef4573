import type { Http2Server, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Server } from '@grpc/grpc-js';

/** One stream of HTTP/2 as it arrives. */
export interface Arrival {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly flags: number;
  readonly rawHeaders: readonly string[];
}

/**
 * Shows every session and stream of HTTP/2 that `server` is given by its one connection injector, before grpc-js sees the
 * stream; `toGrpc` hands it on. grpc-js lets nobody in between, so this is the one place that knows it from inside, and
 * package.json names its version exactly. Throws an Error for a grpc-js that is otherwise.
 */
export function showStreams(
  server: Server,
  show: {
    readonly session: (session: ServerHttp2Session) => void;
    readonly stream: (arrival: Arrival, toGrpc: (headers: IncomingHttpHeaders) => void) => void;
  },
): void {
  const inside: unknown = Reflect.get(server, 'http2Servers');
  const [http2Server, ...others] = inside instanceof Map ? (inside.keys() as Iterable<Http2Server>) : [];
  const [take, ...more] = http2Server?.listeners('stream') ?? [];
  if (http2Server === undefined || take === undefined || others.length > 0 || more.length > 0) {
    throw new Error('this grpc-js is not the one of package.json: its server has another inside');
  }
  http2Server.removeAllListeners('stream');
  http2Server.on('session', show.session);
  http2Server.on(
    'stream',
    (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, rawHeaders: string[]) =>
      show.stream({ stream, headers, flags, rawHeaders }, (given) => take.call(http2Server, stream, given)),
  );
}
