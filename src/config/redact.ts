import { maskSecrets } from '../observe/mask.ts';
import { type Config, optionValue } from './config.ts';
import { OPTION_NAMES, type OptionName, optionOf } from './options.ts';

/** The configuration for people's eyes: the passwords in secret options are masked, everything else is as it is. */
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
  return optionOf(name).secret ? maskSecrets(String(value)) : value;
}
