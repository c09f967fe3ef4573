import { type Config, internalTopics } from './config.ts';
import type { OptionName } from './options.ts';
import { isSchemaFormat } from './registry.ts';
import { isLoopback, showsSecret } from './sasl.ts';
import { speaksTls } from './tls.ts';

/** Something that two options must hold together. */
export interface Relation {
  readonly options: readonly [OptionName, OptionName];
  /** A sentence without a full stop, for the fault and for the docs. */
  readonly rule: string;
  holds(config: Config): boolean;
}

/** What a Postgres URL says of TLS. */
const URL_TLS = ['sslmode', 'ssl', 'sslcert', 'sslkey', 'sslrootcert', 'sslnegotiation', 'uselibpqcompat'];

export const RELATIONS: readonly Relation[] = [
  {
    options: ['kafka.sasl', 'kafka.tls'],
    rule: 'PLAIN and OAUTHBEARER show their secret to everybody on the way, and so want TLS, brokers on this host, or `allowClearText: true` in `kafka.sasl`',
    holds: ({ kafka: { brokers, sasl, tls } }) =>
      !showsSecret(sasl) || speaksTls(tls) || brokers.every(isLoopback) || sasl.allowClearText === true,
  },
  {
    options: ['postgres.tls', 'postgres.url'],
    rule: 'TLS is asked for in one of the two: leave `sslmode` and its like out of the URL where there is `postgres.tls`',
    holds: ({ postgres: { tls, url } }) =>
      Object.keys(tls).length === 0 || URL_TLS.every((name) => !new URL(url).searchParams.has(name)),
  },
  {
    options: ['postgres.passwordFile', 'postgres.url'],
    rule: 'the password is in one of the two',
    holds: ({ postgres: { passwordFile, url } }) =>
      passwordFile === '' || (new URL(url).password === '' && !new URL(url).searchParams.has('password')),
  },
  {
    options: ['http.host', 'http.tokenFile'],
    rule: 'who is not on this host has to prove who it is: set `http.token`, `http.tokenFile` or `http.tls` with a `clientCaFile`, or listen on 127.0.0.1',
    holds: ({ http: { host, token, tokenFile, tls } }) =>
      isLoopback(`${host.includes(':') ? `[${host}]` : host}:1`) ||
      token !== '' ||
      tokenFile !== '' ||
      tls.clientCaFile !== undefined,
  },
  {
    options: ['http.token', 'http.tokenFile'],
    rule: 'these are two places of one token: set one of them',
    holds: ({ http: { token, tokenFile } }) => token === '' || tokenFile === '',
  },
  {
    options: ['kafka.heartbeatIntervalMs', 'kafka.sessionTimeoutMs'],
    rule: 'the heartbeat interval must be less than half of the session timeout, so that one lost heartbeat costs no shard',
    holds: ({ kafka }) => kafka.heartbeatIntervalMs < kafka.sessionTimeoutMs / 2,
  },
  {
    options: ['kafka.fetchMaxWaitMs', 'kafka.requestTimeoutMs'],
    rule: 'a fetch must be answered before its request times out',
    holds: ({ kafka }) => kafka.fetchMaxWaitMs < kafka.requestTimeoutMs,
  },
  {
    options: ['engine.drainTimeoutMs', 'kafka.rebalanceTimeoutMs'],
    rule: 'a shard must be drained before the group gives up waiting for its owner',
    holds: ({ engine, kafka }) => engine.drainTimeoutMs < kafka.rebalanceTimeoutMs,
  },
  {
    options: ['function.backoffMinMs', 'function.backoffMaxMs'],
    rule: 'the shortest wait must not be longer than the longest',
    holds: ({ function: { backoffMinMs, backoffMaxMs } }) => backoffMinMs <= backoffMaxMs,
  },
  {
    options: ['engine.maxChunkRecords', 'engine.maxRecordsInFlight'],
    rule: 'a chunk must not be larger than what a shard may have in flight',
    holds: ({ engine }) => engine.maxChunkRecords <= engine.maxRecordsInFlight,
  },
  {
    options: ['engine.maxRecordBytes', 'engine.maxBytesInFlight'],
    rule: 'the largest record must fit into what a shard may have in flight',
    holds: ({ engine }) => engine.maxRecordBytes <= engine.maxBytesInFlight,
  },
  {
    options: ['topics.subscriptions', 'deadLetters.topic'],
    rule: 'dead letters must not come back as input',
    holds: (config) => config.topics.subscriptions.every(({ topic }) => topic !== config.deadLetters.topic),
  },
  {
    options: ['topics.subscriptions', 'deployment.name'],
    rule: 'the deployment’s own topics (`<name>-commands` and `<name>-answers`) take no subscription',
    holds: (config) => config.topics.subscriptions.every(({ topic }) => !ownTopics(config).includes(topic)),
  },
  {
    options: ['deadLetters.topic', 'deployment.name'],
    rule: 'the dead-letter topic must not be one of the deployment’s own (`<name>-commands` and `<name>-answers`)',
    holds: (config) => !ownTopics(config).includes(config.deadLetters.topic),
  },
  {
    options: ['topics.subscriptions', 'registry.urls'],
    rule: 'the format `registry` needs the address of the registry',
    holds: ({ topics, registry }) =>
      registry.urls.length > 0 || topics.subscriptions.every(({ format }) => format !== 'registry'),
  },
  {
    options: ['topics.destinations', 'registry.urls'],
    rule: 'the formats `avro`, `json-schema` and `registry-protobuf` need the address of the registry',
    holds: ({ topics: { destinations }, registry }) =>
      registry.urls.length > 0 ||
      [...destinations.replies, ...destinations.events].every(({ format }) => !isSchemaFormat(format)),
  },
  {
    options: ['doors.services', 'doors.tls'],
    rule: 'a service that is known by its certificate needs a `clientCaFile`: without one no certificate is asked for',
    holds: ({ doors }) =>
      doors.tls.clientCaFile !== undefined ||
      doors.services.every(({ certificateName }) => certificateName === undefined),
  },
];

function ownTopics(config: Config): string[] {
  const { commands, answers } = internalTopics(config);
  return [commands, answers];
}
