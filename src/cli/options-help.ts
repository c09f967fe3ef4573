import { Help } from 'commander';
import { defaultText, GROUP_NAMES, GROUPS, optionOf, optionsOf, variableOf } from '../config/options.ts';

const INDENT = '      ';
const COLUMNS = 94;

/** All options by group, for a terminal: name, variable, sentence, type and default. */
export function optionsHelp(): string {
  const wrap = new Help();
  return GROUP_NAMES.map((group) => {
    const rows = optionsOf(group).map((name) => {
      const { doc, kind } = optionOf(name);
      const initial = defaultText(name);
      const value = initial === undefined ? 'required' : `default ${initial}`;
      const lines = wrap.boxWrap(`${doc.replaceAll('`', '')} (${kind.label}; ${value})`, COLUMNS).split('\n');
      return [`  ${name.padEnd(32)} ${variableOf(name)}`, ...lines.map((line) => `${INDENT}${line}`)].join('\n');
    });
    return `${GROUPS[group]}:\n${rows.join('\n')}`;
  }).join('\n\n');
}
