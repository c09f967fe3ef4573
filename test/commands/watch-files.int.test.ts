import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { watchFiles } from '../../src/commands/watch-files.ts';
import { temporaryFolder } from '../support/folder.ts';
import { eventually } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';

/** A watched folder with src/a.js in it. */
async function watched(t: Scope) {
  const folder = await temporaryFolder(t);
  const write = async (file: string, text: string): Promise<void> => {
    await mkdir(path.dirname(path.join(folder, file)), { recursive: true });
    await writeFile(path.join(folder, file), text);
  };
  await write('src/a.js', '1');
  await write('node_modules/x/index.js', '1');
  await write('.git/HEAD', '1');
  const stop = new AbortController();
  t.onTestFinished(async () => stop.abort());
  const changes: string[][] = [];
  let ends = 0;
  await watchFiles({
    folders: [folder],
    signal: stop.signal,
    onChange: (files) => changes.push(files.map((file) => path.relative(folder, file)).sort()),
    onBlind: (reason) => changes.push([`blind: ${reason}`]),
  });
  return {
    folder,
    write,
    /** The changes that were told by the time that a last one has been: nothing else is still to come. */
    async told(): Promise<string[][]> {
      ends += 1;
      await write('end.js', String(ends));
      await eventually('the last change is told', () => changes.flat().includes('end.js'));
      const all = changes.splice(0);
      return all.map((files) => files.filter((file) => file !== 'end.js')).filter((files) => files.length > 0);
    },
    changes,
    stop: () => stop.abort(),
  };
}

describe('watchFiles', () => {
  it('tells of a file that changed, once for what is written together', async (t) => {
    const { write, told } = await watched(t);
    await write('src/a.js', '2');
    await write('src/a.js', '3');
    await write('src/b.js', '1');
    expect((await told()).flat()).toEqual(['src/a.js', 'src/b.js']);
  });

  it('tells of files in folders that were made later', async (t) => {
    const { write, told } = await watched(t);
    await write('src/deep/er/c.js', '1');
    expect(await told()).toEqual([['src/deep/er/c.js']]);
    await write('src/deep/er/c.js', '2');
    expect(await told()).toEqual([['src/deep/er/c.js']]);
  });

  it('passes over dependencies, hidden files, logs and backups', async (t) => {
    const { write, told } = await watched(t);
    for (const file of [
      'node_modules/x/index.js',
      '.git/HEAD',
      '.stateferry/x',
      'src/.a.js.swp',
      'x.log',
      'src/a.js~',
    ]) {
      await write(file, 'changed');
    }
    expect(await told()).toEqual([]);
  });

  it('tells of a file that was replaced, as editors and builds do it, and not of the one that came and went', async (t) => {
    const { folder, write, told } = await watched(t);
    await write('src/a.js.new', '2');
    await rename(path.join(folder, 'src/a.js.new'), path.join(folder, 'src/a.js'));
    expect(await told()).toEqual([['src/a.js']]);
  });

  it('tells of a file that was removed', async (t) => {
    const { folder, told } = await watched(t);
    await rm(path.join(folder, 'src/a.js'));
    expect(await told()).toEqual([['src/a.js']]);
  });

  it('passes over a file that is written again as it was, so that a build at every start is no change', async (t) => {
    const { write, told } = await watched(t);
    await write('src/out.js', 'built');
    expect(await told()).toEqual([['src/out.js']]);
    await write('src/out.js', 'built');
    expect(await told()).toEqual([]);
  });

  it('tells nothing after its end', async (t) => {
    const { write, changes, stop } = await watched(t);
    const other = await watched(t);
    stop();
    await write('src/a.js', '2');
    await other.write('src/a.js', '2');
    expect(await other.told()).toEqual([['src/a.js']]);
    expect(changes).toEqual([]);
  });

  it('says which folder it cannot watch', async (t) => {
    const reasons: string[] = [];
    const folder = path.join(await temporaryFolder(t), 'file');
    await writeFile(folder, '');
    const stop = new AbortController();
    t.onTestFinished(async () => stop.abort());
    await watchFiles({
      folders: [folder],
      signal: stop.signal,
      onChange: () => undefined,
      onBlind: (reason) => reasons.push(reason),
    });
    expect(reasons).toEqual([expect.stringContaining(folder)]);
  });
});
