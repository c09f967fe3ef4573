import { readDoorTls, readFunctionTls } from './certificates.ts';
import type { Config } from './config/config.ts';
import { configInvalid } from './config/load.ts';
import { type AccessOf, readDoorAccess, readSelfToken } from './door-access.ts';
import type { DoorTls } from './doors/tls.ts';
import type { FunctionTls } from './functions/client.ts';
import type { RegistryAccess } from './registry/client.ts';
import { readRegistryAccess } from './registry-access.ts';

/** The options that name files, and those that their contents are used with. */
export interface NamingFiles {
  readonly doors: Pick<Config['doors'], 'withoutAcl' | 'services' | 'jwtKeys' | 'tls' | 'selfTokenFile'>;
  readonly function: Pick<Config['function'], 'url' | 'tls'>;
  readonly registry: Pick<Config['registry'], 'urls' | 'tls' | 'auth'>;
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
  readonly registry: RegistryAccess;
}

/** Reads and checks them all. @throws StateferryError CONFIG_INVALID with a line for every fault, and never with a secret */
export function readNamedFiles(config: NamingFiles): NamedFiles {
  return withoutFaults((faults) => {
    const selfToken = readSelfToken(config.doors, faults);
    return {
      accessOf: readDoorAccess(config.doors, faults, selfToken),
      selfToken,
      doorTls: readDoorTls(config.doors, faults),
      functionTls: readFunctionTls(config.function, faults),
      registry: readRegistryAccess(config.registry, faults),
    };
  });
}

/** Only those that a client of the function needs. @throws as `readNamedFiles` */
export function readFunctionFiles(config: Pick<NamingFiles, 'function'>): FunctionTls | undefined {
  return withoutFaults((faults) => readFunctionTls(config.function, faults));
}

/** Only those that a client of the schema registry needs. @throws as `readNamedFiles` */
export function readRegistryFiles(config: Pick<NamingFiles, 'registry'>): RegistryAccess {
  return withoutFaults((faults) => readRegistryAccess(config.registry, faults));
}

function withoutFaults<T>(read: (faults: string[]) => T): T {
  const faults: string[] = [];
  const result = read(faults);
  if (faults.length > 0) throw configInvalid(faults);
  return result;
}
