import type { ConnectionOptions } from 'node:tls';

/** What a client of TLS trusts, shows and expects, as `tls.connect` takes it. */
export type ClientSecrets = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'servername' | 'minVersion'>;

/** Asked for every connection: the files behind it may have been written anew. Never throws. */
export type ClientTls = () => ClientSecrets;

/** Codes of Node.js and OpenSSL for a certificate that no CA which is trusted here stands for. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'INVALID_CA',
]);
/** Of a server that answers in something else than TLS. */
const NOT_TLS: ReadonlySet<string> = new Set([
  'EPROTO',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_UNEXPECTED_MESSAGE',
]);
/** How OpenSSL calls what the other side says before it hangs up. */
const ALERT = /^ERR_SSL_.*ALERT_/;

/** What the configuration calls the things that TLS to a server takes, for sentences that say what to do. */
export interface TlsOptions {
  readonly caFile: string;
  /** Absent: there is none, the name in the URL is what is expected. */
  readonly serverName?: string;
  /** Those of the certificate that is shown, and its key; absent: none can be. */
  readonly client?: string;
  /** How to do without TLS: "leave kafka.tls out". */
  readonly without: string;
}

/** Of a map of the configuration that has them all, and says by being there that TLS is spoken: "kafka.tls" for example. */
export function tlsOptionsIn(map: string): TlsOptions {
  return {
    caFile: `${map}.caFile`,
    serverName: `${map}.serverName`,
    client: `${map}.certificateFile and ${map}.keyFile`,
    without: `leave ${map} out`,
  };
}

/**
 * Why a connection in TLS failed, and what to do: a sentence in the place of a code of OpenSSL. Undefined where it failed
 * for another reason.
 */
export function tlsTrouble(error: Error, options: TlsOptions): string | undefined {
  const { caFile, serverName, client, without } = options;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code === 'CERT_HAS_EXPIRED') {
    return 'the certificate of the server, or of a CA above it, has expired: give the server a new one';
  }
  if (code === 'CERT_NOT_YET_VALID') {
    return 'the certificate of the server is not valid yet: correct the clock of this machine, or the certificate';
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const or = serverName === undefined ? '' : `, or set ${serverName} to one`;
    return `the certificate of the server is for another name (${message}): use a name that it has${or}`;
  }
  if (UNTRUSTED.has(code)) {
    return `no CA that is trusted here stands for the certificate of the server (${code}): set ${caFile} to a file with its CA`;
  }
  if (ALERT.test(code)) {
    const alert = code.replace(ALERT, '').toLowerCase().replaceAll('_', ' ');
    const check = client === undefined ? ', which cannot be shown to it' : `, or another one; check ${client}`;
    return `the server broke off the handshake of TLS (${alert}): it may want a client certificate${check}`;
  }
  if (NOT_TLS.has(code)) {
    return `the server does not speak TLS on this port (${code}): use its port for TLS, or ${without}`;
  }
  if (code === 'ECONNRESET' && message.includes('before secure TLS connection')) {
    return `the server hung up when it was spoken to in TLS: use its port for TLS, or ${without}`;
  }
  return undefined;
}
