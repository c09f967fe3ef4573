import { status } from '@grpc/grpc-js';
import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';
import type { BearerRule } from '../../protocol/describe-access.ts';
import { CallFailure } from '../calls.ts';
import type { BearerKey } from './bearer-keys.ts';

/** How far the clocks of issuers may be off, in seconds (RFC 7519, 4.1.4: a small leeway). */
const LEEWAY_SECONDS = 5;

/** The claims of a token that was verified. */
export type Claims = JWTPayload;

/** Verifies what callers send as tokens. */
export interface Bearers {
  /**
   * The claims of the one token among `tokens`: signed by a key that is known, within its time (`exp` and `nbf`, as far as
   * it has them), of an issuer and with the claims of the rule.
   * @throws CallFailure UNAUTHENTICATED for a token that does not prove who calls; PERMISSION_DENIED for one that proves
   * it and lacks a claim. Never with a part of the token in its sentence.
   */
  verify(tokens: readonly string[], rule: BearerRule): Promise<Claims>;
}

/**
 * Tokens are verified with the keys for their algorithm: if one of these has the token's `kid` as its id, with that one.
 * Where keys are bound to the token's issuer, only they count; a key that is bound to an issuer is none for the tokens of
 * another.
 */
export function createBearers(keys: readonly BearerKey[]): Bearers {
  const candidates = (algorithm: string | undefined, kid: string | undefined, issuer: unknown): BearerKey[] => {
    const isBound = keys.some((key) => key.issuer !== undefined && key.issuer === issuer);
    const fitting = keys.filter(
      (key) => key.algorithm === algorithm && (isBound ? key.issuer === issuer : key.issuer === undefined),
    );
    const named = fitting.filter(({ id }) => id === kid);
    return named.length > 0 ? named : fitting;
  };

  const claimsOf = async (token: string): Promise<Claims> => {
    let chosen: BearerKey[];
    try {
      const { alg, kid } = decodeProtectedHeader(token);
      // Not verified yet: it says which keys to try, and they say whether it is true.
      chosen = candidates(alg, kid, decodeJwt(token).iss);
    } catch (cause) {
      throw unauthenticated('the bearer token is no JSON Web Token', cause);
    }
    for (const { key, algorithm } of chosen) {
      try {
        const { payload } = await jwtVerify(token, key, { algorithms: [algorithm], clockTolerance: LEEWAY_SECONDS });
        return payload;
      } catch (cause) {
        if (cause instanceof errors.JWSSignatureVerificationFailed) continue;
        throw unauthenticated(whatIsWrong(cause), cause);
      }
    }
    throw unauthenticated('none of the keys that are configured verifies the bearer token (doors.jwtKeys)');
  };

  return {
    async verify(tokens, { issuers, claims: wanted }) {
      const [token, ...more] = tokens;
      if (token === undefined) throw unauthenticated('the call needs a bearer token in its authorization');
      if (more.length > 0) throw unauthenticated('the call has more than one bearer token');
      const claims = await claimsOf(token);
      if (issuers.length > 0 && !issuers.includes(claims.iss ?? '')) {
        throw unauthenticated('the bearer token is of an issuer whose tokens are not taken here');
      }
      for (const { name, values } of wanted) {
        if (has(claims, name, values)) continue;
        throw new CallFailure(
          status.PERMISSION_DENIED,
          `the bearer token lacks the claim ${name}, or what it has to be`,
        );
      }
      return claims;
    },
  };
}

/** A claim is one text or a list; of a list all the others may be there too. */
function has(claims: Claims, name: string, values: readonly string[]): boolean {
  if (!Object.hasOwn(claims, name)) return false;
  const claim = claims[name];
  const there: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
  return values.every((value) => there.includes(value));
}

function whatIsWrong(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'the bearer token has expired';
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === 'nbf' ? 'the bearer token is not valid yet' : `the bearer token has a wrong ${error.claim}`;
  }
  return 'the bearer token cannot be verified';
}

function unauthenticated(sentence: string, cause?: unknown): CallFailure {
  // What a 401 has to say (RFC 9110, 11.6.1).
  return new CallFailure(status.UNAUTHENTICATED, sentence, {
    metadata: [{ key: 'www-authenticate', value: 'Bearer' }],
    cause,
  });
}
