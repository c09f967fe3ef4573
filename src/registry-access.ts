import { readClientTls } from './certificates.ts';
import type { Config } from './config/config.ts';
import type { RegistryAccess } from './registry/client.ts';
import { keptSecret } from './secret-files.ts';

/**
 * How the schema registry lets us in, with what is in the files that its options name. They are read again for each request: what
 * cannot be used then is what it was before, and `onBroken` gets the reason. `faults` gets a line for each fault.
 */
export function readRegistryAccess(
  { urls, tls, auth }: Pick<Config['registry'], 'urls' | 'tls' | 'auth'>,
  faults: string[],
  onBroken: (reason: string) => void = () => undefined,
): RegistryAccess {
  const secret = (name: 'password' | 'token'): (() => string) => {
    const file = auth[`${name}File`];
    const value = auth[name] ?? (file === undefined ? '' : undefined);
    return keptSecret({ where: `registry.auth.${name}File`, value, file }, faults, onBroken);
  };
  const known = { user: auth.user ?? '', password: secret('password'), token: secret('token') };
  if (urls.some((url) => url.startsWith('https:'))) {
    return { ...known, tls: readClientTls('registry.tls', { ...tls, enabled: true }, faults, onBroken) };
  }
  if (Object.keys(tls).length > 0) {
    faults.push('registry.tls: found what TLS needs beside URLs that all begin with http, expected one with https');
  }
  return { ...known, tls: undefined };
}
