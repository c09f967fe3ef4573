/**
 * What an example in another language is built to does not belong into the clone: it goes to Stateferry's cache,
 * $XDG_CACHE_HOME/stateferry, else ~/.cache/stateferry, into a folder that is named for the example and all that it is
 * made of.
 */
import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

/**
 * The folder of the example in the current folder, built by `build(folder)` if it is not there. Any number of first
 * builds may overlap: each has a folder of its own, which gets its final name when it is complete.
 *
 * @param {{ sources: readonly string[], tool: string, build: (folder: string) => void }} options `sources`: the files, and
 * folders of files, that it is built from; `tool`: which version of what builds it
 * @returns {string} its absolute path
 */
export function cachedBuild({ sources, tool, build }) {
  const cache = path.join(
    process.env.XDG_CACHE_HOME || path.join(process.env.HOME || homedir(), '.cache'),
    'stateferry',
  );
  const folder = path.join(cache, `${path.basename(process.cwd())}-${digestOf(sources, tool)}`);
  if (existsSync(folder)) return folder;
  const incomplete = path.join(cache, `incomplete-${randomUUID()}`);
  mkdirSync(incomplete, { recursive: true });
  try {
    build(incomplete);
    renameSync(incomplete, folder);
  } catch (error) {
    // Another first build may have been quicker.
    if (!existsSync(folder)) throw error;
  } finally {
    rmSync(incomplete, { recursive: true, force: true });
  }
  return folder;
}

/**
 * Runs a program; what it prints goes to standard error, because standard output is the answer of the build.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {string} [cwd]
 */
export function run(command, args, cwd) {
  execFileSync(command, args, { cwd, stdio: ['ignore', process.stderr, process.stderr] });
}

/** @param {readonly string[]} sources @param {string} tool @returns {string} 12 hex digits */
function digestOf(sources, tool) {
  const digest = createHash('sha256').update(tool);
  for (const file of sources.flatMap(filesOf)) {
    const bytes = readFileSync(file);
    digest.update(`\0${file}\0${bytes.length}\0`).update(bytes);
  }
  return digest.digest('hex').slice(0, 12);
}

/** @param {string} source @returns {string[]} */
function filesOf(source) {
  if (!statSync(source).isDirectory()) return [source];
  return readdirSync(source, { recursive: true, encoding: 'utf8' })
    .map((name) => path.join(source, name))
    .filter((file) => statSync(file).isFile())
    .sort();
}
