import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { packagePath } from '../../src/package-path.ts';
import type { Scope } from './scope.ts';

/**
 * Compiles src for tests that run it in a process of its own, whatever `dist` holds, and resolves to the folder that
 * stands for the repository's in there: `<folder>/src/main.js`. `project`: another tsconfig file than that of the build.
 */
export async function compiled(t: Scope, project = 'tsconfig.build.json'): Promise<string> {
  const parent = packagePath('node_modules/.cache');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(path.join(parent, 'compiled-'));
  t.onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const args = ['-p', packagePath(project), '--outDir', folder, '--noCheck'];
  await promisify(execFile)(packagePath('node_modules/.bin/tsc'), args);
  return folder;
}
