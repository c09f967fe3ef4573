import tls from 'node:tls';
import pg from 'pg';
import { type ClientTls, tlsOptionsIn, tlsTrouble } from '../secure.ts';

/** How Postgres is reached. */
export interface PostgresServer {
  readonly url: string;
  /** Absent: as the URL says. */
  readonly tls?: ClientTls | undefined;
  /** Asked for every connection; absent: the URL has it. */
  readonly password?: (() => string) | undefined;
}

const TLS_OPTIONS = tlsOptionsIn('postgres.tls');
/** Modes of `sslmode` that node-postgres has as other names of verify-full, and warns of, as its next version will not. */
const AS_VERIFIED: ReadonlySet<string> = new Set(['prefer', 'require', 'verify-ca']);
/** SQLSTATEs of a connection that is refused for who makes it (class 28). */
const WHO: ReadonlySet<string> = new Set(['28000', '28P01']);

/**
 * Clients of this server, as a pool takes them: each has the secrets of the moment when it is made. What a connection fails
 * with says what to do, as far as that is known.
 */
export function clientOf(server: PostgresServer): new (config?: pg.ClientConfig) => pg.Client {
  return class extends pg.Client {
    constructor(config: pg.ClientConfig = {}) {
      super({ ...config, ...optionsNow(server) });
    }

    override connect(): Promise<pg.Client>;
    override connect(callback: Connected): void;
    override connect(callback?: Connected): Promise<pg.Client> | undefined {
      if (callback === undefined) {
        return super.connect().catch((error: Error) => {
          throw explained(error);
        });
      }
      super.connect((error: Error | null) =>
        (callback as (error: Error | null, client: pg.Client) => void)(error && explained(error), this),
      );
      return undefined;
    }
  };
}

type Connected = ((error: Error) => void) | ((error: null, client: pg.Client) => void);

function optionsNow({ url, tls: secrets, password }: PostgresServer): pg.ClientConfig {
  const to = new URL(url);
  if (AS_VERIFIED.has(to.searchParams.get('sslmode') ?? '') && to.searchParams.get('uselibpqcompat') !== 'true') {
    to.searchParams.set('sslmode', 'verify-full');
  }
  if (password !== undefined) to.password = encodeURIComponent(password());
  if (secrets === undefined) return { connectionString: to.href };
  const { servername, ...rest } = secrets();
  return {
    connectionString: to.href,
    ssl: {
      ...rest,
      rejectUnauthorized: true,
      // node-postgres puts the URL's name in the place of another servername.
      ...(servername !== undefined && {
        checkServerIdentity: (_: string, certificate: tls.PeerCertificate) =>
          tls.checkServerIdentity(servername, certificate),
      }),
    },
  };
}

function explained(error: Error): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  const trouble = tlsTrouble(error, TLS_OPTIONS);
  if (trouble !== undefined) error.message = trouble;
  else if (message === 'The server does not support SSL connections') {
    error.message =
      'Postgres does not speak TLS here: turn its ssl on, or leave postgres.tls out, and sslmode of postgres.url';
  } else if (WHO.has(code ?? '')) {
    error.message = message.includes('no encryption')
      ? `${message}. Set postgres.tls: this server wants TLS`
      : `${message}. Check the user and password of postgres.url (or postgres.passwordFile), and pg_hba.conf`;
  }
  return error;
}
