import type { Kafka } from 'kafkajs';
import { readClientTls } from './certificates.ts';
import type { Config } from './config/config.ts';
import { configInvalid } from './config/load.ts';
import { kafkaLogCreator } from './observe/kafka-log.ts';
import type { Log } from './observe/log.ts';
import { readSecretNow, secretSource } from './secret-files.ts';
import type { ClientTls } from './secure.ts';
import { createKafka } from './topics/client.ts';
import type { Sasl } from './topics/sasl.ts';
import { tokensFrom } from './topics/token-endpoint.ts';

/**
 * Every Kafka client of every process is made here, so that all connections are as secure as `kafka.tls` and `kafka.sasl` say.
 * @throws StateferryError CONFIG_INVALID with a line for every file that cannot be used
 */
export function connectKafka({ kafka }: Pick<Config, 'kafka'>, log: Log, onConnectionLost?: () => void): Kafka {
  const faults: string[] = [];
  const security = readKafkaSecurity(kafka, faults, log);
  if (faults.length > 0) throw configInvalid(faults);
  return kafkaClient(kafka, security, log, onConnectionLost);
}

/** The same, with the files that were read already. */
export function kafkaClient(
  kafka: Config['kafka'],
  security: KafkaSecurity,
  log: Log,
  onConnectionLost?: () => void,
): Kafka {
  return createKafka({
    brokers: kafka.brokers,
    clientId: kafka.clientId,
    connectionTimeoutMs: kafka.connectionTimeoutMs,
    requestTimeoutMs: kafka.requestTimeoutMs,
    logCreator: kafkaLogCreator(log),
    ...security,
    onConnectionLost,
  });
}

/** What the files of `kafka.tls` and `kafka.sasl` come to. */
export interface KafkaSecurity {
  readonly tls: ClientTls | undefined;
  readonly sasl: Sasl | undefined;
}

/** The files of `kafka.tls` and `kafka.sasl`, read and checked. `faults` gets a line for each that cannot be used. */
export function readKafkaSecurity(
  { tls, sasl, requestTimeoutMs }: Pick<Config['kafka'], 'tls' | 'sasl' | 'requestTimeoutMs'>,
  faults: string[],
  log?: Log,
): KafkaSecurity {
  const warn = (reason: string): void => {
    log?.warn({ reason }, 'New files for TLS to Kafka cannot be used; those from before are kept');
  };
  return {
    tls: readClientTls('kafka.tls', tls, faults, warn),
    sasl: saslOf(sasl, requestTimeoutMs, faults, warn),
  };
}

function saslOf(
  sasl: Config['kafka']['sasl'],
  timeoutMs: number,
  faults: string[],
  warn: (reason: string) => void,
): Sasl | undefined {
  const { mechanism, username = '', tokenFile, tokenUrl, clientId = '', scope, caFile } = sasl;
  if (mechanism === undefined) return undefined;
  const secret = (name: 'password' | 'clientSecret'): (() => string) =>
    secretSource({ where: `kafka.sasl.${name}File`, value: sasl[name], file: sasl[`${name}File`] }, faults);
  if (mechanism !== 'OAUTHBEARER') return { mechanism, username, password: secret('password') };
  if (tokenFile !== undefined) {
    const named = { where: 'kafka.sasl.tokenFile', value: undefined, file: tokenFile };
    secretSource(named, faults);
    return { mechanism, token: async () => readSecretNow(named) };
  }
  const files = readClientTls('kafka.sasl', { enabled: true, ...(caFile !== undefined && { caFile }) }, faults, warn);
  const token = tokensFrom({
    url: new URL(tokenUrl ?? ''),
    clientId,
    clientSecret: secret('clientSecret'),
    scope,
    tls: files ?? (() => ({})),
    timeoutMs,
  });
  return { mechanism, token };
}
