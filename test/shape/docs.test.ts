import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERRORS } from '../../src/errors.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PAGES = ['README.md', 'CONTRIBUTING.md', ...readdirSync(path.join(ROOT, 'docs')).map((page) => `docs/${page}`)];

describe.each(PAGES)('%s', (page) => {
  const text = readFileSync(path.join(ROOT, page), 'utf8');

  it('names only files and folders that exist', () => {
    const named = [...text.matchAll(/`((?:src|test|proto|bench|examples|schemas|deploy)\/[\w./-]+)`/g)].map(
      ([, file]) => file as string,
    );
    const linked = [...text.matchAll(/\]\((?!#|http)([^)#]+)/g)].map(([, file]) =>
      path.join(path.dirname(page), file as string),
    );
    expect([...named, ...linked].filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
  });

  it('names only errors that exist', () => {
    const codes = [...text.matchAll(/`([A-Z]+_[A-Z_]+)`/g)].map(([, code]) => code as string);
    const errors = codes.filter((code) => /^(FUNCTION|RECORD|TOPIC|JOURNAL|OFFSETS|SHARD|EMIT|CALL)_/.test(code));
    expect(errors.filter((code) => !(code in ERRORS) && code !== 'FUNCTION_URL')).toEqual([]);
  });
});
