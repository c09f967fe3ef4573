import { readFile } from 'node:fs/promises';
import type { LoadHook } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { SourceChange } from './mutations.ts';
import { changed } from './source-change.ts';

/*
 * Module hooks of Node: changes one module of the engine as it is loaded.
 */

let change: SourceChange | undefined;

export function initialize(data: SourceChange): void {
  change = data;
}

export const load: LoadHook = async (url, context, nextLoad) => {
  if (change === undefined || !url.endsWith(`/src/${change.module}.js`)) return nextLoad(url, context);
  const text = await readFile(fileURLToPath(url), 'utf8');
  return { format: 'module', shortCircuit: true, source: changed(text, change) };
};
