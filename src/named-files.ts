import { readDoorTls, readFunctionTls, readServerTls } from './certificates.ts';
import { TOKEN, TOKEN_EXPECTED } from './config/access.ts';
import type { Config } from './config/config.ts';
import { configInvalid } from './config/load.ts';
import { type AccessOf, readDoorAccess, readSelfToken } from './door-access.ts';
import type { DoorTls } from './doors/tls.ts';
import type { PostgresServer } from './journal/connection.ts';
import { type KafkaSecurity, readKafkaSecurity } from './kafka-connection.ts';
import type { Log } from './observe/log.ts';
import { readPostgresServer } from './postgres-connection.ts';
import type { RegistryAccess } from './registry/client.ts';
import { readRegistryAccess } from './registry-access.ts';
import { secretSource } from './secret-files.ts';
import type { ClientTls } from './secure.ts';
import type { ServerTls } from './server-tls.ts';

/** The options that name files, and those that their contents are used with. */
export interface NamingFiles {
  readonly doors: Pick<Config['doors'], 'withoutAcl' | 'services' | 'jwtKeys' | 'tls' | 'selfTokenFile'>;
  readonly function: Pick<Config['function'], 'url' | 'tls'>;
  readonly registry: Pick<Config['registry'], 'urls' | 'tls' | 'auth'>;
  readonly kafka: Pick<Config['kafka'], 'tls' | 'sasl' | 'requestTimeoutMs'>;
  readonly postgres: Pick<Config['postgres'], 'url' | 'tls' | 'passwordFile'>;
  readonly http: Pick<Config['http'], 'token' | 'tokenFile' | 'tls'>;
}

/** What is in the files that a configuration names. */
export interface NamedFiles {
  readonly accessOf: AccessOf;
  /** What the function proves to be itself with, at the doors. */
  readonly selfToken: string;
  /** Undefined: the doors speak clear text. */
  readonly doorTls: DoorTls | undefined;
  /** Undefined: the function speaks clear text. */
  readonly functionTls: ClientTls | undefined;
  readonly registry: RegistryAccess;
  readonly kafka: KafkaSecurity;
  readonly postgres: PostgresServer;
  /** Undefined: the server for metrics, health and status asks for none. */
  readonly httpToken: string | undefined;
  /** Undefined: it speaks clear text. */
  readonly httpTls: ServerTls | undefined;
}

/** Reads and checks them all; `log` hears later of files that cannot be used any more. @throws StateferryError CONFIG_INVALID with a line for every fault, and never with a secret */
export function readNamedFiles(config: NamingFiles, log?: Log): NamedFiles {
  return withoutFaults((faults) => {
    const selfToken = readSelfToken(config.doors, faults);
    return {
      accessOf: readDoorAccess(config.doors, faults, selfToken),
      selfToken,
      doorTls: readDoorTls(config.doors, faults),
      functionTls: readFunctionTls(config.function, faults, brokenFiles('the function', log)),
      registry: readRegistryAccess(config.registry, faults, brokenFiles('the schema registry', log)),
      kafka: readKafkaSecurity(config.kafka, faults, log),
      postgres: readPostgresServer(config.postgres, faults, log),
      httpToken: readHttpToken(config.http, faults),
      httpTls: readServerTls('http.tls', config.http.tls, faults),
    };
  });
}

/** Only those that a client of the function needs. `log` and @throws as for `readNamedFiles` */
export function readFunctionFiles(config: Pick<NamingFiles, 'function'>, log?: Log): ClientTls | undefined {
  return withoutFaults((faults) => readFunctionTls(config.function, faults, brokenFiles('the function', log)));
}

/** Only those that a client of the schema registry needs. `log` and @throws as for `readNamedFiles` */
export function readRegistryFiles(config: Pick<NamingFiles, 'registry'>, log?: Log): RegistryAccess {
  return withoutFaults((faults) =>
    readRegistryAccess(config.registry, faults, brokenFiles('the schema registry', log)),
  );
}

function brokenFiles(whose: string, log: Log | undefined): (reason: string) => void {
  return (reason) => log?.warn({ reason }, `New files for ${whose} cannot be used; those from before are kept`);
}

/** Undefined where there is none. */
function readHttpToken({ token, tokenFile }: NamingFiles['http'], faults: string[]): string | undefined {
  if (token !== '') return token;
  if (tokenFile === '') return undefined;
  const named = { where: 'http.tokenFile', value: undefined, file: tokenFile };
  const before = faults.length;
  const read = secretSource(named, faults);
  if (faults.length > before) return undefined;
  const found = read();
  if (TOKEN.test(found)) return found;
  faults.push(`http.tokenFile: found a text in ${tokenFile} that is not shown here, expected ${TOKEN_EXPECTED}`);
  return undefined;
}

function withoutFaults<T>(read: (faults: string[]) => T): T {
  const faults: string[] = [];
  const result = read(faults);
  if (faults.length > 0) throw configInvalid(faults);
  return result;
}
