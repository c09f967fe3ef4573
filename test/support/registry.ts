import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startGuard } from '../../src/local/guard.ts';
import { type LocalRegistry, startRegistry } from '../../src/local/registry.ts';
import type { Scope } from './scope.ts';

/** A schema registry of the test's own, ended when the scope ends. It is up in about 8 s. */
export async function createRegistry(t: Scope): Promise<LocalRegistry> {
  const log = (line: string): void => console.log(line);
  const guard = startGuard({ log });
  t.onTestFinished(() => guard.close());
  const dir = await mkdtemp(path.join(tmpdir(), 'stateferry-registry-'));
  t.onTestFinished(() => rm(dir, { recursive: true, force: true }));
  guard.remove(dir);
  const registry = await startRegistry({
    dir,
    host: { env: process.env, guard, signal: new AbortController().signal, log },
  });
  t.onTestFinished(() => registry.stop());
  return registry;
}
