import { randomUUID } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import kafkajs from 'kafkajs';
import { expect, it } from 'vitest';
import { quietKafka } from '../../src/commands/quiet-kafka.ts';
import { type Assumed, loadConfig } from '../../src/config/load.ts';
import { messageOf } from '../../src/errors.ts';
import { freePorts } from '../../src/local/ports.ts';
import { COMPONENTS, ORDER_SERVICE, ORDERS } from '../bad-input/orders.ts';
import { startProxy } from '../fault/proxy.ts';
import { createAuthority, filesOf } from '../support/certificates.ts';
import { createTopic, produce, readCommitted, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { replyWith, startScriptedFunction } from '../support/scripted-function.ts';
import { type ListenerName, startSecuredKafka, unsignedToken } from '../support/secured-kafka.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';

const file = fileScope();
const PASSWORD = 'the-password-of-alice';
const { at, authority } = await startSecuredKafka(file, { alice: PASSWORD });
const alice = authority.issue({ commonName: 'alice' });
const old = authority.issue({ commonName: 'alice', lastsMs: -60_000 });
const other = createAuthority('Other CA');
const stranger = other.issue({ commonName: 'alice' });
const { paths } = await filesOf(file, {
  ca: authority.certificate,
  otherCa: other.certificate,
  certificate: alice.certificate,
  key: alice.key,
  oldCertificate: old.certificate,
  oldKey: old.key,
  strangeCertificate: stranger.certificate,
  strangeKey: stranger.key,
  password: `${PASSWORD}\n`,
  token: unsignedToken('alice'),
});
const TLS = { caFile: paths.ca };
const MTLS = { ...TLS, certificateFile: paths.certificate, keyFile: paths.key };

function configOf(listener: ListenerName, security: { tls?: object; sasl?: object }, more: Assumed = {}) {
  return loadConfig({
    argvFlags: {},
    env: {},
    cwd: '/',
    readFile: () => undefined,
    assumed: {
      'kafka.brokers': [at[listener]],
      'kafka.tls': security.tls ?? {},
      'kafka.sasl': security.sasl ?? {},
      'kafka.requestTimeoutMs': 5_000,
      'postgres.url': 'postgres://127.0.0.1:1/none',
      ...more,
    },
  }).config;
}

/** "in", or what a client of these settings fails with. */
async function attempt(listener: ListenerName, security: { tls?: object; sasl?: object }, more?: Assumed) {
  try {
    const admin = quietKafka(configOf(listener, security, more)).admin();
    await admin.connect();
    try {
      await admin.describeCluster();
    } finally {
      await admin.disconnect();
    }
    return 'in';
  } catch (error) {
    return messageOf(error);
  }
}

const byPassword = (mechanism: string) => ({ mechanism, username: 'alice', passwordFile: paths.password });

/** An endpoint in TLS that gives tokens for client credentials, and counts how often it was asked. */
async function startEndpoint(answer: (authorization: string) => { status: number; body: object }) {
  let asked = 0;
  const { certificate, key } = authority.issue({ addresses: ['127.0.0.1'] });
  const server = createServer({ cert: certificate, key }, (request, response) => {
    asked++;
    const { status, body } = answer(request.headers.authorization ?? '');
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  file.onTestFinished(async () => void server.close());
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/token`, asked: () => asked };
}

it('every mechanism lets a client with the right credentials in, also in clear text where that is asked for', async () => {
  const endpoint = await startEndpoint(() => ({
    status: 200,
    body: { access_token: unsignedToken('alice'), token_type: 'bearer', expires_in: 3_600 },
  }));
  const sasl = {
    plain: byPassword('PLAIN'),
    scram256: byPassword('SCRAM-SHA-256'),
    scram512: { mechanism: 'SCRAM-SHA-512', username: 'alice', password: PASSWORD },
    token: { mechanism: 'OAUTHBEARER', tokenFile: paths.token },
    endpoint: { mechanism: 'OAUTHBEARER', tokenUrl: endpoint.url, clientId: 'carts', clientSecret: 's', ...TLS },
  };
  const outcomes = await Promise.all([
    attempt('tls', { tls: TLS }),
    attempt('mtls', { tls: MTLS }),
    ...Object.values(sasl).map((each) => attempt('sasl', { tls: TLS, sasl: each })),
    ...Object.values(sasl).map((each) => attempt('clear', { sasl: each })),
    attempt('stranger', { tls: { ...TLS, serverName: 'elsewhere.example' } }),
  ]);
  expect(outcomes).toEqual(outcomes.map(() => 'in'));
  // One for each client, though each has a connection to the seed and one to the broker.
  expect(endpoint.asked()).toBe(2);
});

it('what is wrong is said in one sentence, with what to do', async () => {
  const endpoint = await startEndpoint(() => ({ status: 401, body: { error: 'invalid_client', secret: PASSWORD } }));
  const wrong = { ...byPassword('SCRAM-SHA-256'), passwordFile: paths.token };
  const cases: [what: string, outcome: Promise<string>, expected: RegExp][] = [
    ['an expired server', attempt('expired', { tls: TLS }), /certificate of the server.*expired: give/],
    ['another host', attempt('stranger', { tls: TLS }), /for another name .*set kafka\.tls\.serverName/],
    [
      'an unknown CA',
      attempt('tls', { tls: { caFile: paths.otherCa } }),
      /no CA that is trusted .*set kafka\.tls\.caFile/,
    ],
    ['clear text to TLS', attempt('tls', {}), /the broker speaks TLS on this port: set kafka\.tls/],
    ['TLS to clear text', attempt('open', { tls: TLS }), /(does not speak TLS|hung up).*or leave kafka\.tls out/],
    ['no user', attempt('sasl', { tls: TLS }), /hung up right after.*set kafka\.sasl/],
    ['no user in clear text', attempt('clear', {}), /hung up right after.*set kafka\.sasl/],
    ['no certificate', attempt('mtls', { tls: TLS }), /broke off the handshake of TLS.*kafka\.tls\.certificateFile/],
    [
      'a certificate of another CA',
      attempt('mtls', { tls: { ...TLS, certificateFile: paths.strangeCertificate, keyFile: paths.strangeKey } }),
      /broke off the handshake of TLS.*kafka\.tls\.certificateFile/,
    ],
    [
      'an expired certificate of ours',
      attempt('mtls', { tls: { ...TLS, certificateFile: paths.oldCertificate, keyFile: paths.oldKey } }),
      /kafka\.tls\.certificateFile: found in .* a certificate that expired on/,
    ],
    ...['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'].map((mechanism): [string, Promise<string>, RegExp] => [
      `a wrong password for ${mechanism}`,
      attempt('sasl', { tls: TLS, sasl: { ...wrong, mechanism } }),
      new RegExp(`did not let this client in by ${mechanism} as "alice": .*Check kafka\\.sasl`),
    ]),
    [
      'an expired token',
      attempt('sasl', {
        tls: TLS,
        sasl: {
          mechanism: 'OAUTHBEARER',
          tokenFile: (await filesOf(file, { t: unsignedToken('alice', -60_000) })).paths.t,
        },
      }),
      /did not let this client in by OAUTHBEARER: the token is refused: .*invalid_token/,
    ],
    [
      'a refused client',
      attempt('sasl', {
        tls: TLS,
        sasl: { mechanism: 'OAUTHBEARER', tokenUrl: endpoint.url, clientId: 'carts', clientSecret: 's', ...TLS },
      }),
      /no token from .*it answers 401 \(invalid_client\); check kafka\.sasl\.tokenUrl/,
    ],
    [
      'an endpoint of an unknown CA',
      attempt('sasl', {
        tls: TLS,
        sasl: { mechanism: 'OAUTHBEARER', tokenUrl: endpoint.url, clientId: 'carts', clientSecret: 's' },
      }),
      /no token from .*: no CA that is trusted .*set kafka\.sasl\.caFile/,
    ],
  ];
  for (const [what, outcome, expected] of cases) {
    const said = await outcome;
    expect(said, what).toMatch(expected);
    expect(said, what).not.toContain(PASSWORD);
  }
}, 60_000);

it('a secret that would be shown to everybody on the way stops the start', () => {
  const sasl = byPassword('PLAIN');
  const far = { 'kafka.brokers': ['kafka.example:9092'] };
  expect(() => configOf('clear', { sasl }, far)).toThrow(/show their secret to everybody on the way/);
  expect(() => configOf('clear', { sasl: { ...sasl, allowClearText: true } }, far)).not.toThrow();
  expect(() => configOf('sasl', { sasl, tls: TLS }, far)).not.toThrow();
  expect(() => configOf('clear', { sasl: byPassword('SCRAM-SHA-512') }, far)).not.toThrow();
});

it('while its credentials are refused a start tries again with back-off, and goes on when they are right', async (t) => {
  const [port = 0] = await freePorts(1);
  const proxy = await startProxy({ port, to: () => Number(at.sasl.split(':')[1]) });
  t.onTestFinished(() => proxy.close());
  const secret = await filesOf(t, { password: 'wrong' });
  const began = Date.now();
  const runtime = startRuntime(t, {
    'deployment.name': deploymentName(t),
    'kafka.brokers': [`127.0.0.1:${proxy.port}`],
    'kafka.tls': TLS,
    'kafka.sasl': { mechanism: 'SCRAM-SHA-256', username: 'alice', passwordFile: secret.paths.password },
    'postgres.url': await createDatabase(t),
    'function.url': 'http://127.0.0.1:1',
  });
  const line = await runtime.logged('Waiting for Kafka');
  expect(line.reason).toMatch(/did not let this client in by SCRAM-SHA-256 as "alice"/);
  await eventually('it has tried four times', () => proxy.connections >= 4);
  // Waits of 200, 400 and 800 ms.
  expect(Date.now() - began).toBeGreaterThan(1_200);
  expect(runtime.log.filter(({ msg }) => msg === 'Waiting for Kafka')).toHaveLength(1);
  await secret.write('password', PASSWORD);
  // Kafka and Postgres are there then.
  await runtime.logged('Waiting for the function');
  expect(JSON.stringify(runtime.log)).not.toContain(PASSWORD);
  await runtime.stop();
}, 30_000);

it('a certificate that was written anew is shown from the next connection on, and a broken one is not', async (t) => {
  const later = await filesOf(t, { certificate: stranger.certificate, key: stranger.key });
  const kafka = quietKafka(
    configOf('mtls', { tls: { ...TLS, certificateFile: later.paths.certificate, keyFile: later.paths.key } }),
  );
  const connect = async () => {
    const admin = kafka.admin({ retry: { retries: 0 } });
    try {
      await admin.connect();
      await admin.describeCluster();
      return 'in';
    } catch (error) {
      return messageOf(error);
    } finally {
      await admin.disconnect();
    }
  };
  expect(await connect()).toMatch(/broke off/);
  await later.write('certificate', alice.certificate);
  await later.write('key', alice.key);
  expect(await connect()).toBe('in');
  await later.write('key', 'half a key');
  expect(await connect()).toBe('in');
});

it('an engine outlives its tokens: with new ones it works on; without, it tries again with back-off until there are', async (t) => {
  const LIFE_MS = 5_000;
  const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;
  await withAdmin(
    async (admin) => {
      const { TOPIC, GROUP, TRANSACTIONAL_ID } = AclResourceTypes;
      await admin.createAcls({
        acl: [TOPIC, GROUP, TRANSACTIONAL_ID].map((resourceType) => ({
          resourceType,
          resourceName: '*',
          resourcePatternType: ResourcePatternTypes.LITERAL,
          principal: 'User:alice',
          host: '*',
          operation: AclOperationTypes.ALL,
          permissionType: AclPermissionTypes.ALLOW,
        })),
      });
    },
    [at.open],
  );
  const fn = await startScriptedFunction(t, {
    descriptor: ORDERS,
    components: COMPONENTS,
    onCommand: ({ id, input }) => ({
      reply: { command_id: id, ...replyWith(fn.pack('orders.Done', { text: String(input.text) })) },
    }),
  });
  const input = await createTopic(t, { partitions: 1, brokers: [at.open] });
  const replies = await createTopic(t, { partitions: 1, brokers: [at.open] });
  const short = await filesOf(t, { token: unsignedToken('alice', LIFE_MS) });
  const renew = () => short.write('token', unsignedToken('alice', LIFE_MS));
  const renewing = setInterval(() => void renew(), LIFE_MS / 3);
  t.onTestFinished(async () => clearInterval(renewing));
  const began = Date.now();
  const runtime = startRuntime(t, {
    'deployment.name': `d-${randomUUID()}`,
    'kafka.brokers': [at.sasl],
    'kafka.tls': TLS,
    'kafka.sasl': { mechanism: 'OAUTHBEARER', tokenFile: short.paths.token },
    'postgres.url': await createDatabase(t),
    'function.url': fn.url,
    'topics.subscriptions': [{ topic: input, service: ORDER_SERVICE, method: 'Place', format: 'json' }],
    'topics.destinations': { replies: [{ service: ORDER_SERVICE, method: 'Place', topic: replies }] },
  });
  await runtime.ready();
  const order = async (count: number) => {
    await produce(input, [{ key: 'a', value: JSON.stringify({ id: 'a', text: `${count}` }) }], [at.open]);
    await readCommitted(replies, { count }, { brokers: [at.open], timeoutMs: 60_000 });
  };
  await order(1);
  await eventually('the first token has ended', () => Date.now() - began > LIFE_MS + 1_000);
  await order(2);

  clearInterval(renewing);
  const refused = () => runtime.log.filter((line) => /the token is refused/.test(JSON.stringify(line))).length;
  await eventually('it is refused', () => refused() > 0, 60_000);
  const first = { at: Date.now(), refused: refused() };
  await eventually('some time has passed', () => Date.now() - first.at > 3_000);
  expect((refused() - first.refused) / 3, 'refusals a second').toBeLessThan(10);
  await renew();
  const again = setInterval(() => void renew(), LIFE_MS / 3);
  t.onTestFinished(async () => clearInterval(again));
  await order(3);
}, 180_000);
