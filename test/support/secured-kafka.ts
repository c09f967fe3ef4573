import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startGuard } from '../../src/local/guard.ts';
import { newClusterId, startKafka } from '../../src/local/kafka.ts';
import { freePorts } from '../../src/local/ports.ts';
import { type Authority, type Certified, createAuthority } from './certificates.ts';
import type { Scope } from './scope.ts';

/** Ways to one broker, each with a port of its own, as host:port. */
const LISTENERS = {
  /** Clear text for whoever comes, who may do everything: the test itself. */
  open: 'PLAINTEXT',
  tls: 'SSL',
  /** Wants a certificate of its clients, whose common name is the user. */
  mtls: 'SSL',
  /** TLS and any of the mechanisms. */
  sasl: 'SASL_SSL',
  /** The mechanisms in clear text. */
  clear: 'SASL_PLAINTEXT',
  /** With a certificate that has expired. */
  expired: 'SSL',
  /** With a certificate for another host. */
  stranger: 'SSL',
} as const;

export type ListenerName = keyof typeof LISTENERS;

export interface SecuredKafka {
  readonly at: Readonly<Record<ListenerName, string>>;
  /** Of all its certificates. */
  readonly authority: Authority;
}

const MECHANISMS = 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER';
const COMMON = 'org.apache.kafka.common.security';

/**
 * A broker that checks who its clients are and what they may (StandardAuthorizer): nothing that no ACL says, but for `open`.
 * `config`: settings of the broker besides.
 */
export async function startSecuredKafka(
  t: Scope,
  users: Readonly<Record<string, string>>,
  config: Readonly<Record<string, string>> = {},
): Promise<SecuredKafka> {
  const dir = await mkdtemp(path.join(tmpdir(), 'stateferry-secured-'));
  t.onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const guard = startGuard({ log: () => undefined });
  t.onTestFinished(() => guard.close());
  const names = Object.keys(LISTENERS) as ListenerName[];
  const ports = await freePorts(names.length + 1);
  const controller = ports.at(-1) as number;
  const at = Object.fromEntries(names.map((name, n) => [name, `127.0.0.1:${ports[n]}`])) as Record<
    ListenerName,
    string
  >;
  const nameOf = (name: ListenerName) => (name === 'open' ? 'CLIENTS' : name.toUpperCase());
  const addresses = names.map((name) => `${nameOf(name)}://${at[name]}`).join(',');

  const authority = createAuthority();
  const own = authority.issue({ commonName: 'broker', addresses: ['127.0.0.1'], dnsNames: ['localhost'] });
  const keystores: Partial<Record<ListenerName, Certified>> = {
    tls: own,
    mtls: own,
    sasl: own,
    expired: authority.issue({ commonName: 'broker', addresses: ['127.0.0.1'], lastsMs: -60_000 }),
    stranger: authority.issue({ commonName: 'broker', dnsNames: ['elsewhere.example'] }),
  };
  const plainUsers = Object.entries(users).map(([user, password]) => `user_${user}="${password}"`);
  const kafka = await startKafka({
    dir: path.join(dir, 'kafka'),
    clusterId: newClusterId(),
    ports: [ports[0] as number, controller],
    config: {
      ...config,
      listeners: `${addresses},CONTROLLER://127.0.0.1:${controller}`,
      'advertised.listeners': addresses,
      'listener.security.protocol.map': [
        ...names.map((name) => `${nameOf(name)}:${LISTENERS[name]}`),
        'CONTROLLER:PLAINTEXT',
      ].join(','),
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users': 'User:ANONYMOUS',
      'ssl.principal.mapping.rules': 'RULE:^CN=(.*?)$/$1/,DEFAULT',
      'listener.name.mtls.ssl.client.auth': 'required',
      ...Object.fromEntries(
        Object.entries(keystores).flatMap(([name, { certificate, key }]) =>
          Object.entries({
            'ssl.keystore.type': 'PEM',
            'ssl.keystore.certificate.chain': certificate,
            'ssl.keystore.key': key,
            'ssl.truststore.type': 'PEM',
            'ssl.truststore.certificates': authority.certificate,
          }).map(([setting, value]) => [`listener.name.${name}.${setting}`, value.replaceAll('\r', '')]),
        ),
      ),
      ...Object.fromEntries(
        ['sasl', 'clear'].flatMap((name) =>
          Object.entries({
            'sasl.enabled.mechanisms': MECHANISMS,
            'plain.sasl.jaas.config': `${COMMON}.plain.PlainLoginModule required ${plainUsers.join(' ')};`,
            'scram-sha-256.sasl.jaas.config': `${COMMON}.scram.ScramLoginModule required;`,
            'scram-sha-512.sasl.jaas.config': `${COMMON}.scram.ScramLoginModule required;`,
            'oauthbearer.sasl.jaas.config': `${COMMON}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
            'oauthbearer.sasl.server.callback.handler.class': `${COMMON}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler`,
            'oauthbearer.sasl.login.callback.handler.class': `${COMMON}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler`,
            // A session ends with its token.
            'oauthbearer.connections.max.reauth.ms': '3600000',
          }).map(([setting, value]) => [`listener.name.${name}.${setting}`, value]),
        ),
      ),
    },
    formatArgs: Object.entries(users).flatMap(([name, password]) =>
      ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
        '--add-scram',
        `${mechanism}=[name=${name},password=${password}]`,
      ]),
    ),
    host: { env: process.env, guard, signal: new AbortController().signal, log: () => undefined },
  });
  t.onTestFinished(() => kafka.stop());
  if (kafka.ports[0] !== ports[0]) throw new Error('the broker was started on other ports than those of its listeners');
  return { at, authority };
}

/** A token as the broker's validator takes it: a JWT that nobody signed, of a user, which ends `lastsMs` from now. */
export function unsignedToken(user: string, lastsMs = 3_600_000): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1_000);
  return `${part({ alg: 'none' })}.${part({ sub: user, iat: now - 1, exp: now + Math.floor(lastsMs / 1_000) })}.`;
}
