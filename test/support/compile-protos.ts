import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { packagePath } from '../../src/package-path.ts';

/**
 * Compiles .proto texts, by file name, to a serialized FileDescriptorSet, as a function's own build would: imports
 * included and in order. The files of proto/ (`kalix/annotations.proto` and so on) can be imported.
 */
export function compileProtos(files: Readonly<Record<string, string>>): Uint8Array {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'stateferry-protos-'));
  try {
    cpSync(packagePath('proto'), folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), text);
    }
    const paths = Object.keys(files).flatMap((name) => ['--path', path.join(folder, name)]);
    return execFileSync(
      packagePath('node_modules/.bin/buf'),
      ['build', folder, '--as-file-descriptor-set', ...paths, '-o', '-'],
      { maxBuffer: 16 * 1024 * 1024 },
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
