import type { SecureContextOptions } from 'node:tls';
import { messageOf } from './errors.ts';

/** How often the files are looked at, in ms. */
const LOOK_AGAIN_MS = 1_000;

/** What is in the files of a server, in PEM. */
export interface ServerCertificates {
  readonly certificate: string;
  readonly key: string;
  /** Those that clients' certificates must be of. */
  readonly ca?: string;
}

/** TLS at a server, as the configuration wants it. */
export interface ServerTls {
  /** Whether clients must have a certificate, or may, or are not asked for one. */
  readonly clients: 'required' | 'optional' | 'none';
  readonly certificates: ServerCertificates;
  /** The files as they are now. Throws an Error that says which cannot be read. */
  readonly load: () => ServerCertificates;
  /** Throws an Error that says what is wrong with them. */
  readonly check: (certificates: ServerCertificates) => void;
}

/** What becomes known of the files. */
export interface RenewalEvents {
  /** New connections are served with what is in the files now. */
  readonly onRenewed: () => void;
  /** The files have changed and cannot be used; those before stay. Told once of each change. */
  readonly onBrokenFiles: (reason: string) => void;
}

/** TLS 1.2 and later. */
export function secureContext({ certificate, key, ca }: ServerCertificates): SecureContextOptions {
  return { cert: certificate, key, minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) };
}

/** Lets the server have what the files become, where it can be used, until what it returns is called. */
export function keepRenewed(
  tls: ServerTls,
  server: { setSecureContext(options: SecureContextOptions): void },
  events: RenewalEvents,
): () => void {
  let current = tls.certificates;
  let suspected = '';
  let told = '';
  /** What is wrong with what the files have become; undefined: nothing. */
  const renew = (): string | undefined => {
    try {
      const found = tls.load();
      if (isSame(found, current)) return undefined;
      tls.check(found);
      server.setSecureContext(secureContext(found));
      current = found;
    } catch (error) {
      return messageOf(error);
    }
    events.onRenewed();
    return undefined;
  };
  const looking = setInterval(() => {
    const wrong = renew() ?? '';
    // The files are not written all at once: what is mended when they are looked at again was never wrong.
    if (wrong !== '' && wrong === suspected && wrong !== told) events.onBrokenFiles(wrong);
    if (wrong === '' || wrong === suspected) told = wrong;
    suspected = wrong;
  }, LOOK_AGAIN_MS);
  looking.unref();
  return () => clearInterval(looking);
}

function isSame(a: ServerCertificates, b: ServerCertificates): boolean {
  return a.certificate === b.certificate && a.key === b.key && a.ca === b.ca;
}
