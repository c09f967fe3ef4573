import { readClientTls } from './certificates.ts';
import type { Config } from './config/config.ts';
import { configInvalid } from './config/load.ts';
import type { PostgresServer } from './journal/connection.ts';
import type { Log } from './observe/log.ts';
import { secretSource } from './secret-files.ts';

/**
 * How the configuration says that Postgres is reached.
 * @throws StateferryError CONFIG_INVALID with a line for every file that cannot be used
 */
export function postgresServer({ postgres }: Pick<Config, 'postgres'>, log?: Log): PostgresServer {
  const faults: string[] = [];
  const server = readPostgresServer(postgres, faults, log);
  if (faults.length > 0) throw configInvalid(faults);
  return server;
}

/** The same; `faults` gets a line for each file that cannot be used. */
export function readPostgresServer(
  { url, tls, passwordFile }: Pick<Config['postgres'], 'url' | 'tls' | 'passwordFile'>,
  faults: string[],
  log?: Log,
): PostgresServer {
  const warn = (reason: string): void => {
    log?.warn({ reason }, 'New files for TLS to Postgres cannot be used; those from before are kept');
  };
  const named = { where: 'postgres.passwordFile', value: undefined, file: passwordFile };
  return {
    url,
    tls: readClientTls('postgres.tls', tls, faults, warn),
    password: passwordFile === '' ? undefined : secretSource(named, faults),
  };
}
