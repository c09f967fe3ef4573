import { isAlias, isMap, isNode, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { didYouMean } from './did-you-mean.ts';
import { GROUPS, isOptionName, type OptionName } from './options.ts';
import type { Gathered, Setting } from './source.ts';

/**
 * Reads a config file: YAML, and so JSON too. Options stand under their groups (`kafka:` then `brokers:`) or under
 * their whole names (`kafka.brokers:`). `label` is the file's name as faults give it, with a line appended.
 */
export function readConfigText(text: string, label: string): Gathered {
  const lines = new LineCounter();
  // Pretty errors quote the source, and the source may hold a password; so does what else the parser warns of.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const at = (offset: number | undefined) =>
    offset === undefined ? label : `${label}:${Math.max(1, lines.linePos(offset).line)}`;

  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0) {
    const faults = broken.map((error) => `${at(error.pos[0])}: not valid YAML: ${error.message}`);
    return { settings: [], faults };
  }

  const settings: Setting[] = [];
  const faults: string[] = [];
  const firstAt = new Map<OptionName, string>();

  const addSetting = (name: OptionName, key: Node | undefined, value: Node | undefined) => {
    const here = at(key?.range?.[0]);
    const earlier = firstAt.get(name);
    if (earlier !== undefined) {
      faults.push(`${name} (${here}): set twice in this file, first at ${earlier}`);
      return;
    }
    firstAt.set(name, here);
    settings.push({
      name,
      raw: value?.toJS(document) ?? null,
      source: { kind: 'file', label: here },
      locate: (path) => at(nearest(value, path)?.range?.[0] ?? key?.range?.[0]),
    });
  };

  const walk = (node: Node | null, group: string) => {
    const value = isAlias(node) ? node.resolve(document) : node;
    // A group whose options are all commented out is an empty one.
    if (value === null || value === undefined || (isScalar(value) && value.value === null)) return;
    if (!isMap(value)) {
      const what = group === '' ? 'the file' : group;
      faults.push(`${what} (${at(value.range?.[0])}): expected a map of options`);
      return;
    }
    for (const pair of value.items) {
      const key = isNode(pair.key) ? pair.key : undefined;
      const child = isNode(pair.value) ? pair.value : null;
      const own = isScalar(key) ? String(key.value) : String(key);
      const name = group === '' ? own : `${group}.${own}`;
      if (isOptionName(name)) addSetting(name, key, child ?? undefined);
      else if (group === '' && Object.hasOwn(GROUPS, own)) walk(child, own);
      else faults.push(`${name} (${at(key?.range?.[0])}): no such option${didYouMean(name)}`);
    }
  };
  walk(document.contents, '');
  return { settings, faults };
}

/** The node at `path`, or the last one on the way to it. */
function nearest(node: Node | undefined, path: readonly PropertyKey[]): Node | undefined {
  let found = node;
  for (const key of path) {
    const collection = found as { get?(key: unknown, keepScalar: boolean): unknown } | undefined;
    const next = collection?.get?.(key, true);
    if (!isNode(next)) break;
    found = next;
  }
  return found;
}
