import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { packagePath } from '../../../src/package-path.ts';

/** A file of schemas/journal. */
export interface Migration {
  /** `0001_journal` */
  readonly name: string;
  readonly sql: string;
}

/** All of them, in order. */
export function migrations(): Migration[] {
  const folder = packagePath('schemas/journal');
  return readdirSync(folder)
    .sort()
    .map((file) => ({ name: path.parse(file).name, sql: readFileSync(path.join(folder, file), 'utf8') }));
}

/** Where the journal of a version is, made when that migration was the last. */
export function goldenFile(migration: string): string {
  return packagePath(`test/journal/golden/${migration}.sql`);
}
