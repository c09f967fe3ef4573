/**
 * Builds `user-function.desc`, which an SDK hands to the runtime at discovery, for the function in the current folder:
 *
 *     node ../build-descriptor.js @kalix-io/kalix-javascript-sdk
 *
 * Does what the SDKs' own `compile-descriptor` does, without the protoc that their install scripts download: `buf` comes
 * out of its npm package. Input are all files in `proto/` and what they import, from there or from the SDK. Does nothing
 * if the file is newer than everything it was made of; replaces it in one step otherwise, so that builds may overlap.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

const DESCRIPTOR = 'user-function.desc';
const WORKSPACE = `version: v2
modules:
  - path: own
  - path: sdk
`;

const require = createRequire(path.resolve('package.json'));

/** @param {string} name of an installed package, or the path of a folder */
const folderOf = (name) => path.dirname(require.resolve(`${name}/package.json`));

/** @param {string} file @returns {number} ms since the epoch, 0 if there is no such file */
const changedAt = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** @param {string} sdk */
function build(sdk) {
  const workspace = mkdtempSync(path.join(tmpdir(), 'stateferry-descriptor-'));
  try {
    cpSync('proto', path.join(workspace, 'own'), { recursive: true });
    cpSync(path.join(folderOf(sdk), 'proto'), path.join(workspace, 'sdk'), {
      recursive: true,
      filter: (file) => statSync(file).isDirectory() || file.endsWith('.proto'),
    });
    writeFileSync(path.join(workspace, 'buf.yaml'), WORKSPACE);
    const buf = path.join(folderOf('@bufbuild/buf'), 'bin/buf');
    execFileSync(process.execPath, [buf, 'build', 'own', '--as-file-descriptor-set', '-o', DESCRIPTOR], {
      cwd: workspace,
      stdio: 'inherit',
    });
    const finished = `${DESCRIPTOR}.${process.pid}`;
    copyFileSync(path.join(workspace, DESCRIPTOR), finished);
    renameSync(finished, DESCRIPTOR);
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
}

const sdk = process.argv[2];
if (sdk === undefined) throw new Error('usage: node build-descriptor.js SDK_PACKAGE, in the folder of the function');

const sources = [
  ...readdirSync('proto', { recursive: true, encoding: 'utf8' }).map((file) => path.join('proto', file)),
  path.join(folderOf(sdk), 'package.json'),
];
if (sources.some((source) => changedAt(source) >= changedAt(DESCRIPTOR))) build(sdk);
