import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { type BearerKey, readBearerKey } from '../../../src/doors/access/bearer-keys.ts';
import { createBearers } from '../../../src/doors/access/bearers.ts';
import { CallFailure } from '../../../src/doors/calls.ts';
import type { BearerRule } from '../../../src/protocol/describe-access.ts';

const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
const SECRET = 'a secret of at least thirty-two characters';
const OTHER_SECRET = 'another one of at least thirty-two characters';
const EC = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ED = generateKeyPairSync('ed25519');

const shared: BearerKey = { id: 'shared', algorithm: 'HS256', key: readBearerKey(SECRET, 'HS256') };
const NOTHING_MORE: BearerRule = { issuers: [], claims: [] };
const now = Math.floor(Date.now() / 1000);

function token(
  claims: JWTPayload,
  { alg = 'HS256', kid, key = Buffer.from(SECRET) }: { alg?: string; kid?: string; key?: Buffer | KeyObject } = {},
): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg, ...(kid !== undefined && { kid }) }).sign(key);
}

/** The code and the sentence of a refusal. */
async function refusal(promise: Promise<unknown>): Promise<{ code: status; message: string }> {
  const error = await promise.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  if (!(error instanceof CallFailure)) throw new Error(`expected a CallFailure, found ${String(error)}`);
  return { code: error.code, message: error.message };
}

const verify = (tokens: readonly string[], keys: readonly BearerKey[] = [shared], rule = NOTHING_MORE) =>
  createBearers(keys).verify(tokens, rule);

describe('a bearer token', () => {
  it.each([
    ['ES256', EC],
    ['RS256', RSA],
    ['PS512', RSA],
    ['EdDSA', ED],
  ] as const)('signed by the key of its algorithm, %s, gives its claims', async (algorithm, pair) => {
    const key: BearerKey = { id: 'k', algorithm, key: readBearerKey(pem(pair.publicKey), algorithm) };
    const claims = { sub: 'ann', exp: now + 60 };
    expect(await verify([await token(claims, { alg: algorithm, key: pair.privateKey })], [key])).toEqual(claims);
  });

  it('signed by a shared secret gives its claims', async () => {
    expect(await verify([await token({ sub: 'ann' })])).toEqual({ sub: 'ann' });
  });

  it('is refused where no key is configured', async () => {
    expect(await refusal(verify([await token({})], []))).toMatchObject({ code: status.UNAUTHENTICATED });
  });

  it('that is missing, twice there or none at all is refused', async () => {
    const one = await token({});
    for (const tokens of [[], [one, one], ['abc'], ['a.b.c'], [`${one}x`], [one.slice(0, -4)]]) {
      expect(await refusal(verify(tokens))).toMatchObject({ code: status.UNAUTHENTICATED });
    }
  });

  it('without a signature is refused', async () => {
    expect(await refusal(verify([new UnsecuredJWT({ sub: 'ann' }).encode()]))).toMatchObject({
      code: status.UNAUTHENTICATED,
    });
  });

  it('of another secret, or with claims that were changed, is refused', async () => {
    const [head, , signature] = (await token({ sub: 'ann' })).split('.');
    const changed = [head, Buffer.from('{"sub":"eve"}').toString('base64url'), signature].join('.');
    const others = await token({ sub: 'ann' }, { key: Buffer.from(OTHER_SECRET) });
    for (const bad of [changed, others]) {
      expect(await refusal(verify([bad]))).toMatchObject({ code: status.UNAUTHENTICATED });
    }
  });

  it('signed with the text of a public key as if that were a secret is refused', async () => {
    const text = pem(RSA.publicKey);
    const key: BearerKey = { id: 'k', algorithm: 'RS256', key: readBearerKey(text, 'RS256') };
    const forged = await token({ sub: 'eve' }, { key: Buffer.from(text) });
    expect(await refusal(verify([forged], [key]))).toMatchObject({ code: status.UNAUTHENTICATED });
  });

  it('is good within its time, with five seconds for clocks that differ', async () => {
    const late = await token({ exp: now - 60 });
    const early = await token({ nbf: now + 60 });
    expect(await refusal(verify([late]))).toEqual({
      code: status.UNAUTHENTICATED,
      message: 'the bearer token has expired',
    });
    expect(await refusal(verify([early]))).toEqual({
      code: status.UNAUTHENTICATED,
      message: 'the bearer token is not valid yet',
    });
    await expect(verify([await token({ nbf: now + 3 })])).resolves.toBeDefined();
  });

  it('has an issuer of the rule', async () => {
    const rule = { issuers: ['a', 'b'], claims: [] };
    await expect(verify([await token({ iss: 'b' })], [shared], rule)).resolves.toEqual({ iss: 'b' });
    for (const claims of [{ iss: 'c' }, {}]) {
      expect(await refusal(verify([await token(claims)], [shared], rule))).toMatchObject({
        code: status.UNAUTHENTICATED,
      });
    }
  });

  it('has the claims of the rule: all the values, in a list as well, or any where none is named', async () => {
    const rule = {
      issuers: [],
      claims: [
        { name: 'role', values: ['x', 'y'] },
        { name: 'team', values: [] },
      ],
    };
    await expect(verify([await token({ role: ['y', 'z', 'x'], team: 1 })], [shared], rule)).resolves.toBeDefined();
    for (const claims of [{ role: ['x', 'y'] }, { role: 'x', team: 1 }, { role: ['x'], team: 1 }, { team: 1 }]) {
      expect(await refusal(verify([await token(claims)], [shared], rule))).toMatchObject({
        code: status.PERMISSION_DENIED,
      });
    }
  });

  it('that names a key is verified with that one, and with every key where it names none', async () => {
    const second: BearerKey = { id: 'second', algorithm: 'HS256', key: readBearerKey(OTHER_SECRET, 'HS256') };
    const keys = [shared, second];
    const key = Buffer.from(OTHER_SECRET);
    await expect(verify([await token({}, { key })], keys)).resolves.toBeDefined();
    await expect(verify([await token({}, { key, kid: 'second' })], keys)).resolves.toBeDefined();
    await expect(verify([await token({}, { key, kid: 'elsewhere' })], keys)).resolves.toBeDefined();
    expect(await refusal(verify([await token({}, { key, kid: 'shared' })], keys))).toMatchObject({
      code: status.UNAUTHENTICATED,
    });
  });

  it('is verified with the keys of its algorithm, whatever others there are', async () => {
    const other: BearerKey = { id: 'r', algorithm: 'RS256', key: readBearerKey(pem(RSA.publicKey), 'RS256') };
    await expect(verify([await token({})], [other, shared])).resolves.toBeDefined();
    await expect(verify([await token({}, { kid: 'r' })], [other, shared])).resolves.toBeDefined();
  });

  it('of an issuer that has keys of its own is verified with no other, and these keys verify for no other', async () => {
    const bound: BearerKey = { id: 'b', issuer: 'bank', algorithm: 'HS256', key: readBearerKey(OTHER_SECRET, 'HS256') };
    const keys = [shared, bound];
    const key = Buffer.from(OTHER_SECRET);
    await expect(verify([await token({ iss: 'bank' }, { key })], keys)).resolves.toBeDefined();
    await expect(verify([await token({ iss: 'shop' })], keys)).resolves.toBeDefined();
    for (const bad of [await token({ iss: 'bank' }), await token({ iss: 'shop' }, { key }), await token({}, { key })]) {
      expect(await refusal(verify([bad], keys))).toMatchObject({ code: status.UNAUTHENTICATED });
    }
  });

  it('is in no sentence', async () => {
    const bad = await token({ sub: 'ann', exp: now - 60, iss: 'who-issued' });
    for (const keys of [[], [shared]]) {
      const { message } = await refusal(verify([bad], keys));
      for (const part of [...bad.split('.'), 'ann', 'who-issued']) expect(message).not.toContain(part);
    }
  });
});

describe('the text of a key', () => {
  it('is a secret, or its bytes in base64', () => {
    const bytes = Buffer.alloc(32, 7);
    expect(readBearerKey(`base64:${bytes.toString('base64')}`, 'HS256').export()).toEqual(bytes);
    expect(readBearerKey(SECRET, 'HS256').export()).toEqual(Buffer.from(SECRET));
  });

  const small = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const secret = EC.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  it.each([
    ['a short secret', 'short', 'HS256', /5 bytes, expected 32 or more for HS256/],
    ['a secret that is short for its algorithm', SECRET, 'HS512', /expected 64 or more for HS512/],
    ['no PEM', 'hello', 'RS256', /what is no key .*expected a public key for RS256 in PEM/],
    ['a private key', secret, 'ES256', /a private key/],
    ['another curve', pem(EC.publicKey), 'ES384', /one of ec prime256v1, expected a public key for ES384/],
    ['another kind', pem(EC.publicKey), 'RS256', /one of ec, expected a public key for RS256/],
    ['another kind', pem(RSA.publicKey), 'EdDSA', /one of rsa, expected a public key for EdDSA/],
    ['a small key', pem(small.publicKey), 'PS256', /one of 1024 bits/],
  ] as const)('is refused in words that do not tell it: %s', (_, text, algorithm, sentence) => {
    expect(() => readBearerKey(text, algorithm)).toThrow(sentence);
    for (const line of text.split('\n').filter(({ length }) => length > 20)) {
      expect(() => readBearerKey(text, algorithm)).not.toThrow(line.slice(0, 20));
    }
  });
});
