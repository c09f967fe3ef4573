import { readFileSync } from 'node:fs';
import { packagePath } from './package-path.ts';

/** This version of Stateferry, as package.json says it. */
export function version(): string {
  return (JSON.parse(readFileSync(packagePath('package.json'), 'utf8')) as { version: string }).version;
}
