import { StateferryError } from '../../errors.ts';

/** What one segment of a path may be. */
export type Segment =
  | { readonly kind: 'literal'; readonly text: string }
  /** `*`: any one segment that is not empty. */
  | { readonly kind: 'one' }
  /** `**`: all the segments that are left, also none. */
  | { readonly kind: 'rest' };

/** A part of the path that is the value of a field. */
export interface TemplateVariable {
  /** Names of the fields from the input message down, as the rule writes them. */
  readonly path: readonly string[];
  /** The segments from `start` to before `end` are its value; no `end`: all from `start` on. */
  readonly start: number;
  readonly end: number | undefined;
  /** Its value may hold slashes: then an encoded slash stays encoded, so that the two differ. */
  readonly multiple: boolean;
}

/** A path of `google.api.http`, read. */
export interface PathTemplate {
  readonly text: string;
  readonly segments: readonly Segment[];
  readonly variables: readonly TemplateVariable[];
  /** What comes after the colon at the end, as in `/v1/{name}:cancel`. */
  readonly verb: string | undefined;
}

const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Reads a path template: `/v1/{name=shelves/*}/books/**:verb`. `/` alone is the root.
 * Throws FUNCTION_SPEC with the reason where it is not one.
 */
export function parsePathTemplate(text: string): PathTemplate {
  const fault = (reason: string): StateferryError =>
    new StateferryError('FUNCTION_SPEC', `the path ${JSON.stringify(text)} ${reason}`);
  if (!text.startsWith('/')) throw fault('does not begin with a slash');

  const colon = text.lastIndexOf(':');
  const hasVerb = colon > Math.max(text.lastIndexOf('/'), text.lastIndexOf('}'));
  const verb = hasVerb ? text.slice(colon + 1) : undefined;
  if (verb === '') throw fault('has nothing after its last colon');
  const path = hasVerb ? text.slice(0, colon) : text;

  const segments: Segment[] = [];
  const variables: TemplateVariable[] = [];
  const add = (part: string): void => {
    if (segments.at(-1)?.kind === 'rest') throw fault('goes on after **, which takes all that is left');
    segments.push(segmentOf(part, fault));
  };

  let position = 1;
  while (position < path.length) {
    let next: number;
    if (path[position] === '{') {
      const close = path.indexOf('}', position);
      if (close < 0) throw fault('has a { without its }');
      variables.push(variable(path.slice(position + 1, close), segments, add, fault));
      next = close + 1;
    } else {
      const slash = path.indexOf('/', position);
      next = slash < 0 ? path.length : slash;
      add(path.slice(position, next));
    }
    if (next < path.length && path[next] !== '/') throw fault('has something right after a }');
    if (next === path.length - 1) throw fault('ends with a slash');
    position = next + 1;
  }
  if (segments.length === 0 && verb !== undefined) throw fault('has no segment before its colon');
  return { text, segments, variables, verb };
}

function variable(
  inner: string,
  segments: readonly Segment[],
  add: (part: string) => void,
  fault: (reason: string) => StateferryError,
): TemplateVariable {
  const equals = inner.indexOf('=');
  const path = (equals < 0 ? inner : inner.slice(0, equals)).split('.');
  if (!path.every((name) => FIELD_NAME.test(name))) throw fault(`has a variable {${inner}} that names no field`);
  const parts = equals < 0 ? ['*'] : inner.slice(equals + 1).split('/');
  const start = segments.length;
  for (const part of parts) add(part);
  const open = segments.at(-1)?.kind === 'rest';
  return { path, start, end: open ? undefined : segments.length, multiple: open || parts.length > 1 };
}

function segmentOf(part: string, fault: (reason: string) => StateferryError): Segment {
  if (part === '*') return { kind: 'one' };
  if (part === '**') return { kind: 'rest' };
  if (part === '') throw fault('has an empty segment');
  if (/[{}*]/.test(part)) throw fault(`has the segment ${JSON.stringify(part)}, which is neither a text nor * nor **`);
  try {
    return { kind: 'literal', text: decodeURIComponent(part) };
  } catch (cause) {
    throw new StateferryError('FUNCTION_SPEC', fault('is not validly percent-encoded').message, { cause });
  }
}
