import { readFileSync } from 'node:fs';
import path from 'node:path';
import { messageOf, StateferryError } from '../errors.ts';
import { maskSecrets } from '../observe/mask.ts';
import type { Config } from './config.ts';
import { readConfigText } from './file.ts';
import { type ArgvFlags, readFlags } from './flags.ts';
import { OPTION_NAMES, type OptionName, optionOf, variableOf } from './options.ts';
import { redactedValue } from './redact.ts';
import { RELATIONS } from './relations.ts';
import type { Gathered, Setting, Source } from './source.ts';
import { CONFIG_FILE_VARIABLE, type Environment, readVariables } from './variables.ts';

/** The config file that is read when none is named, if it is there. */
export const DEFAULT_CONFIG_FILE = 'stateferry.yaml';

/** Values that a command supplies itself where no source sets the option, in the form that a config file has. */
export type Assumed = Readonly<Partial<Record<OptionName, unknown>>>;

export interface LoadedConfig {
  readonly config: Config;
  readonly sources: ReadonlyMap<OptionName, Source>;
}

export interface LoadOptions {
  readonly argvFlags: ArgvFlags;
  readonly env: Environment;
  /** Absolute; where the config file is looked for. */
  readonly cwd: string;
  /** Text of a file, or undefined when there is none. */
  readonly readFile?: (absolutePath: string) => string | undefined;
  readonly assumed?: Assumed;
}

/**
 * Reads the configuration: defaults, then what the command assumes, then the config file, the environment and the
 * flags; of one option the last that sets it wins, whole. Every source is checked, also where a later one wins.
 * @throws StateferryError CONFIG_INVALID with a line for every fault there is.
 */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const gathered = [
    readAssumed(options.assumed ?? {}),
    readFile(options),
    readVariables(options.env),
    readFlags(options.argvFlags),
  ];
  const faults = gathered.flatMap((source) => [...source.faults]);
  const values = new Map<OptionName, { value: unknown; source: Source }>();
  const broken = new Set<OptionName>();
  for (const setting of gathered.flatMap((source) => [...source.settings])) {
    const reading = optionOf(setting.name).kind.read(setting.raw);
    if ('value' in reading) {
      values.set(setting.name, { value: reading.value, source: setting.source });
    } else {
      broken.add(setting.name);
      for (const refusal of reading.refusals) faults.push(faultOf(setting, refusal));
    }
  }
  for (const name of OPTION_NAMES) {
    if (values.has(name)) continue;
    const row = optionOf(name);
    if (row.inherits) {
      const from = values.get(row.inherits.from as OptionName)?.value;
      values.set(name, {
        value: `${String(from)}${row.inherits.suffix}`,
        source: { kind: 'default', label: 'default' },
      });
    } else if (!row.required) {
      values.set(name, { value: row.default, source: { kind: 'default', label: 'default' } });
    } else if (!broken.has(name)) {
      faults.push(missing(name));
    }
  }
  const config = toConfig(values);
  for (const { options: pair, rule, holds } of RELATIONS) {
    if (pair.some((name) => broken.has(name)) || holds(config)) continue;
    const [first, second] = pair.map((name) => `${name} (${shown(config, name)}${values.get(name)?.source.label})`);
    faults.push(`${first} and ${second}: ${rule}`);
  }
  if (faults.length > 0) throw configInvalid(faults);
  return {
    config: deepFreeze(config),
    sources: new Map([...values].map(([name, { source }]) => [name, source])),
  };
}

function readAssumed(assumed: Assumed): Gathered {
  const entries = Object.entries(assumed) as [OptionName, unknown][];
  const source: Source = { kind: 'assumed', label: 'this command' };
  return { settings: entries.map(([name, raw]) => ({ name, raw, source })), faults: [] };
}

function readFile({ argvFlags, env, cwd, readFile = readFileIfThere }: LoadOptions): Gathered {
  const named = argvFlags.config ?? (env[CONFIG_FILE_VARIABLE] || undefined);
  const file = named ?? DEFAULT_CONFIG_FILE;
  const namedBy = argvFlags.config === undefined ? CONFIG_FILE_VARIABLE : '--config';
  try {
    const text = readFile(path.resolve(cwd, file));
    if (text !== undefined) return readConfigText(text, file);
  } catch (error) {
    return { settings: [], faults: [`${file}: the config file cannot be read: ${messageOf(error)}`] };
  }
  if (named === undefined) return { settings: [], faults: [] };
  return { settings: [], faults: [`${namedBy}: found no file ${file}, expected the config file there`] };
}

function readFileIfThere(absolutePath: string): string | undefined {
  try {
    return readFileSync(absolutePath, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function faultOf(setting: Setting, refusal: { path: readonly PropertyKey[]; found: string; expected: string }): string {
  const inside = refusal.path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  const where = setting.locate?.(refusal.path) ?? setting.source.label;
  const found = mayShow(setting.name, refusal.path) ? refusal.found : 'a value that is not shown here';
  return `${setting.name}${inside} (${where}): found ${found}, expected ${refusal.expected}`;
}

/** Of a structure with secrets in it, only the other fields: text around them may hold them, too. */
function mayShow(name: OptionName, path: readonly PropertyKey[]): boolean {
  const { secret } = optionOf(name);
  if (secret === undefined) return true;
  const field = path.at(-1);
  return typeof secret === 'object' && typeof field === 'string' && !secret.includes(field);
}

function missing(name: OptionName): string {
  const { flag, secret } = optionOf(name);
  const ways = [variableOf(name), `${name} in the config file`];
  // Other users of the machine can read a command line: no secret is advised there.
  if (!secret) ways.push(flag ? `--${flag.name}` : `--set ${name}=…`);
  return `${name}: found nothing, expected a value from ${ways.join(' or ')}`;
}

/** The value and a comma, for a short one; the fault of a whole structure is clear without it. */
function shown(config: Config, name: OptionName): string {
  const value = redactedValue(config, name);
  return typeof value === 'object' ? '' : `${String(value)}, `;
}

/** CONFIG_INVALID with a line for each fault. */
export function configInvalid(faults: readonly string[]): StateferryError {
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`;
  const listed = faults.map((fault) => `  - ${maskSecrets(fault)}`).join('\n');
  return new StateferryError(
    'CONFIG_INVALID',
    `the configuration has ${count}:\n${listed}\nNothing was started. \`stateferry config --docs\` describes every option.`,
  );
}

function toConfig(values: ReadonlyMap<OptionName, { value: unknown }>): Config {
  const config: Record<string, Record<string, unknown>> = {};
  for (const name of OPTION_NAMES) {
    const [group, leaf] = name.split('.') as [string, string];
    config[group] ??= {};
    // Copied, so that freezing it never touches the table's defaults or what the caller assumed.
    (config[group] as Record<string, unknown>)[leaf] = structuredClone(values.get(name)?.value);
  }
  return config as Config;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
