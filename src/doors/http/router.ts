import { status } from '@grpc/grpc-js';
import { badRequest, HttpFailure, quoted } from './http-failure.ts';
import type { BoundVariable, HttpRule } from './http-rules.ts';

/** The text of one variable of a path, percent-decoded. */
export interface PathValue {
  readonly variable: BoundVariable;
  readonly text: string;
}

/** The rule that a request goes by. */
export interface Match {
  readonly rule: HttpRule;
  readonly values: readonly PathValue[];
}

export interface Router {
  /**
   * The rule for a request; `path` is the raw path of its URL, without the query. A literal segment goes before `*`, `*`
   * before `**`, a path with its `:verb` before one that takes the colon into a variable, a verb before `*`.
   *
   * Throws HttpFailure 404 for a path that no rule has, 405 with `Allow` where its rules have other verbs, 400 for
   * percent-encoding that is none.
   */
  match(verb: string, path: string): Match;
  /** The verbs that some rule has for this path, sorted; none for a path that no rule has. Throws HttpFailure 400. */
  verbs(path: string): readonly string[];
}

/** What of a rule's path comes after a way through the segments: the rules that end here, by `:verb` and HTTP verb. */
interface Node {
  readonly literals: Map<string, Node>;
  one?: Node;
  rest?: Node;
  readonly ends: Map<string | undefined, Map<string, HttpRule>>;
}

/**
 * Finds rules by path. Where two rules take the same paths with the same verb, the first one counts, and `faults` has a
 * sentence about the other.
 */
export function createRouter(rules: readonly HttpRule[]): {
  readonly router: Router;
  readonly faults: readonly string[];
} {
  const root = newNode();
  const faults: string[] = [];
  for (const rule of rules) {
    let node = root;
    for (const segment of rule.template.segments) node = child(node, segment);
    const ends = node.ends.get(rule.template.verb) ?? new Map<string, HttpRule>();
    node.ends.set(rule.template.verb, ends);
    const earlier = ends.get(rule.verb);
    if (earlier === undefined) ends.set(rule.verb, rule);
    else if (earlier.method !== rule.method || earlier.declared === rule.declared) {
      faults.push(
        `${rule.verb} ${rule.template.text} of ${nameOf(rule)} is not served: ${nameOf(earlier)} already has ` +
          `${earlier.verb} ${earlier.template.text}. Give one of them another path.`,
      );
    }
  }

  const match = (verb: string, path: string): Match => {
    const allowed = new Set<string>();
    const found = search(root, path, (ends) => {
      for (const allow of ends.keys()) allowed.add(allow);
      return ends.get(verb) ?? ends.get('*');
    });
    if (found !== undefined) return found;
    if (allowed.size === 0) {
      throw new HttpFailure(404, status.UNIMPLEMENTED, `No method of the function is at ${quoted(path)}.`);
    }
    const allow = [...allowed].sort().join(', ');
    throw new HttpFailure(
      405,
      status.UNIMPLEMENTED,
      `${quoted(path)} is there for ${allow}, not for ${quoted(verb)}.`,
      {
        headers: { allow },
      },
    );
  };
  return {
    faults,
    router: {
      match,
      verbs(path) {
        const verbs = new Set<string>();
        search(root, path, (ends) => {
          for (const verb of ends.keys()) verbs.add(verb);
          return undefined;
        });
        return [...verbs].sort();
      },
    },
  };
}

function newNode(): Node {
  return { literals: new Map(), ends: new Map() };
}

function child(node: Node, segment: HttpRule['template']['segments'][number]): Node {
  switch (segment.kind) {
    case 'literal': {
      const next = node.literals.get(segment.text) ?? newNode();
      node.literals.set(segment.text, next);
      return next;
    }
    case 'one':
      node.one ??= newNode();
      return node.one;
    case 'rest':
      node.rest ??= newNode();
      return node.rest;
  }
}

function nameOf(rule: HttpRule): string {
  return `${rule.descriptor.parent.typeName}.${rule.method.name}`;
}

type Pick = (ends: ReadonlyMap<string, HttpRule>) => HttpRule | undefined;

/** The first rule that `pick` takes, most specific first. */
function search(root: Node, path: string, pick: Pick): Match | undefined {
  const raw = path === '/' ? [] : path.slice(1).split('/');
  const final = raw.at(-1);
  const colon = final?.lastIndexOf(':') ?? -1;
  if (final !== undefined && colon >= 0) {
    const verb = decode(final.slice(colon + 1), path);
    const found = walk(root, [...raw.slice(0, -1), final.slice(0, colon)], path, verb, pick);
    if (found !== undefined) return found;
  }
  return walk(root, raw, path, undefined, pick);
}

function walk(
  root: Node,
  raw: readonly string[],
  path: string,
  verb: string | undefined,
  pick: Pick,
): Match | undefined {
  const segments = raw.map((segment) => decode(segment, path));
  const end = (node: Node | undefined): HttpRule | undefined => {
    const ends = node?.ends.get(verb);
    return ends === undefined ? undefined : pick(ends);
  };
  // Every call has a node of its own, so the work is bounded by the size of the table whatever the path is.
  const from = (node: Node, index: number): HttpRule | undefined => {
    const segment = segments[index];
    if (segment === undefined) return end(node) ?? end(node.rest);
    const literal = node.literals.get(segment);
    return (
      (literal === undefined ? undefined : from(literal, index + 1)) ??
      (node.one === undefined || segment === '' ? undefined : from(node.one, index + 1)) ??
      end(node.rest)
    );
  };
  const rule = from(root, 0);
  if (rule === undefined) return undefined;
  const values = rule.variables.map((variable) => ({ variable, text: variableText(variable, raw, path) }));
  return { rule, values };
}

/** In a value of several segments an encoded slash stays as it is: decoded, it would be taken for a separator. */
function variableText(variable: BoundVariable, raw: readonly string[], path: string): string {
  const part = raw.slice(variable.start, variable.end).join('/');
  return decode(variable.multiple ? part.replace(/%2f/gi, (slash) => `%25${slash.slice(1)}`) : part, path);
}

function decode(text: string, path: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw badRequest(
      `The path ${quoted(path)} is not validly percent-encoded: each % is followed by two hexadecimal digits, and the bytes are UTF-8.`,
      cause,
    );
  }
}
