import type { PeerCertificate } from 'node:tls';

/** The other end of a call's connection, as the connection itself tells it. */
export interface Peer {
  /** IP address without a port, `::ffff:` before that of IPv4 where the door listens on both; undefined: it is gone. */
  readonly address: string | undefined;
  /** The names in the certificate that it has proved to be its own; absent or empty: it has none, or none was asked for. */
  readonly names?: readonly string[];
}

/** As it stands in `subjectaltname`; what is not a plain name is in quotes there, and none of ours. */
const DNS_NAME = /^DNS:([A-Za-z0-9*._-]+)$/;
/** A quoted part may have commas in it. */
const PARTS = /(?:"(?:[^"\\]|\\.)*"|[^,])+/g;

/** The DNS names of a certificate or, where it has none, its common name (RFC 6125, 6.4.4). */
export function namesOf({ subjectaltname, subject }: Pick<PeerCertificate, 'subjectaltname' | 'subject'>): string[] {
  const parts = (subjectaltname ?? '').match(PARTS) ?? [];
  const names = parts.flatMap((part) => DNS_NAME.exec(part.trim())?.[1] ?? []);
  if (names.length > 0) return names;
  // Typed as text, and a list where there are several of them: no one's name then.
  const common: unknown = subject?.CN;
  return typeof common === 'string' ? [common] : [];
}
