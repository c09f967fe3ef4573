import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Config } from './config/config.ts';
import { type ClientTlsConfig, type ServerTlsConfig, speaksTls } from './config/tls.ts';
import type { DoorTls } from './doors/tls.ts';
import { messageOf } from './errors.ts';
import type { ClientSecrets, ClientTls } from './secure.ts';
import type { ServerCertificates, ServerTls } from './server-tls.ts';

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** A file that the configuration names, and where it does. */
export interface Named {
  readonly where: string;
  readonly file: string;
}

/** With what is in it; nothing where it could not be read. */
interface Loaded extends Named {
  readonly text: string;
}

/** What TLS at the doors needs, read and checked; undefined where it is not asked for. `faults` gets a line for each fault. */
export function readDoorTls({ tls }: Pick<Config['doors'], 'tls'>, faults: string[]): DoorTls | undefined {
  const read = readServerTls('doors.tls', tls, faults);
  return read && { ...read, plainPort: tls.plainPort };
}

/** The same for any server; `where` is the option with the map. */
export function readServerTls(where: string, tls: ServerTlsConfig, faults: string[]): ServerTls | undefined {
  const { certificateFile, keyFile, clientCaFile, clientCertificates = 'required' } = tls;
  if (certificateFile === undefined || keyFile === undefined) return undefined;
  const certificate = { where: `${where}.certificateFile`, file: certificateFile };
  const key = { where: `${where}.keyFile`, file: keyFile };
  const authorities = clientCaFile === undefined ? undefined : { where: `${where}.clientCaFile`, file: clientCaFile };
  const load = (found: string[]): ServerCertificates => ({
    certificate: readText(certificate, found),
    key: readText(key, found),
    ...(authorities !== undefined && { ca: readText(authorities, found) }),
  });
  const check = (texts: ServerCertificates, found: string[]): void => {
    checkPair({ ...certificate, text: texts.certificate }, { ...key, text: texts.key }, found);
    if (authorities !== undefined) checkAuthorities({ ...authorities, text: texts.ca ?? '' }, found);
  };
  const orThrow = <T>(use: (found: string[]) => T): T => {
    const found: string[] = [];
    const result = use(found);
    if (found.length > 0) throw new Error(found.join('; '));
    return result;
  };
  const certificates = load(faults);
  check(certificates, faults);
  return {
    clients: authorities === undefined ? 'none' : clientCertificates,
    certificates,
    load: () => orThrow(load),
    check: (texts) => orThrow((found) => check(texts, found)),
  };
}

/** What TLS to the function needs, as `readClientTls`; undefined for a function in clear text. */
export function readFunctionTls(
  { url, tls }: Pick<Config['function'], 'url' | 'tls'>,
  faults: string[],
  onBroken?: (reason: string) => void,
): ClientTls | undefined {
  if (url.startsWith('https:')) return readClientTls('function.tls', { ...tls, enabled: true }, faults, onBroken);
  if (Object.keys(tls).length > 0) {
    faults.push(`function.tls: found what TLS needs beside the URL ${url}, expected one that begins with https`);
  }
  return undefined;
}

/**
 * What a client of TLS needs, read and checked; undefined where the map says that none is spoken. It is read again each time
 * it is asked for: what it has become is taken where it can be used, else what it was is kept, and `onBroken` gets the reason,
 * once for each. `faults` as for the doors.
 * @param where the option with the map
 */
export function readClientTls(
  where: string,
  tls: ClientTlsConfig,
  faults: string[],
  onBroken: (reason: string) => void = () => undefined,
): ClientTls | undefined {
  if (!speaksTls(tls)) return undefined;
  const { caFile, certificateFile, keyFile, serverName } = tls;
  const load = (found: string[]): ClientSecrets => {
    const read = (name: string, file: string): Loaded => {
      const named = { where: `${where}.${name}`, file };
      return { ...named, text: readText(named, found) };
    };
    const ca = caFile === undefined ? undefined : read('caFile', caFile);
    if (ca !== undefined) checkAuthorities(ca, found);
    const certificate = certificateFile === undefined ? undefined : read('certificateFile', certificateFile);
    const key = keyFile === undefined ? undefined : read('keyFile', keyFile);
    if (certificate !== undefined && key !== undefined) checkPair(certificate, key, found);
    return {
      minVersion: 'TLSv1.2',
      ...(ca !== undefined && { ca: ca.text }),
      ...(certificate !== undefined && key !== undefined && { cert: certificate.text, key: key.text }),
      ...(serverName !== undefined && { servername: serverName }),
    };
  };
  let current = load(faults);
  let told = '';
  return () => {
    const found: string[] = [];
    const next = load(found);
    const reason = found.join('; ');
    if (found.length === 0) current = next;
    else if (reason !== told) onBroken(reason);
    told = reason;
    return current;
  };
}

/** A certificate that is valid now, and the key that it is for. What could not be read is told already. */
export function checkPair(certificate: Loaded, key: Loaded, faults: string[]): void {
  if (certificate.text === '' || key.text === '') return;
  const before = faults.length;
  const [first] = certificatesIn(certificate, faults);
  const privateKey = keyIn(key, faults);
  if (first !== undefined) mustBeValid(certificate, first, faults);
  if (first !== undefined && privateKey !== undefined && !first.checkPrivateKey(privateKey)) {
    faults.push(
      `${key.where}: found in ${key.file} the key of another certificate than that of ${certificate.file}, expected its own`,
    );
  }
  if (faults.length > before) return;
  // Keys and signatures that OpenSSL finds too weak, for example.
  usable(certificate, () => createSecureContext({ cert: certificate.text, key: key.text }), faults);
}

/** Certificates of CAs of which at least one is valid now. */
export function checkAuthorities(authorities: Loaded, faults: string[]): void {
  if (authorities.text === '') return;
  const found = certificatesIn(authorities, faults);
  const [first] = found;
  if (first !== undefined && found.every((one) => validity(one) !== undefined)) mustBeValid(authorities, first, faults);
}

/** The text of a file; empty, with a line in `faults`, where it cannot be read or is empty. */
export function readText({ where, file }: Named, faults: string[]): string {
  try {
    const text = readFileSync(file, 'utf8');
    if (text.trim() !== '') return text;
    faults.push(`${where}: found ${file} empty`);
  } catch (error) {
    faults.push(`${where}: found no file that can be read (${messageOf(error)}), expected the path of one`);
  }
  return '';
}

function certificatesIn(named: Loaded, faults: string[]): X509Certificate[] {
  const found = named.text.match(PEM_CERTIFICATE) ?? [];
  if (found.length === 0) faults.push(`${named.where}: found no certificate in ${named.file}, expected one in PEM`);
  const read: X509Certificate[] = [];
  for (const pem of found) usable(named, () => read.push(new X509Certificate(pem)), faults);
  return read;
}

function keyIn({ where, file, text }: Loaded, faults: string[]): KeyObject | undefined {
  try {
    return createPrivateKey(text);
  } catch (error) {
    // The reason is OpenSSL's, and has nothing of the key in it.
    faults.push(
      `${where}: found no key in ${file} that can be read (${messageOf(error)}), expected a private key in PEM without a pass phrase`,
    );
    return undefined;
  }
}

function mustBeValid({ where, file }: Named, certificate: X509Certificate, faults: string[]): void {
  const wrong = validity(certificate);
  if (wrong !== undefined)
    faults.push(`${where}: found in ${file} a certificate that ${wrong}, expected one that is valid now`);
}

/** What is wrong with the time of a certificate; undefined: nothing. */
function validity({ validFrom, validTo }: X509Certificate): string | undefined {
  if (Date.now() > Date.parse(validTo)) return `expired on ${new Date(validTo).toISOString()}`;
  if (Date.now() < Date.parse(validFrom)) return `is not valid before ${new Date(validFrom).toISOString()}`;
  return undefined;
}

function usable({ where, file }: Named, use: () => unknown, faults: string[]): void {
  try {
    use();
  } catch (error) {
    faults.push(`${where}: found in ${file} a certificate that cannot be used (${messageOf(error)})`);
  }
}
