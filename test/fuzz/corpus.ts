import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packagePath } from '../../src/package-path.ts';

const FOLDER = packagePath('test/fuzz/corpus');

/** The inputs that are kept for a target, one a line in base64. */
export function readCorpus(target: string): Buffer[] {
  const file = path.join(FOLDER, `${target}.txt`);
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Buffer.from(line, 'base64'));
}

/** Replaces the inputs that are kept for a target. */
export function writeCorpus(target: string, inputs: readonly Uint8Array[]): void {
  mkdirSync(FOLDER, { recursive: true });
  const lines = [...new Set(inputs.map((input) => Buffer.from(input).toString('base64')))];
  writeFileSync(path.join(FOLDER, `${target}.txt`), lines.map((line) => `${line}\n`).join(''));
}
