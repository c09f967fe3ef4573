import type { LoadedConfig } from './load.ts';
import { GROUP_NAMES, optionsOf } from './options.ts';
import { redactedValue } from './redact.ts';

/**
 * The effective configuration as a config file whose comments say where each value comes from; passwords are masked.
 */
export function printConfig({ config, sources }: LoadedConfig): string {
  const lines: string[] = [];
  for (const group of GROUP_NAMES) {
    lines.push(`${group}:`);
    for (const name of optionsOf(group)) {
      const value = `  ${name.slice(group.length + 1)}: ${JSON.stringify(redactedValue(config, name))}`;
      lines.push(`${value.padEnd(56)} # ${sources.get(name)?.label}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
