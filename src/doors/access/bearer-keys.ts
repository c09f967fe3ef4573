import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { messageOf } from '../../errors.ts';

/** What a key of each algorithm has to be (RFC 7518, 3.2 to 3.5; RFC 8037). */
const HMAC_BYTES = { HS256: 32, HS384: 48, HS512: 64 } as const;
const CURVES = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' } as const;
const RSA = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const;
const RSA_BITS = 2048;

type Algorithm = keyof typeof HMAC_BYTES | keyof typeof CURVES | (typeof RSA)[number] | 'EdDSA';

/** A key that tokens are verified with. */
export interface BearerKey {
  /** A token that names a key (`kid`) names it so. */
  readonly id: string;
  /** The key is good for tokens of this issuer alone, and they for no other key; absent: see createBearers. */
  readonly issuer?: string;
  readonly algorithm: Algorithm;
  readonly key: KeyObject;
}

/**
 * The key in a text. HS*: the secret itself, or `base64:` and its bytes; all others: the public key, or a certificate, in
 * PEM. Throws an Error that says what was found and expected, never the text.
 */
export function readBearerKey(text: string, algorithm: Algorithm): KeyObject {
  if (algorithm in HMAC_BYTES) return secretKey(text, algorithm as keyof typeof HMAC_BYTES);
  const expected = `found %, expected a public key for ${algorithm} in PEM`;
  const refuse = (what: string, cause?: unknown) =>
    new Error(
      expected.replace('%', () => what),
      { cause },
    );
  if (text.includes('PRIVATE KEY')) throw refuse('a private key, which has no business here');
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch (cause) {
    throw refuse(`what is no key (${messageOf(cause)})`, cause);
  }
  const { asymmetricKeyType: type = '', asymmetricKeyDetails: { modulusLength = 0, namedCurve = '' } = {} } = key;
  if (algorithm in CURVES) {
    const curve = CURVES[algorithm as keyof typeof CURVES];
    if (type !== 'ec' || namedCurve !== curve) throw refuse(`one of ${[type, namedCurve].filter(Boolean).join(' ')}`);
  } else if (algorithm === 'EdDSA') {
    if (type !== 'ed25519') throw refuse(`one of ${type}`);
  } else if (type !== 'rsa') {
    throw refuse(`one of ${type}`);
  } else if (modulusLength < RSA_BITS) {
    throw refuse(`one of ${modulusLength} bits, which are fewer than ${RSA_BITS}`);
  }
  return key;
}

function secretKey(text: string, algorithm: keyof typeof HMAC_BYTES): KeyObject {
  const bytes = text.startsWith('base64:') ? Buffer.from(text.slice('base64:'.length), 'base64') : Buffer.from(text);
  const least = HMAC_BYTES[algorithm];
  if (bytes.length >= least) return createSecretKey(bytes);
  throw new Error(`found a secret of ${bytes.length} bytes, expected ${least} or more for ${algorithm}`);
}
