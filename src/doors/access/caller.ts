import { createHash, timingSafeEqual } from 'node:crypto';
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import type { Metadata, MetadataEntry } from '../../model/payload.ts';
import type { DoorCall } from '../calls.ts';
import type { Peer } from '../peer.ts';

/** Who calls, as far as it has proved it. */
export type Identity =
  /** Nobody that is known. */
  | { readonly kind: 'internet' }
  /** The function itself, by what it was told in discovery. */
  | { readonly kind: 'self' }
  /** A service of the configuration. */
  | { readonly kind: 'service'; readonly name: string };

/** A service that is known by a token, by the name in its certificate, or by each of them. */
export interface KnownService {
  readonly name: string;
  readonly token?: string | undefined;
  readonly certificateName?: string | undefined;
}

/** A call with what was learnt of its caller. */
export interface Identified {
  readonly identity: Identity;
  /** The call's, but for the token that told who calls: it is a secret between the caller and the runtime. */
  readonly metadata: Metadata;
  /** The other bearer tokens of the call. */
  readonly bearers: readonly string[];
}

const BEARER = /^bearer +([a-z0-9._~+/-]+=*) *$/i;

/** The bearer token in an entry; undefined where it has none. */
export function bearerOf({ key, value }: MetadataEntry): string | undefined {
  return key.toLowerCase() === 'authorization' && typeof value === 'string' ? BEARER.exec(value)?.[1] : undefined;
}

/**
 * The one place where a call becomes somebody's: by the bearer token of its `authorization` and, where that is nobody's, by
 * the first name of its peer's certificate that is somebody's. Nothing else that it says counts.
 */
export function createCallers(known: {
  readonly services: readonly KnownService[];
  /** By which the function is known; absent: it is not. */
  readonly selfToken?: string;
}): (call: Pick<DoorCall, 'metadata' | 'peer'>) => Identified {
  const entries: { digest: Buffer; identity: Identity }[] = [];
  const byCertificate = new Map<string, Identity>();
  for (const { name, token, certificateName } of known.services) {
    const identity = { kind: 'service', name } as const;
    if (token !== undefined) entries.push({ digest: digestOf(token), identity });
    // Names of hosts are the same in capitals (RFC 4343).
    if (certificateName !== undefined) byCertificate.set(certificateName.toLowerCase(), identity);
  }
  if (known.selfToken !== undefined) {
    entries.push({ digest: digestOf(known.selfToken), identity: { kind: 'self' } });
  }

  /** Takes as long for one token as for another: digests are compared, and all of them. */
  const identityOf = (token: string): Identity | undefined => {
    const digest = digestOf(token);
    let found: Identity | undefined;
    for (const entry of entries) if (timingSafeEqual(entry.digest, digest)) found = entry.identity;
    return found;
  };

  const certified = ({ names = [] }: Peer): Identity =>
    names.map((name) => byCertificate.get(name.toLowerCase())).find((found) => found !== undefined) ?? {
      kind: 'internet',
    };

  return ({ metadata, peer }) => {
    let identity: Identity | undefined;
    const bearers: string[] = [];
    const kept = metadata.filter((entry) => {
      const token = bearerOf(entry);
      if (token === undefined) return true;
      const proved = identityOf(token);
      if (proved === undefined) bearers.push(token);
      else identity = proved;
      return proved === undefined;
    });
    return {
      identity: identity ?? certified(peer),
      metadata: kept.length === metadata.length ? metadata : kept,
      bearers,
    };
  };
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** 127.0.0.0/8 (RFC 1122, 3.2.1.3), also as an address of IPv6, and ::1 (RFC 4291, 2.5.3). */
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Is the other end on this host? Unknown is no. */
export function isLocal({ address }: Peer): boolean {
  if (address === undefined) return false;
  if (isIPv4(address)) return LOOPBACK.check(address, 'ipv4');
  return isIPv6(address) && LOOPBACK.check(address, 'ipv6');
}
