import type { CommandId } from '../model/command.ts';

/** What of two generations is held against each other. */
export type Compared = 'events' | 'outputs' | 'failures' | 'values';

/** changed: both have it, and not the same. missing: only the source has it. added: only the new one has it. */
export type DifferenceKind = 'changed' | 'missing' | 'added';

/** One side of a difference, for people: JSON where it can be decoded, base64 or a sentence elsewhere. */
export type Shown = unknown;

/** One thing that came out otherwise. */
export interface Difference {
  readonly what: Compared;
  readonly kind: DifferenceKind;
  /** The command that caused it; undefined for values, which are compared as they are in the end. */
  readonly commandId: CommandId | undefined;
  /** Entity type and id; undefined: it is of an action. */
  readonly entity: { readonly entityType: string; readonly entityId: string } | undefined;
  /** Which one: a topic and an id, the type of an event and its number among those of the command. */
  readonly name: string;
  readonly before: Shown;
  readonly after: Shown;
  /** Paths of the fields that differ, where both sides are JSON. */
  readonly fields: readonly string[];
}

export type Counts = Readonly<Record<DifferenceKind, number>> & { readonly same: number };

export interface DiffReport {
  readonly deployment: string;
  readonly generation: string;
  readonly mode: 'isolated' | 'cascade';
  /** Nothing differs. */
  readonly same: boolean;
  readonly counts: Readonly<Record<Compared, Counts>>;
  /** Outputs by topic. */
  readonly topics: Readonly<Record<string, Counts>>;
  /** Events and values by entity type. */
  readonly components: Readonly<Record<string, Counts>>;
  /** Entities with a difference; where each of them first parted from the source, some of them. */
  readonly entities: number;
  readonly firsts: readonly Difference[];
  /** Some of each kind. */
  readonly samples: readonly Difference[];
  /** What could not be compared, and why. */
  readonly notes: readonly string[];
}

const MAX_FIELDS = 20;

/** Paths at which two JSON values differ, as `a.b[0]`; `$` for the whole. */
export function changedFields(before: unknown, after: unknown, path = ''): string[] {
  if (Object.is(before, after)) return [];
  const isBranch = (value: unknown): value is object => typeof value === 'object' && value !== null;
  if (!isBranch(before) || !isBranch(after) || Array.isArray(before) !== Array.isArray(after)) return [path || '$'];
  const [one, other] = [before as Record<string, unknown>, after as Record<string, unknown>];
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  const found: string[] = [];
  for (const key of keys) {
    const name = Array.isArray(before) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`;
    found.push(...changedFields(one[key], other[key], name));
    if (found.length > MAX_FIELDS) break;
  }
  return found.slice(0, MAX_FIELDS);
}

/** The value without what stands at these paths; `[]` in a path is every item of a list. Other values are left alone. */
export function without(value: unknown, paths: readonly string[]): unknown {
  return paths.reduce((kept, path) => drop(kept, path.replaceAll('[]', '.[]').split('.')), value);
}

function drop(value: unknown, path: readonly string[]): unknown {
  const [name, ...rest] = path;
  if (name === undefined || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return name === '[]' ? value.map((item: unknown) => drop(item, rest)) : value;
  const held = value as Record<string, unknown>;
  if (!(name in held)) return value;
  const { [name]: inner, ...others } = held;
  return rest.length === 0 ? others : { ...others, [name]: drop(inner, rest) };
}
