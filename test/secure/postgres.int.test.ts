import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { expect, it } from 'vitest';
import { type Assumed, loadConfig } from '../../src/config/load.ts';
import { messageOf } from '../../src/errors.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { createPool } from '../../src/journal/pool.ts';
import { startGuard } from '../../src/local/guard.ts';
import { newClusterId } from '../../src/local/kafka.ts';
import { freePorts } from '../../src/local/ports.ts';
import { startPostgres } from '../../src/local/postgres.ts';
import { rootsFolder } from '../../src/local/postgres-home.ts';
import { postgresServer } from '../../src/postgres-connection.ts';
import { startProxy } from '../fault/proxy.ts';
import { type Certified, createAuthority, filesOf } from '../support/certificates.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';

/*
 * A Postgres that takes no connection in clear text from the roles of this file: one has a password, one a certificate.
 */
const PASSWORD = 'the-password-of-carts';
const file = fileScope();
const dir = await mkdtemp(path.join(tmpdir(), 'stateferry-secured-'));
file.onTestFinished(() => rm(dir, { recursive: true, force: true }));
const guard = startGuard({ log: () => undefined });
file.onTestFinished(() => guard.close());
const name = newClusterId();
file.onTestFinished(() => rm(rootsFolder(name), { recursive: true, force: true, maxRetries: 5 }));
const postgres = await startPostgres({
  dir: path.join(dir, 'postgres'),
  name,
  password: 'administrator',
  host: { env: process.env, guard, signal: new AbortController().signal, log: () => undefined },
});
file.onTestFinished(() => postgres.stop());

const authority = createAuthority();
const other = createAuthority('Other CA');
const certified = authority.issue({ commonName: 'certified' });
const { paths } = await filesOf(file, {
  ca: authority.certificate,
  otherCa: other.certificate,
  certificate: certified.certificate,
  key: certified.key,
  password: `${PASSWORD}\n`,
  wrong: 'not the password\n',
});

async function administer(...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: postgres.url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Writes a file of the server's, readable for it alone. */
const writing = (text: string, to: string) =>
  `copy (select ${pg.escapeLiteral(text.replaceAll('\r', '').replaceAll('\n', '~'))}) to program 'umask 077; tr "~" "\\n" > ${to}'`;

/** Has the server show this certificate from now on. */
async function show({ certificate, key }: Certified): Promise<void> {
  await administer(
    writing(certificate, 'own.pem'),
    writing(key, 'own.key'),
    writing(authority.certificate, 'ca.pem'),
    `alter system set ssl_cert_file = 'own.pem'`,
    `alter system set ssl_key_file = 'own.key'`,
    `alter system set ssl_ca_file = 'ca.pem'`,
    'alter system set ssl = on',
    'select pg_reload_conf()',
  );
}

const own = authority.issue({ commonName: 'postgres', addresses: ['127.0.0.1'] });
await show(own);
await administer(
  `create role carts login password '${PASSWORD}'`,
  'create role certified login',
  'grant create on database stateferry to carts, certified',
  writing(
    [
      'hostssl all carts 127.0.0.1/32 scram-sha-256',
      'hostssl all certified 127.0.0.1/32 cert',
      'host all stateferry 127.0.0.1/32 scram-sha-256',
      '',
    ].join('\n'),
    'pg_hba.conf',
  ),
  'select pg_reload_conf()',
);

const urlOf = (role: string, query = '') => `postgres://${role}@127.0.0.1:${postgres.port}/stateferry${query}`;

function configOf(assumed: Assumed) {
  return loadConfig({
    argvFlags: {},
    env: {},
    cwd: '/',
    readFile: () => undefined,
    assumed: { 'kafka.brokers': ['127.0.0.1:1'], ...assumed },
  }).config;
}

/** Whether the connection is encrypted, or what a client of these settings fails with. */
async function attempt(assumed: Assumed): Promise<boolean | string> {
  try {
    const pool = createPool({
      ...postgresServer(configOf(assumed)),
      schema: 'x',
      size: 1,
      statementTimeoutMs: 5_000,
      applicationName: 'test',
      onIdleError: () => undefined,
    });
    try {
      const found = await pool.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
      return found.rows[0].ssl;
    } finally {
      await pool.end();
    }
  } catch (error) {
    return messageOf(error);
  }
}

const CARTS = { 'postgres.url': urlOf('carts'), 'postgres.passwordFile': paths.password };
const TLS = { caFile: paths.ca };

it('a role comes in by TLS with its password or with its certificate, and migrates', async () => {
  expect(await attempt({ ...CARTS, 'postgres.tls': TLS })).toBe(true);
  for (const mode of ['require', 'verify-full']) {
    const url = urlOf('carts', `?sslmode=${mode}&sslrootcert=${paths.ca}`);
    expect(await attempt({ ...CARTS, 'postgres.url': url })).toBe(true);
  }
  const tls = { ...TLS, certificateFile: paths.certificate, keyFile: paths.key };
  expect(await attempt({ 'postgres.url': urlOf('certified'), 'postgres.tls': tls })).toBe(true);
  const server = postgresServer(configOf({ ...CARTS, 'postgres.tls': TLS }));
  await migrate({ ...server, schema: `s_${randomUUID().replaceAll('-', '')}` });
});

it('what is wrong is said in one sentence, with what to do', async () => {
  expect(await attempt(CARTS)).toMatch(/no encryption.*Set postgres\.tls/);
  expect(await attempt({ ...CARTS, 'postgres.passwordFile': paths.wrong, 'postgres.tls': TLS })).toMatch(
    /password authentication failed for user "carts"\. Check .*postgres\.passwordFile/,
  );
  expect(await attempt({ ...CARTS, 'postgres.tls': { caFile: paths.otherCa } })).toMatch(
    /no CA that is trusted here.*postgres\.tls\.caFile/,
  );
  for (const sslmode of ['require', 'verify-full']) {
    const url = urlOf('carts', `?sslmode=${sslmode}&sslrootcert=${paths.otherCa}`);
    expect(await attempt({ ...CARTS, 'postgres.url': url }), sslmode).toMatch(/no CA that is trusted here/);
  }
  expect(await attempt({ 'postgres.url': urlOf('certified'), 'postgres.tls': TLS })).toMatch(
    /certificate|Check the user/,
  );
  expect(await attempt({ ...CARTS, 'postgres.passwordFile': '/nowhere' })).toMatch(
    /postgres\.passwordFile: found no file that can be read/,
  );
  await show(authority.issue({ commonName: 'postgres', dnsNames: ['elsewhere.example'] }));
  await eventually('the other certificate is shown', async () =>
    /for another name .*set postgres\.tls\.serverName/.test(String(await attempt({ ...CARTS, 'postgres.tls': TLS }))),
  );
  expect(await attempt({ ...CARTS, 'postgres.tls': { ...TLS, serverName: 'elsewhere.example' } })).toBe(true);
  await show(authority.issue({ commonName: 'postgres', addresses: ['127.0.0.1'], lastsMs: -60_000 }));
  await eventually('the old certificate is shown', async () =>
    /certificate of the server.*has expired/.test(String(await attempt({ ...CARTS, 'postgres.tls': TLS }))),
  );
  await administer('alter system set ssl = off', 'select pg_reload_conf()');
  await eventually('TLS is off', async () =>
    /does not speak TLS here/.test(String(await attempt({ ...CARTS, 'postgres.tls': TLS }))),
  );
  await show(own);
  await eventually('all is well again', async () => (await attempt({ ...CARTS, 'postgres.tls': TLS })) === true);
});

it('a start whose password is refused tries again with back-off', async (t) => {
  const [port = 0] = await freePorts(1);
  const proxy = await startProxy({ port, to: () => postgres.port });
  t.onTestFinished(() => proxy.close());
  const began = Date.now();
  const runtime = startRuntime(t, {
    'deployment.name': deploymentName(t),
    'postgres.url': `postgres://carts@127.0.0.1:${proxy.port}/stateferry`,
    'postgres.passwordFile': paths.wrong,
    'postgres.tls': TLS,
  });
  expect((await runtime.logged('Waiting for Postgres')).reason).toMatch(/password authentication failed/);
  await eventually('it has tried four times', () => proxy.connections >= 4);
  // Waits of 200, 400 and 800 ms.
  expect(Date.now() - began).toBeGreaterThan(1_200);
  expect(runtime.log.filter(({ msg }) => msg === 'Waiting for Postgres')).toHaveLength(1);
  await runtime.stop();
});
