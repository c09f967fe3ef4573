import type { OptionName } from './options.ts';

/** Where a value came from. `assumed` is what the command itself supplies, such as the address of a local broker. */
export interface Source {
  readonly kind: 'default' | 'assumed' | 'file' | 'variable' | 'flag';
  /** As a person would look for it: `stateferry.yaml:12`, `KAFKA_BROKERS`, `--set kafka.brokers`, `default`. */
  readonly label: string;
}

/** One value that a source gives, not yet checked. */
export interface Setting {
  readonly name: OptionName;
  readonly raw: unknown;
  readonly source: Source;
  /** The label of a place inside the value, where the source can tell. */
  locate?(path: readonly PropertyKey[]): string;
}

/** What one source says: its values, and a line for each thing in it that is no value of an option. */
export interface Gathered {
  readonly settings: readonly Setting[];
  readonly faults: readonly string[];
}
