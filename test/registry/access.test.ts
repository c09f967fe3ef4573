import { rm } from 'node:fs/promises';
import { createServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { createRegistryClient } from '../../src/registry/client.ts';
import { readRegistryAccess } from '../../src/registry-access.ts';
import { type Authority, createAuthority, filesOf } from '../support/certificates.ts';
import type { Scope } from '../support/scope.ts';

/** A registry in TLS that wants certificates of its own CA; what it was last shown, and a way to give it another CA. */
async function startSecure(t: Scope, authority: Authority) {
  const secretsOf = (by: Authority): ServerOptions => {
    const { certificate, key } = by.issue({ addresses: ['127.0.0.1'] });
    return { cert: certificate, key, ca: by.certificate };
  };
  const asked: (string | undefined)[] = [];
  const server = createServer(
    { ...secretsOf(authority), requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      asked.push(request.headers.authorization);
      response.end(JSON.stringify({ schema: '"string"' }));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    urls: [`https://127.0.0.1:${(server.address() as AddressInfo).port}`],
    asked,
    turnTo(other: Authority): void {
      server.setSecureContext(secretsOf(other));
      server.closeAllConnections();
    },
  };
}

it('a registry with TLS is asked by one that it trusts and that trusts it, as the files say', async (t) => {
  const authority = createAuthority();
  const mine = authority.issue({ commonName: 'stateferry' });
  const { urls, asked } = await startSecure(t, authority);
  const { paths } = await filesOf(t, {
    ca: authority.certificate,
    certificate: mine.certificate,
    key: mine.key,
    token: 'a-token\n',
  });
  const ask = async (given: Partial<Parameters<typeof readRegistryAccess>[0]>) => {
    const faults: string[] = [];
    const client = createRegistryClient({
      urls,
      timeoutMs: 5_000,
      ...readRegistryAccess({ urls, tls: {}, auth: {}, ...given }, faults),
    });
    expect(faults).toEqual([]);
    t.onTestFinished(async () => client.close());
    return client.schema(1);
  };
  const tls = { caFile: paths.ca, certificateFile: paths.certificate, keyFile: paths.key };
  expect(await ask({ tls, auth: { tokenFile: paths.token } })).toMatchObject({ text: '"string"' });
  expect(asked).toEqual(['Bearer a-token']);
  await expect(ask({ tls: { caFile: paths.ca } })).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
  await expect(ask({})).rejects.toMatchObject({
    code: 'REGISTRY_UNAVAILABLE',
    message: expect.stringMatching(/no CA that is trusted here .*: set registry\.tls\.caFile/),
  });
});

it('certificates and secrets that are written anew are used from the next request on, broken ones are told and not used', async (t) => {
  const [before, after] = [createAuthority(), createAuthority('The next CA')];
  const textsOf = (by: Authority) => {
    const { certificate, key } = by.issue({ commonName: 'stateferry' });
    return { ca: by.certificate, certificate, key };
  };
  const { urls, asked, turnTo } = await startSecure(t, before);
  const { paths, write } = await filesOf(t, { ...textsOf(before), password: 'first\n' });
  const tls = { caFile: paths.ca, certificateFile: paths.certificate, keyFile: paths.key };
  const broken: string[] = [];
  const access = readRegistryAccess({ urls, tls, auth: { user: 'me', passwordFile: paths.password } }, [], (reason) =>
    broken.push(reason.replace(/:.*/, '')),
  );
  const client = createRegistryClient({ urls, timeoutMs: 5_000, ...access });
  t.onTestFinished(async () => client.close());
  const basic = (password: string) => `Basic ${Buffer.from(`me:${password}`).toString('base64')}`;
  await client.schema(1);

  turnTo(after);
  await expect(client.schema(1)).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
  for (const [name, text] of Object.entries(textsOf(after))) await write(name as 'ca', text);
  await write('password', 'second\n');
  await client.schema(1);
  expect(broken).toEqual([]);

  await write('key', 'half a key');
  await write('password', '');
  await client.schema(1);
  await client.schema(1);
  expect(broken.sort()).toEqual(['registry.auth.passwordFile', 'registry.tls.keyFile']);
  await write('password', 'third');
  await client.schema(1);
  expect(asked).toEqual(['first', 'second', 'second', 'second', 'third'].map(basic));
});

it('a token that is written anew is shown from the next request on', async (t) => {
  const authority = createAuthority();
  const { urls, asked } = await startSecure(t, authority);
  const { certificate, key } = authority.issue({ commonName: 'stateferry' });
  const { paths, write } = await filesOf(t, { ca: authority.certificate, certificate, key, token: 'first\n' });
  const tls = { caFile: paths.ca, certificateFile: paths.certificate, keyFile: paths.key };
  const broken: string[] = [];
  const access = readRegistryAccess({ urls, tls, auth: { tokenFile: paths.token } }, [], (reason) =>
    broken.push(reason),
  );
  const client = createRegistryClient({ urls, timeoutMs: 5_000, ...access });
  t.onTestFinished(async () => client.close());
  await client.schema(1);
  await write('token', 'second\n');
  await client.schema(1);
  await rm(paths.token);
  await client.schema(1);
  expect(asked).toEqual(['Bearer first', 'Bearer second', 'Bearer second']);
  expect(broken).toEqual([expect.stringMatching(/^registry\.auth\.tokenFile: found no file that can be read/)]);
});

it('every file that cannot be used is told at once', async (t) => {
  const { paths } = await filesOf(t, { words: 'no certificate', nothing: '' });
  const faults: string[] = [];
  const tls = { caFile: paths.words, certificateFile: paths.words, keyFile: paths.words };
  readRegistryAccess({ urls: ['https://a'], tls, auth: { user: 'a', passwordFile: paths.nothing } }, faults);
  readRegistryAccess({ urls: ['http://a'], tls, auth: {} }, faults);
  expect(faults.map((fault) => fault.replace(/:.*/, ''))).toEqual([
    'registry.auth.passwordFile',
    'registry.tls.caFile',
    'registry.tls.certificateFile',
    'registry.tls.keyFile',
    'registry.tls',
  ]);
});
