import type { Metadata, MetadataEntry } from '../../model/payload.ts';
import { metadataValue } from '../../model/payload.ts';
import { isReservedKey } from '../reserved-keys.ts';
import { fromFieldValue, isFieldName, toFieldValue } from './header-text.ts';
import { badRequest, quoted } from './http-failure.ts';

/** The status that an answer asks for, in its metadata. */
const HTTP_CODE = '_kalix-http-code';

/** Binary values are base64 in headers whose name ends with this. */
const BINARY_SUFFIX = '-bin';

/** Of the connection and the message's framing, in both directions. */
const TRANSPORT: ReadonlySet<string> = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Of the request alone: how it is to be carried out, not what it says. */
const REQUEST_ONLY: ReadonlySet<string> = new Set(['user-agent', 'x-grpc-web', 'x-server-timeout', 'x-user-agent']);

/**
 * What a caller sent with its request, as metadata: every header in the order of the wire (`rawHeaders`: name, value,
 * name, value), names in lower case, but for those of the transport and those that nobody outside may set. Values are
 * text; those of `-bin` headers are bytes, given in base64, several of them with commas between.
 *
 * Throws HttpFailure 400 for a `-bin` header that is not base64.
 */
export function requestMetadata(rawHeaders: readonly string[]): Metadata {
  const entries: MetadataEntry[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const key = (rawHeaders[index] as string).toLowerCase();
    const value = rawHeaders[index + 1] as string;
    if (!isPassedOn(key)) continue;
    if (key.endsWith(BINARY_SUFFIX)) {
      for (const part of value.split(',')) entries.push({ key, value: bytesOf(key, part.trim()) });
    } else {
      entries.push({ key, value: fromFieldValue(value) });
    }
  }
  return entries;
}

function isPassedOn(key: string): boolean {
  return (
    isFieldName(key) &&
    !TRANSPORT.has(key) &&
    !REQUEST_ONLY.has(key) &&
    !key.startsWith('accept') &&
    !key.startsWith('grpc-') &&
    !isReservedKey(key)
  );
}

function bytesOf(key: string, text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1) {
    throw badRequest(`The header ${key} is ${quoted(text)}; a header whose name ends with -bin holds base64.`);
  }
  return new Uint8Array(Buffer.from(text, 'base64'));
}

/**
 * An answer's metadata as headers: names in lower case, bytes in base64 under a name that ends with `-bin`, several values
 * of one name in their order. Left out are reserved keys, those of the transport, of gRPC's status and of the browser's
 * cross-origin checks, which are the door's own, and whatever could not be a header: a name that is no token, a value
 * with control characters.
 */
export function responseHeaders(metadata: Metadata): ReadonlyMap<string, readonly string[]> {
  const headers = new Map<string, string[]>();
  for (const entry of metadata) {
    const given = entry.key.toLowerCase();
    const binary = typeof entry.value !== 'string' || given.endsWith(BINARY_SUFFIX);
    const key = binary && !given.endsWith(BINARY_SUFFIX) ? given + BINARY_SUFFIX : given;
    if (!isFieldName(key) || TRANSPORT.has(key) || isReservedKey(key)) continue;
    if (key.startsWith('grpc-') || key.startsWith('access-control-')) continue;
    const value = binary ? Buffer.from(entry.value as string).toString('base64') : toFieldValue(entry.value as string);
    if (value === undefined) continue;
    const values = headers.get(key);
    if (values === undefined) headers.set(key, [value]);
    else values.push(value);
  }
  return headers;
}

/** The HTTP status that an answer's metadata asks for: 200 to 599; undefined where it asks for none, or for another. */
export function askedStatus(metadata: Metadata): number | undefined {
  const asked = metadataValue(metadata, HTTP_CODE);
  return asked !== undefined && /^[2-5][0-9]{2}$/.test(asked) ? Number(asked) : undefined;
}
