import net from 'node:net';
import tls from 'node:tls';
import { status } from '@grpc/grpc-js';
import { messageOf } from '../errors.ts';
import { type ClientConnection, createClientConnection } from '../http2/connection.ts';
import { type ClientTls, type TlsOptions, tlsOptionsIn, tlsTrouble } from '../secure.ts';
import { GrpcError } from './grpc-error.ts';

/** Pauses between attempts to connect, in ms: from the first one on, each a little longer, up to the last. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;
const LONGER = 1.6;
/** TCP, TLS and the function's first word in HTTP/2 must all have come by then, in ms. */
const CONNECTED_WITHIN_MS = 20_000;
const TLS_OPTIONS: TlsOptions = { ...tlsOptionsIn('function.tls'), without: 'begin function.url with http' };

export interface Address {
  readonly host: string;
  readonly port: number;
  /** Absent: in the clear. */
  readonly tls?: ClientTls;
}

type Acquired = (failure: GrpcError | undefined, connection?: ClientConnection) => void;

/** One connection to a function at a time, made when it is wanted, and again when it was lost. */
export class Channel {
  readonly #address: Address;
  #connection: ClientConnection | undefined;
  #socket: net.Socket | undefined;
  #waiting: Acquired[] = [];
  /** While the function could not be reached a moment ago: why. */
  #failure: GrpcError | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #closed = false;
  readonly #onceLost: (() => void)[] = [];

  constructor(address: Address) {
    this.#address = address;
  }

  /** At once where the connection is there; a failure is UNAVAILABLE. */
  acquire(done: Acquired): void {
    const failure = this.#closed ? new GrpcError(status.UNAVAILABLE, 'the client was closed') : this.#failure;
    if (this.#connection !== undefined) done(undefined, this.#connection);
    else if (failure !== undefined) done(failure);
    else {
      this.#waiting.push(done);
      if (this.#socket === undefined) this.#connect();
    }
  }

  /** When the connection that is there is lost, or now where there is none. Not after `close`. */
  onceLost(lost: () => void): void {
    if (this.#connection === undefined) lost();
    else this.#onceLost.push(lost);
  }

  close(): void {
    this.#closed = true;
    this.#onceLost.length = 0;
    if (this.#connection === undefined) this.#socket?.destroy();
    else this.#connection.close();
  }

  #connect(): void {
    const { host, port, tls: secure } = this.#address;
    const socket =
      secure === undefined
        ? net.connect({ host, port, noDelay: true })
        : tls.connect({ host, port, ALPNProtocols: ['h2'], ...servernameOf(host), ...secure() });
    this.#socket = socket;
    let reason = `no HTTP/2 connection within ${CONNECTED_WITHIN_MS} ms`;
    const late = setTimeout(() => socket.destroy(), CONNECTED_WITHIN_MS);
    const failed = (): void => {
      clearTimeout(late);
      this.#lost(new GrpcError(status.UNAVAILABLE, reason));
    };
    const onError = (error: Error): void => {
      reason = describe(error);
    };
    socket.on('error', onError);
    socket.on('close', failed);
    socket.once(secure === undefined ? 'connect' : 'secureConnect', () => {
      if (socket instanceof tls.TLSSocket) {
        socket.setNoDelay(true);
        if (socket.alpnProtocol !== 'h2') {
          reason = 'it speaks TLS, but no HTTP/2 in it (ALPN)';
          socket.destroy();
          return;
        }
      }
      socket.off('close', failed);
      const connection = createClientConnection(socket, {
        ready: () => {
          clearTimeout(late);
          this.#ready(connection);
        },
        closed: (why) => {
          clearTimeout(late);
          const silent = secure === undefined && socket.bytesRead === 0;
          this.#lost(
            new GrpcError(status.UNAVAILABLE, silent ? `${why} without a word: is it one that wants https?` : why),
          );
        },
      });
    });
  }

  #ready(connection: ClientConnection): void {
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#connection = connection;
    if (this.#closed) connection.close();
    for (const done of this.#waiting.splice(0)) done(undefined, connection);
  }

  #lost(failure: GrpcError): void {
    const wasReady = this.#connection !== undefined;
    this.#connection = undefined;
    this.#socket = undefined;
    if (!wasReady && !this.#closed) {
      this.#failure = failure;
      setTimeout(() => {
        this.#failure = undefined;
      }, this.#pauseMs).unref();
      this.#pauseMs = Math.min(this.#pauseMs * LONGER, LONGEST_PAUSE_MS);
    }
    for (const done of this.#waiting.splice(0)) done(failure);
    for (const lost of this.#onceLost.splice(0)) lost();
  }
}

/** An address has no name that TLS could ask for (RFC 6066, 3). */
function servernameOf(host: string): { servername?: string } {
  return net.isIP(host) === 0 ? { servername: host } : {};
}

/** Of a host with several addresses, what each of them failed by. */
function describe(error: Error): string {
  if (error instanceof AggregateError) return [...new Set(error.errors.map(messageOf))].join(', ');
  return tlsTrouble(error, TLS_OPTIONS) ?? error.message;
}
