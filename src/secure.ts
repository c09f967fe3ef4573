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

/**
 * Why a connection in TLS failed, and what to do: a sentence in the place of a code of OpenSSL. Undefined where it failed
 * for another reason.
 * @param options the map of the configuration that says how to speak TLS, "kafka.tls" for example
 */
export function tlsTrouble(error: Error, options: string): string | undefined {
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code === 'CERT_HAS_EXPIRED') {
    return 'the certificate of the server, or of a CA above it, has expired: give the server a new one';
  }
  if (code === 'CERT_NOT_YET_VALID') {
    return 'the certificate of the server is not valid yet: correct the clock of this machine, or the certificate';
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the certificate of the server is for another name (${message}): use a name that it has, or set ${options}.serverName to one`;
  }
  if (UNTRUSTED.has(code)) {
    return `no CA that is trusted here stands for the certificate of the server (${code}): set ${options}.caFile to a file with its CA`;
  }
  if (ALERT.test(code)) {
    const alert = code.replace(ALERT, '').toLowerCase().replaceAll('_', ' ');
    return (
      `the server broke off the handshake of TLS (${alert}): it may want a client certificate, or another one; ` +
      `check ${options}.certificateFile and ${options}.keyFile`
    );
  }
  if (NOT_TLS.has(code)) {
    return `the server does not speak TLS on this port (${code}): use its port for TLS, or leave ${options} out`;
  }
  if (code === 'ECONNRESET' && message.includes('before secure TLS connection')) {
    return `the server hung up when it was spoken to in TLS: use its port for TLS, or leave ${options} out`;
  }
  return undefined;
}
