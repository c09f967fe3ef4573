import { readDoorTls, readFunctionTls } from './certificates.ts';
import type { Config } from './config/config.ts';
import { configInvalid } from './config/load.ts';
import { type AccessOf, readDoorAccess, readSelfToken } from './door-access.ts';
import type { DoorTls } from './doors/tls.ts';
import type { FunctionTls } from './functions/client.ts';
import type { PostgresServer } from './journal/connection.ts';
import { type KafkaSecurity, readKafkaSecurity } from './kafka-connection.ts';
import type { Log } from './observe/log.ts';
import { readPostgresServer } from './postgres-connection.ts';

/** The options that name files, and those that their contents are used with. */
export interface NamingFiles {
  readonly doors: Pick<Config['doors'], 'withoutAcl' | 'services' | 'jwtKeys' | 'tls' | 'selfTokenFile'>;
  readonly function: Pick<Config['function'], 'url' | 'tls'>;
  readonly kafka: Pick<Config['kafka'], 'tls' | 'sasl' | 'requestTimeoutMs'>;
  readonly postgres: Pick<Config['postgres'], 'url' | 'tls' | 'passwordFile'>;
}

/** What is in the files that a configuration names. */
export interface NamedFiles {
  readonly accessOf: AccessOf;
  /** What the function proves to be itself with, at the doors. */
  readonly selfToken: string;
  /** Undefined: the doors speak clear text. */
  readonly doorTls: DoorTls | undefined;
  /** Undefined: the function speaks clear text. */
  readonly functionTls: FunctionTls | undefined;
  readonly kafka: KafkaSecurity;
  readonly postgres: PostgresServer;
}

/** Reads and checks them all; `log` hears later of files that cannot be used any more. @throws StateferryError CONFIG_INVALID with a line for every fault, and never with a secret */
export function readNamedFiles(config: NamingFiles, log?: Log): NamedFiles {
  return withoutFaults((faults) => {
    const selfToken = readSelfToken(config.doors, faults);
    return {
      accessOf: readDoorAccess(config.doors, faults, selfToken),
      selfToken,
      doorTls: readDoorTls(config.doors, faults),
      functionTls: readFunctionTls(config.function, faults),
      kafka: readKafkaSecurity(config.kafka, faults, log),
      postgres: readPostgresServer(config.postgres, faults, log),
    };
  });
}

/** Only those that a client of the function needs. @throws as `readNamedFiles` */
export function readFunctionFiles(config: Pick<NamingFiles, 'function'>): FunctionTls | undefined {
  return withoutFaults((faults) => readFunctionTls(config.function, faults));
}

function withoutFaults<T>(read: (faults: string[]) => T): T {
  const faults: string[] = [];
  const result = read(faults);
  if (faults.length > 0) throw configInvalid(faults);
  return result;
}
