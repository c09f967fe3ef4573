import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute path of a file that ships beside the code (proto/, schemas/, deploy/), from src/ and from dist/src/ alike. */
export function packagePath(relative: string): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, 'package.json'))) {
    const parent = path.dirname(folder);
    if (parent === folder) throw new Error('no package.json above this module: the installation is incomplete');
    folder = parent;
  }
  return path.join(folder, relative);
}
