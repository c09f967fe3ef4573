import { createHash } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { lstat, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../errors.ts';

/** An editor saves in several steps, and a build writes several files: they are one change. */
const QUIET_MS = 150;
/** Larger files are told apart by time and size, not by content. */
const MAX_HASHED_BYTES = 4 * 1024 * 1024;

/** Names that say nothing about a function's source: dependencies, hidden files and folders, logs, editors' backups. */
function isIgnored(name: string): boolean {
  return name === 'node_modules' || name.startsWith('.') || name.endsWith('.log') || name.endsWith('~');
}

/**
 * Watches folders and all below them, except what `isIgnored` names, until `signal` is aborted. `onChange` gets the
 * files that changed, after a moment without further changes. A file that was written again with the content that it
 * had at its last change is no change: a build that runs at every start of the function must not start it once more.
 */
export async function watchFiles(options: {
  /** Absolute. */
  readonly folders: readonly string[];
  readonly signal: AbortSignal;
  readonly onChange: (files: readonly string[]) => void;
  /** A folder cannot be watched; said once. */
  readonly onBlind: (reason: string) => void;
}): Promise<void> {
  const { signal, onChange } = options;
  const watchers = new Map<string, FSWatcher>();
  const digests = new Map<string, string>();
  /** Files that were there when their folder was entered. */
  const known = new Set<string>();
  let pending = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let blind = false;

  function unwatchable(folder: string, error: unknown): void {
    // One that has just been removed is no trouble.
    if (blind || (error as NodeJS.ErrnoException).code === 'ENOENT') return;
    blind = true;
    options.onBlind(`${folder}: ${messageOf(error)}`);
  }

  /** Watches a folder and those below it; resolves to the files in them. */
  async function enter(folder: string): Promise<string[]> {
    if (signal.aborted || watchers.has(folder)) return [];
    try {
      const watcher = watch(folder, (_event, name) => {
        if (name === null || !isIgnored(name)) note(name === null ? folder : path.join(folder, name));
      });
      watcher.on('error', (error) => {
        leave(folder);
        unwatchable(folder, error);
      });
      watchers.set(folder, watcher);
      const entries = await readdir(folder, { withFileTypes: true });
      const seen = entries.filter(({ name }) => !isIgnored(name));
      const files = seen.filter((entry) => entry.isFile()).map(({ name }) => path.join(folder, name));
      for (const file of files) known.add(file);
      for (const entry of seen) if (entry.isDirectory()) files.push(...(await enter(path.join(folder, entry.name))));
      return files;
    } catch (error) {
      leave(folder);
      unwatchable(folder, error);
      return [];
    }
  }

  function leave(folder: string): void {
    for (const [watched, watcher] of watchers) {
      if (watched !== folder && !watched.startsWith(folder + path.sep)) continue;
      watcher.close();
      watchers.delete(watched);
    }
  }

  function note(file: string): void {
    pending.add(file);
    clearTimeout(timer);
    timer = setTimeout(() => void settle(), QUIET_MS);
  }

  async function settle(): Promise<void> {
    const noted = pending;
    pending = new Set();
    const changed: string[] = [];
    for (const file of noted) changed.push(...(await changesOf(file)));
    if (changed.length > 0 && !signal.aborted) onChange(changed);
  }

  /** The files that a noted path stands for, if they are not as they were when they were noted last. */
  async function changesOf(file: string): Promise<string[]> {
    const found = await lstat(file).catch(() => undefined);
    if (found?.isDirectory()) {
      const inside = await enter(file);
      return (await Promise.all(inside.map((each) => changesOf(each)))).flat();
    }
    if (found === undefined) {
      leave(file);
      // A file that came and went, as those do that are written beside another one and take its place.
      if (!digests.has(file) && !known.has(file)) return [];
    }
    const digest = found === undefined ? 'gone' : await digestOf(file, found);
    if (digests.get(file) === digest) return [];
    digests.set(file, digest);
    return [file];
  }

  signal.addEventListener(
    'abort',
    () => {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
    { once: true },
  );
  for (const folder of options.folders) await enter(folder);
}

async function digestOf(file: string, { size, mtimeMs }: { size: number; mtimeMs: number }): Promise<string> {
  const byTime = `${mtimeMs} ${size}`;
  if (size > MAX_HASHED_BYTES) return byTime;
  return readFile(file).then(
    (bytes) => createHash('sha256').update(bytes).digest('base64'),
    () => byTime,
  );
}
