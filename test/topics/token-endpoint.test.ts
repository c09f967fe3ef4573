import { createServer as createPlainServer } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { readKafkaSecurity } from '../../src/kafka-connection.ts';
import { createLog } from '../../src/observe/log.ts';
import { type Certified, createAuthority, filesOf } from '../support/certificates.ts';
import type { Scope } from '../support/scope.ts';

/* Tokens for OAUTHBEARER from an endpoint that speaks TLS, with a certificate of a CA of the test's own. */

const SECRET = 'the-secret-of-the-client';
const authority = createAuthority();
const stranger = createAuthority('Another CA');
const HERE = authority.issue({ addresses: ['127.0.0.1'] });

/** Gives tokens `t1`, `t2`, ... of an hour each, and counts the connections and requests that got that far. */
async function startEndpoint(t: Scope, { certificate, key }: Certified) {
  let connections = 0;
  const requests: { authorization: string | undefined; body: string }[] = [];
  const server = createServer({ cert: certificate, key }, (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      requests.push({ authorization: request.headers.authorization, body: Buffer.concat(parts).toString() });
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ access_token: `t${requests.length}`, token_type: 'bearer', expires_in: 3_600 }));
    });
  });
  server.on('connection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://127.0.0.1:${port}/token`,
    requests,
    connections: () => connections,
    turnTo: (next: Certified) => server.setSecureContext({ cert: next.certificate, key: next.key }),
  };
}

/** How Kafka's clients get their tokens, by a configuration with this endpoint; what was logged of its files. */
function tokensBy(tokenUrl: string, files: Partial<Config['kafka']['sasl']>) {
  const logged: string[] = [];
  const faults: string[] = [];
  const { sasl } = readKafkaSecurity(
    {
      tls: {},
      requestTimeoutMs: 5_000,
      sasl: { mechanism: 'OAUTHBEARER', tokenUrl, clientId: 'carts', clientSecret: SECRET, scope: 'kafka', ...files },
    },
    faults,
    createLog({ level: 'warn', format: 'json' }, { write: (line) => logged.push(line) }),
  );
  expect(faults).toEqual([]);
  if (sasl?.mechanism !== 'OAUTHBEARER') throw new Error('there are no tokens');
  return { token: sasl.token, logged };
}

afterEach(() => {
  vi.useRealTimers();
});

it('an endpoint whose CA is known gives one token to all who ask, until most of its life is over', async (t) => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const endpoint = await startEndpoint(t, HERE);
  const { paths } = await filesOf(t, { ca: authority.certificate });
  const { token } = tokensBy(endpoint.url, { caFile: paths.ca });
  expect(await Promise.all([token(), token(), token()])).toEqual(['t1', 't1', 't1']);
  const authorization = `Basic ${Buffer.from(`carts:${SECRET}`).toString('base64')}`;
  expect(endpoint.requests).toEqual([{ authorization, body: 'grant_type=client_credentials&scope=kafka' }]);
  // 80 % of an hour.
  vi.setSystemTime(Date.now() + 2_879_000);
  expect(await token()).toBe('t1');
  vi.setSystemTime(Date.now() + 2_000);
  expect(await token()).toBe('t2');
});

it.for<[string, Certified, RegExp]>([
  [
    'of another CA',
    stranger.issue({ addresses: ['127.0.0.1'] }),
    /no CA that is trusted here .*: set kafka\.sasl\.caFile/,
  ],
  [
    'that has expired',
    authority.issue({ addresses: ['127.0.0.1'], lastsMs: -1_000 }),
    /the certificate of the server, .* has expired: give the server a new one$/,
  ],
  [
    'of another host',
    authority.issue({ dnsNames: ['tokens.internal'] }),
    /is for another name \(.*127\.0\.0\.1.*\): use a name that it has$/,
  ],
])(
  'an endpoint with a certificate %s gets no secret, is told of, and is asked again with back-off',
  async ([, certified, expected], t) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const endpoint = await startEndpoint(t, certified);
    const { paths } = await filesOf(t, { ca: authority.certificate });
    const { token } = tokensBy(endpoint.url, { caFile: paths.ca });
    const failure = async () => {
      const [error, ...others] = await Promise.all(
        Array.from({ length: 20 }, () => token().catch((caught: unknown) => caught)),
      );
      expect(new Set(others)).toEqual(new Set([error]));
      return (error as Error).message;
    };
    const said = await failure();
    expect(said).toMatch(expected);
    expect(said).toContain(`no token from ${endpoint.url}: `);
    expect(said).not.toContain(SECRET);

    // However many ask: at first once a second, then each time after twice as long.
    expect(endpoint.connections()).toBe(1);
    for (const [nth, pauseMs] of [1_000, 2_000, 4_000].entries()) {
      vi.setSystemTime(Date.now() + pauseMs - 1);
      await failure();
      expect(endpoint.connections()).toBe(nth + 1);
      vi.setSystemTime(Date.now() + 1);
      await failure();
      expect(endpoint.connections()).toBe(nth + 2);
    }
    expect(endpoint.requests).toEqual([]);

    // As soon as it has a right one.
    endpoint.turnTo(HERE);
    vi.setSystemTime(Date.now() + 8_000);
    expect(await token()).toBe('t1');
  },
);

it('a CA that is written anew counts from the next request on; one that cannot be used is told, and the one before counts', async (t) => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const endpoint = await startEndpoint(t, HERE);
  const { paths, write } = await filesOf(t, { ca: stranger.certificate });
  const { token, logged } = tokensBy(endpoint.url, { caFile: paths.ca });
  await expect(token()).rejects.toThrow(/no CA that is trusted/);
  await write('ca', authority.certificate);
  vi.setSystemTime(Date.now() + 1_000);
  expect(await token()).toBe('t1');
  await write('ca', 'half a certificate');
  vi.setSystemTime(Date.now() + 3_600_000);
  expect(await token()).toBe('t2');
  expect(logged.map((line) => JSON.parse(line))).toEqual([
    expect.objectContaining({ reason: expect.stringMatching(/^kafka\.sasl\.caFile: found no certificate/) }),
  ]);
});

it('an endpoint in clear text behind a URL with https is told of', async (t) => {
  const server = createPlainServer((_request, response) => response.end('{}'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(async () => void server.close());
  const { token } = tokensBy(`https://127.0.0.1:${(server.address() as AddressInfo).port}/token`, {});
  await expect(token()).rejects.toThrow(/does not speak TLS on this port .*, or begin kafka\.sasl\.tokenUrl with http/);
});
