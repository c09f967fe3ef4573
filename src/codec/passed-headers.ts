import { type Metadata, type MetadataEntry, NO_METADATA } from '../model/payload.ts';
import { OWN_PREFIX } from './header-names.ts';

/** Headers that go on from one command, at most: how many, and bytes of names and values together. Those beyond stay behind. */
export const MAX_PASSED = 32;
export const MAX_PASSED_BYTES = 8_192;

/** What these begin with says what a record or an event is, and is each one's own. */
const NEVER = [OWN_PREFIX, 'ce-', 'ce_', '_'];
const NEVER_WHOLE = 'content-type';

/** Of a command's metadata, what goes on to what comes of it; the same metadata, the same answer. */
export type PassedHeaders = (metadata: Metadata) => Metadata;

/**
 * `rules`: names of headers, or beginnings of names and a star (config/pass-rules.ts). Undefined for no rules. Names count in lower case; what is repeated
 * goes on repeated.
 */
export function createPassedHeaders(rules: readonly string[]): PassedHeaders | undefined {
  if (rules.length === 0) return undefined;
  const names = new Set<string>();
  const prefixes: string[] = [];
  for (const rule of rules.map((given) => given.toLowerCase())) {
    if (rule.endsWith('*')) prefixes.push(rule.slice(0, -1));
    else names.add(rule);
  }
  const isPassed = (name: string): boolean =>
    (names.has(name) || prefixes.some((prefix) => name.startsWith(prefix))) &&
    name !== NEVER_WHOLE &&
    !NEVER.some((prefix) => name.startsWith(prefix));
  return (metadata) => {
    let passed: MetadataEntry[] | undefined;
    let bytes = 0;
    for (const { key, value } of metadata) {
      const name = key.toLowerCase();
      if (!isPassed(name)) continue;
      bytes += Buffer.byteLength(name) + (typeof value === 'string' ? Buffer.byteLength(value) : value.length);
      if (bytes > MAX_PASSED_BYTES || passed?.length === MAX_PASSED) break;
      passed ??= [];
      passed.push({ key: name, value });
    }
    return passed ?? NO_METADATA;
  };
}

/** `given`, and what of `passed` it does not name. */
export function withPassed(given: Metadata, passed: Metadata): Metadata {
  if (passed.length === 0) return given;
  const names = new Set(given.map(({ key }) => key.toLowerCase()));
  return [...given, ...passed.filter(({ key }) => !names.has(key))];
}
