import { maskSecrets } from '../observe/mask.ts';
import { type Config, optionValue } from './config.ts';
import { OPTION_NAMES, type OptionName, optionOf } from './options.ts';

/** What stands for a secret. */
const HIDDEN = '***';

/** The configuration for people's eyes: what is secret in it is masked, everything else is as it is. */
export function redact(config: Config): Config {
  const copy = structuredClone(config) as unknown as Record<string, Record<string, unknown>>;
  for (const name of OPTION_NAMES) {
    if (!optionOf(name).secret) continue;
    const [group, leaf] = name.split('.') as [string, string];
    (copy[group] as Record<string, unknown>)[leaf] = redactedValue(config, name);
  }
  return copy as unknown as Config;
}

/** One option's value as `redact` shows it. */
export function redactedValue(config: Config, name: OptionName): unknown {
  const value = optionValue(config, name);
  const { secret } = optionOf(name);
  if (secret === undefined) return value;
  if (secret === true) return maskSecrets(String(value));
  if (secret === 'whole') return value === '' ? '' : HIDDEN;
  const hide = (entry: Readonly<Record<string, unknown>>) =>
    Object.fromEntries(Object.entries(entry).map(([key, held]) => [key, secret.includes(key) ? HIDDEN : held]));
  return Array.isArray(value) ? value.map(hide) : hide(value as Readonly<Record<string, unknown>>);
}
