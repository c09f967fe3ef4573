import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { createRegistryClient } from '../../src/registry/client.ts';
import { readRegistryAccess } from '../../src/registry-access.ts';
import { createAuthority, filesOf } from '../support/certificates.ts';

it('a registry with TLS is asked by one that it trusts and that trusts it, as the files say', async (t) => {
  const authority = createAuthority();
  const own = authority.issue({ addresses: ['127.0.0.1'] });
  const mine = authority.issue({ commonName: 'stateferry' });
  let authorization: string | undefined;
  const server = createServer(
    { cert: own.certificate, key: own.key, ca: authority.certificate, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      authorization = request.headers.authorization;
      response.end(JSON.stringify({ schema: '"string"' }));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const urls = [`https://127.0.0.1:${(server.address() as AddressInfo).port}`];
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
  expect(authorization).toBe('Bearer a-token');
  await expect(ask({ tls: { caFile: paths.ca } })).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
  await expect(ask({})).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
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
