import type { z } from 'zod';
import { messageOf } from '../errors.ts';

/** One thing that is wrong with a value; `path` leads to it inside a structure and is empty for a plain value. */
export interface Refusal {
  readonly path: readonly PropertyKey[];
  readonly found: string;
  readonly expected: string;
}

export type Reading<T> = { readonly value: T } | { readonly refusals: readonly Refusal[] };

/**
 * A type of option. It reads text, as variables and flags give it, and data, as the file gives it, by the same rules:
 * text that is a whole number is a number wherever it stands.
 */
export interface Kind<T> {
  /** A few words for tables: unit and range, or the choices. */
  readonly label: string;
  read(raw: unknown): Reading<T>;
}

/** Text that `accepts` holds of, after spaces around it (the newline of a mounted secret) are taken off. */
export function text(rule: { label: string; expected: string; accepts: (text: string) => boolean }): Kind<string> {
  return {
    label: rule.label,
    read(raw) {
      const trimmed = typeof raw === 'string' ? raw.trim() : undefined;
      if (trimmed !== undefined && rule.accepts(trimmed)) return { value: trimmed };
      return refuse(raw, rule.expected);
    },
  };
}

/** A whole number of `unit` in [min, max], with `orElse` as the one value allowed outside of it. */
export function integer(rule: { unit: string; min: number; max?: number; orElse?: number }): Kind<number> {
  const max = rule.max ?? Number.MAX_SAFE_INTEGER;
  // A bound that is only the width of the number would tell a reader of tables nothing.
  const bounded = max < 2_147_483_647;
  const range = `${rule.min} to ${max}${rule.orElse === undefined ? '' : ` or ${rule.orElse}`}`;
  const expected = `a whole number${rule.unit === '' ? '' : ` of ${rule.unit}`}, ${range}`;
  return {
    label: `${rule.unit === '' ? 'number' : rule.unit}, ${bounded ? range : `at least ${rule.min}`}`,
    read(raw) {
      const number = typeof raw === 'string' && /^\s*-?\d{1,16}\s*$/.test(raw) ? Number(raw) : raw;
      if (typeof number !== 'number' || !Number.isSafeInteger(number)) return refuse(raw, expected);
      if (number !== rule.orElse && (number < rule.min || number > max)) return refuse(raw, expected);
      return { value: number };
    },
  };
}

/** True or false. */
export function toggle(): Kind<boolean> {
  return {
    label: 'true | false',
    read(raw) {
      const value = typeof raw === 'string' ? raw.trim() : raw;
      if (value === true || value === 'true') return { value: true };
      if (value === false || value === 'false') return { value: false };
      return refuse(raw, 'true or false');
    },
  };
}

/** One of a few words. */
export function choice<const T extends string>(values: readonly T[]): Kind<T> {
  const expected = `one of ${values.join(', ')}`;
  return {
    label: values.join(' | '),
    read(raw) {
      const value = values.find((candidate) => candidate === (typeof raw === 'string' ? raw.trim() : raw));
      return value === undefined ? refuse(raw, expected) : { value };
    },
  };
}

/** A list with at least one item: an array, or text with commas. Every item that is wrong is refused by itself. */
export function list(rule: {
  label: string;
  expected: string;
  accepts: (item: string) => boolean;
  mayBeEmpty?: true;
}): Kind<string[]> {
  return {
    label: rule.label,
    read(raw) {
      const isNothing = rule.mayBeEmpty && typeof raw === 'string' && raw.trim() === '';
      const given = isNothing ? [] : raw;
      const items = typeof given === 'string' ? given.split(',').map((item) => item.trim()) : given;
      if (!Array.isArray(items) || (items.length === 0 && !rule.mayBeEmpty))
        return refuse(raw, `a list, each ${rule.expected}`);
      const value: string[] = [];
      const refusals: Refusal[] = [];
      for (const [index, item] of items.entries()) {
        if (typeof item === 'string' && rule.accepts(item)) value.push(item);
        else refusals.push({ path: Array.isArray(raw) ? [index] : [], found: show(item), expected: rule.expected });
      }
      return refusals.length > 0 ? { refusals } : { value };
    },
  };
}

/** Nested data that a schema describes; text is read as JSON. The schema's messages say what was expected. */
export function structure<T>(label: string, schema: z.ZodType<T>): Kind<T> {
  return {
    label,
    read(raw) {
      let data = raw;
      if (typeof raw === 'string') {
        try {
          data = JSON.parse(raw);
        } catch (error) {
          return { refusals: [{ path: [], found: `text that is not JSON: ${messageOf(error)}`, expected: label }] };
        }
      }
      const parsed = schema.safeParse(data);
      if (parsed.success) return { value: parsed.data };
      return { refusals: parsed.error.issues.flatMap((issue) => refusalsOf(issue, data)) };
    },
  };
}

function refusalsOf(issue: z.core.$ZodIssue, data: unknown): Refusal[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...issue.path, key], found: 'an unknown key', expected: issue.message }));
  }
  return [{ path: issue.path, found: show(valueAt(data, issue.path)), expected: issue.message }];
}

function valueAt(data: unknown, path: readonly PropertyKey[]): unknown {
  let value = data;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

function refuse(raw: unknown, expected: string): { refusals: Refusal[] } {
  return { refusals: [{ path: [], found: show(raw), expected }] };
}

const SHOWN_CHARACTERS = 120;

/** A value as a sentence can show it. */
function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a map';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > SHOWN_CHARACTERS ? `${value.slice(0, SHOWN_CHARACTERS)}…` : value);
}
