import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { compiled } from '../support/compiled.ts';
import { temporaryFolder } from '../support/folder.ts';
import { loadGoldenUp } from '../support/golden.ts';
import { fileScope } from '../support/scope.ts';

const file = fileScope();
const program = await compiled(file);
const database = await loadGoldenUp(file);
/** What the golden journal is of. */
const deployment = await nameOf();
/** A file may have two kibibytes: to Node that is what a full disk is, but for the name of the error. */
const FULL = 'ulimit -f 4; exec "$@"';

async function nameOf(): Promise<string> {
  const client = new pg.Client({ connectionString: database });
  await client.connect();
  const { rows } = await client.query<{ name: string }>('select name from office.deployment');
  await client.end();
  return rows[0]?.name ?? '';
}

/** Runs the command line as `shell` says, which has it as "$@"; resolves to how it ended and what it said. */
async function run(cwd: string, shell: string, ...argv: string[]) {
  const { PATH, HOME } = process.env;
  const child = spawn('/bin/sh', ['-c', shell, 'sh', process.execPath, path.join(program, 'src/main.js'), ...argv], {
    cwd,
    env: {
      PATH,
      HOME,
      DATABASE_URL: database,
      STATEFERRY_POSTGRES_SCHEMA: 'office',
      STATEFERRY_DEPLOYMENT_NAME: deployment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, out, err };
}

describe('a full disk', () => {
  it('ends an export with what to do, and it goes on once there is room', async (t) => {
    const cwd = await temporaryFolder(t);
    const archive = path.join(cwd, 'archive');
    const before = await run(cwd, FULL, 'journal', 'export', '--to', 'archive');
    expect(before).toMatchObject({ code: 1, out: '' });
    expect(before.err).toMatch(
      /^stateferry: .*archive\/\S+ could not be written \(EFBIG: .*\)\. No file may become so large here .*\n$/,
    );
    expect(existsSync(path.join(archive, 'manifest.json'))).toBe(false);
    const after = await run(cwd, 'exec "$@"', 'journal', 'export', '--to', 'archive');
    expect(after.code, after.err).toBe(0);
    const { files } = JSON.parse(await readFile(path.join(archive, 'manifest.json'), 'utf8'));
    expect(files.length).toBeGreaterThan(1);
  });

  it('ends a command whose output goes there with what to do', async (t) => {
    const cwd = await temporaryFolder(t);
    const { code, err } = await run(cwd, 'exec "$@" > /dev/full', 'journal', 'events', '--output', 'jsonl');
    expect(err).toBe(
      'stateferry: The output could not be written (ENOSPC: no space left on device, write). ' +
        'The disk is full: make room, or name another place.\n',
    );
    expect(code).toBe(1);
  });
});

it('a reader that has enough ends a command without a word', async (t) => {
  const { out, err } = await run(await temporaryFolder(t), '"$@" | head -1', 'journal', 'events', '--output', 'jsonl');
  expect(out.split('\n')).toHaveLength(2);
  expect(err).toBe('');
});
