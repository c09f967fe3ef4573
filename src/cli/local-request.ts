import type { Assumed, LoadedConfig } from '../config/load.ts';
import type { LocalRequest } from './context.ts';

/** Stand-ins for what a local stack supplies: the rest of the configuration is checked before anything is started. */
const STAND_INS: Assumed = { 'kafka.brokers': ['127.0.0.1:1'], 'postgres.url': 'postgres://127.0.0.1:1/stateferry' };

/**
 * Checks the configuration at once, and again when the addresses of what was started are known.
 * @throws StateferryError CONFIG_INVALID
 */
export function localRequest(load: (assumed: Assumed) => LoadedConfig): LocalRequest {
  const { config, sources } = load(STAND_INS);
  const isGiven = (name: keyof Assumed) => sources.get(name)?.kind !== 'assumed';
  return {
    given: {
      ...(isGiven('kafka.brokers') && { brokers: config.kafka.brokers }),
      ...(isGiven('postgres.url') && { databaseUrl: config.postgres.url }),
    },
    configWith: (assumed) => load(assumed).config,
  };
}

/** For a command that asks a running process and needs neither a broker nor a database itself. */
export function configWithoutStores(load: (assumed: Assumed) => LoadedConfig): LoadedConfig['config'] {
  return load(STAND_INS).config;
}

/** For a command that talks to Kafka and the function only. */
export function configWithoutDatabase(load: (assumed: Assumed) => LoadedConfig): LoadedConfig['config'] {
  return load({ 'postgres.url': STAND_INS['postgres.url'] }).config;
}

/** For a command that talks to the journal only. */
export function configWithoutBrokers(load: (assumed: Assumed) => LoadedConfig): LoadedConfig['config'] {
  return load({ 'kafka.brokers': STAND_INS['kafka.brokers'] }).config;
}
