import { checkAuthorities, checkPair, readText } from './certificates.ts';
import type { Config } from './config/config.ts';
import type { RegistryAccess } from './registry/client.ts';

/** How the schema registry lets us in, with what is in the files that its options name. `faults` gets a line for each fault. */
export function readRegistryAccess(
  { urls, tls, auth }: Pick<Config['registry'], 'urls' | 'tls' | 'auth'>,
  faults: string[],
): RegistryAccess {
  const load = (option: string, file: string) => {
    const named = { where: `registry.${option}`, file };
    return { ...named, text: readText(named, faults) };
  };
  const secret = (name: 'password' | 'token'): string => {
    const file = auth[`${name}File`];
    return auth[name] ?? (file === undefined ? '' : load(`auth.${name}File`, file).text.trim());
  };
  const known = { user: auth.user ?? '', password: secret('password'), token: secret('token') };
  const { caFile, certificateFile, keyFile } = tls;
  if (Object.keys(tls).length > 0 && !urls.some((url) => url.startsWith('https:'))) {
    faults.push('registry.tls: found what TLS needs beside URLs that all begin with http, expected one with https');
    return { ...known, tls: {} };
  }
  const ca = caFile === undefined ? undefined : load('tls.caFile', caFile);
  if (ca !== undefined) checkAuthorities(ca, faults);
  const trusted = ca === undefined ? {} : { ca: ca.text };
  if (certificateFile === undefined || keyFile === undefined) return { ...known, tls: trusted };
  const certificate = load('tls.certificateFile', certificateFile);
  const key = load('tls.keyFile', keyFile);
  checkPair(certificate, key, faults);
  return { ...known, tls: { ...trusted, cert: certificate.text, key: key.text } };
}
