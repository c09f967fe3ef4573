import { didYouMean } from './did-you-mean.ts';
import { isOptionName, type OptionName } from './options.ts';
import type { Gathered, Setting } from './source.ts';

/** What the command line says about the configuration. */
export interface ArgvFlags {
  /** `--config FILE` */
  readonly config?: string;
  /** Every `--set name=value`, in order; a later one wins. */
  readonly set?: readonly string[];
  /** The plain flags that were given, by the option that each of them sets. */
  readonly plain?: Readonly<Partial<Record<OptionName, { readonly flag: string; readonly value: string }>>>;
}

/** Reads the flags; `--set` wins over a plain flag. */
export function readFlags(flags: ArgvFlags): Gathered {
  const settings: Setting[] = [];
  const faults: string[] = [];
  for (const [name, given] of Object.entries(flags.plain ?? {})) {
    if (!isOptionName(name)) throw new TypeError(`a plain flag for ${name}, which is no option`);
    settings.push({ name, raw: given.value, source: { kind: 'flag', label: given.flag } });
  }
  for (const argument of flags.set ?? []) {
    const [name, raw] = splitOnce(argument);
    if (raw === undefined) faults.push(`--set ${name}: found no =, expected --set name=value`);
    else if (isOptionName(name)) settings.push({ name, raw, source: { kind: 'flag', label: `--set ${name}` } });
    else faults.push(`--set ${name}: no such option${didYouMean(name)}`);
  }
  return { settings, faults };
}

function splitOnce(argument: string): readonly [string, string | undefined] {
  const at = argument.indexOf('=');
  return at < 0 ? [argument, undefined] : [argument.slice(0, at).trim(), argument.slice(at + 1)];
}
