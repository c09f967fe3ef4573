import type { OPTIONS, Option, OptionGroup, OptionName } from './options.ts';

type ValueOf<N extends OptionName> = (typeof OPTIONS)[N] extends Option<infer T> ? DeepReadonly<T> : never;

type DeepReadonly<T> = T extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/** Every option's value by group and name (`config.kafka.brokers`), checked, complete and frozen to the depth. */
export type Config = {
  readonly [G in OptionGroup]: {
    readonly [N in OptionName as N extends `${G}.${infer Leaf}` ? Leaf : never]: ValueOf<N>;
  };
};

/** The topics that belong to the deployment itself. */
export function internalTopics(config: Config): {
  readonly commands: string;
  readonly answers: string;
  readonly deadLetters: string;
} {
  const { name } = config.deployment;
  return { commands: `${name}-commands`, answers: `${name}-answers`, deadLetters: config.deadLetters.topic };
}

/** The value of an option by its whole name. */
export function optionValue(config: Config, name: OptionName): unknown {
  const [group, leaf] = name.split('.') as [OptionGroup, string];
  return (config[group] as Readonly<Record<string, unknown>>)[leaf];
}
