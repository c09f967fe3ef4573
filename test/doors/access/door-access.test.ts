import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { Config } from '../../../src/config/config.ts';
import { readDoorAccess } from '../../../src/door-access.ts';
import { StateferryError } from '../../../src/errors.ts';
import { readNamedFiles } from '../../../src/named-files.ts';
import { kalix } from '../../../src/protocol/kalix.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { annotated } from './annotated.ts';

type Doors = Parameters<typeof readDoorAccess>[0];
const doors = (given: Partial<Config['doors']>): Doors => ({
  withoutAcl: 'closed',
  services: [],
  jwtKeys: [],
  ...given,
});

function refusal(given: Partial<Config['doors']>): string {
  try {
    readNamedFiles({
      doors: { ...doors(given), selfTokenFile: '', tls: {} },
      function: { url: 'http://127.0.0.1:1', tls: {} },
      registry: { urls: [], tls: {}, auth: {} },
      kafka: { tls: {}, sasl: {}, requestTimeoutMs: 1_000 },
      postgres: { url: 'postgres://127.0.0.1/x', tls: {}, passwordFile: '' },
      http: { token: '', tokenFile: '', tls: {} },
    });
  } catch (error) {
    expect(error).toBeInstanceOf(StateferryError);
    expect((error as StateferryError).code).toBe('CONFIG_INVALID');
    return (error as StateferryError).message;
  }
  throw new Error('the configuration was accepted');
}

it('a token is the text of its file, without the newline at its end', async (t) => {
  const tokenFile = path.join(await temporaryFolder(t), 'token');
  await writeFile(tokenFile, 'the-token-of-shop-1234\n');
  const { rules, method } = annotated({
    body: 'rpc Shop(Item) returns (Item) { option (kalix.method).acl = { allow: { service: "shop" } }; }',
  });
  const access = readDoorAccess(
    doors({ services: [{ name: 'shop', tokenFile }] }),
    [],
  )({
    access: rules,
    dialect: kalix(),
  });
  const call = (token: string) =>
    access.admit({
      method: method('Shop'),
      peer: { address: undefined },
      metadata: [{ key: 'authorization', value: `Bearer ${token}` }],
      signal: new AbortController().signal,
    });
  await expect(call('the-token-of-shop-1234')).resolves.toMatchObject({
    metadata: [{ key: '_kalix-src-svc', value: 'shop' }],
  });
  await expect(call('the-token-of-shop-1235')).rejects.toThrow('this caller may not call app.Api/Shop');
});

it('every file and key that cannot be used is told at once, and no secret', async (t) => {
  const folder = await temporaryFolder(t);
  const file = async (name: string, text: string) => {
    await writeFile(path.join(folder, name), text);
    return path.join(folder, name);
  };
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const message = refusal({
    services: [
      { name: 'a', tokenFile: path.join(folder, 'none') },
      { name: 'b', tokenFile: await file('short', 's3cret') },
      { name: 'c', token: 's3cret-s3cret-s3cret' },
      { name: 'd', tokenFile: await file('same', 's3cret-s3cret-s3cret') },
    ],
    jwtKeys: [
      { id: 'e', algorithm: 'HS256', key: 's3cret' },
      { id: 'f', algorithm: 'ES256', keyFile: await file('private', pem) },
    ],
  });
  expect(message).toContain('the configuration has 5 faults:');
  for (const where of [
    'doors.services[0].tokenFile: found no file that can be read',
    'doors.services[1].tokenFile: found a text in',
    'doors.services[3]: found the token of c',
    'doors.jwtKeys[0].key: found a secret of 6 bytes, expected 32 or more for HS256',
    'doors.jwtKeys[1].keyFile: found a private key',
  ]) {
    expect(message).toContain(where);
  }
  expect(message).not.toContain('s3cret');
  expect(message).not.toContain(pem.split('\n')[1]);
});
