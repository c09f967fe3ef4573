import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { packagePath } from '../../src/package-path.ts';
import { MUTATION_NAMES, MUTATIONS } from './mutations.ts';
import { changed } from './source-change.ts';

describe('what a mutation breaks is in the sources, once', () => {
  const sources = MUTATION_NAMES.flatMap((name) => {
    const { source } = MUTATIONS[name];
    return source === undefined ? [] : [{ name, source }];
  });

  it.each(sources)('$name', ({ source }) => {
    const text = readFileSync(packagePath(`src/${source.module}.ts`), 'utf8');
    expect(changed(text, source)).not.toBe(text);
  });

  it('and where it is not, or twice, it is said', () => {
    const change = {
      module: 'engine/engine',
      places: [
        { from: 'one', to: 'other' },
        { from: 'no', to: 'any' },
      ],
    };
    expect(changed('no one', change)).toBe('any other');
    expect(() => changed('neither', change)).toThrow('engine/engine has 0 times');
    expect(() => changed('one and one', change)).toThrow('has 2 times');
  });
});
