import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Scope } from './scope.ts';

/** An empty folder of the test's own, removed at the end, which other users can pass through but not read. */
export async function temporaryFolder(t: Scope): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'stateferry-test-'));
  await chmod(folder, 0o711);
  t.onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
