import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
/** What stands in the place of kafkajs' own. */
const replacements = new WeakSet<object>();

/**
 * Puts something else in the place of what a module of kafkajs exports, once in this process, for all that load it from here on.
 * `path`: as kafkajs 2.2.4 has it.
 */
export function replaceModule<T extends object>(path: string, replace: (original: T) => T): void {
  const original = require(path) as T;
  const module = require.cache[require.resolve(path)];
  if (module === undefined || replacements.has(original)) return;
  module.exports = replace(original);
  replacements.add(module.exports);
}
