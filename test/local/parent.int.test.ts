import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, cp, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { startGuard } from '../../src/local/guard.ts';
import { kafkaJars } from '../../src/local/kafka-jars.ts';
import { compiled } from '../support/compiled.ts';
import { temporaryFolder } from '../support/folder.ts';
import { eventually, runs } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';

/**
 * A process that starts a stack and then tells, a line each: {dir, kafka, postgres}. At SIGINT it asks Postgres
 * something, tells the answer, stops the stack and ends with code 0.
 */
const PARENT = `
import pg from 'pg';
import { startStack } from './src/local/stack.js';
const tell = (line) => process.stdout.write(JSON.stringify(line) + '\\n');
process.on('SIGINT', async () => {
  const client = new pg.Client({ connectionString: stack.databaseUrl });
  await client.connect();
  tell((await client.query('SELECT 1 AS one')).rows[0]);
  await client.end();
  await stack.stop();
  process.exit(0);
});
const stack = await startStack({ dir: process.argv[2], log: (line) => process.stderr.write(line + '\\n') });
tell({ dir: stack.dir, kafka: stack.kafka.pid, postgres: stack.postgres.pid });
`;

interface Started {
  readonly dir: string;
  readonly kafka: number;
  readonly postgres: number;
}

interface Parent {
  readonly process: ChildProcess;
  /** The next line it tells; rejects with what it wrote to stderr when it ends first. */
  next(): Promise<unknown>;
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
}

async function startParent(
  t: Scope,
  folder: string,
  options: { dir?: string; uid?: number; gid?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<Parent> {
  const script = path.join(folder, 'parent.mjs');
  await writeFile(script, PARENT);
  const { dir, ...as } = options;
  const args = dir === undefined ? [script] : [script, dir];
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], ...as });
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  t.onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    process: child,
    ended,
    async next() {
      const line = await lines.next();
      if (line.done) throw new Error(`the parent ended: ${complaints}`);
      return JSON.parse(line.value);
    },
  };
}

it('kill -9 of the process that started it ends Kafka and Postgres; a data folder stays', async (t) => {
  const data = path.join(await temporaryFolder(t), 'data');
  const parent = await startParent(t, await compiled(t), { dir: data });
  const { kafka, postgres } = (await parent.next()) as Started;
  expect([runs(kafka), runs(postgres)]).toEqual([true, true]);

  parent.process.kill('SIGKILL');
  await parent.ended;

  await eventually('both servers have ended', () => !runs(kafka) && !runs(postgres));
  expect(existsSync(data)).toBe(true);
});

it('kill -9 of the process that started it removes a temporary folder', async (t) => {
  const parent = await startParent(t, await compiled(t));
  const { dir, kafka, postgres } = (await parent.next()) as Started;
  expect(existsSync(dir)).toBe(true);

  parent.process.kill('SIGKILL');
  await parent.ended;

  await eventually('the folder is gone', () => !existsSync(dir));
  expect([runs(kafka), runs(postgres)]).toEqual([false, false]);
});

it('Ctrl-C reaches the process that started it and not the servers, which it can still use and then stop', async (t) => {
  const parent = await startParent(t, await compiled(t));
  const { dir, kafka, postgres } = (await parent.next()) as Started;

  // As a terminal does: to every process of the group.
  process.kill(-(parent.process.pid as number), 'SIGINT');

  expect(await parent.next()).toEqual({ one: 1 });
  expect(await parent.ended).toEqual({ code: 0, signal: null });
  expect([runs(kafka), runs(postgres), existsSync(dir)]).toEqual([false, false, false]);
});

const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
it.runIf(isRoot)(
  'a user who is not root can start and stop it (as another user this whole suite shows that)',
  async (t) => {
    const folder = await compiled(t);
    const home = await temporaryFolder(t);
    await chmod(folder, 0o755);
    await chown(home, nobody, nobody);
    const lines: string[] = [];
    const guard = startGuard({ log: (line) => lines.push(line) });
    t.onTestFinished(() => guard.close());
    const host = {
      env: process.env,
      guard,
      signal: new AbortController().signal,
      log: (line: string) => lines.push(line),
    };
    const jars = await kafkaJars(host);
    const cached = path.join(home, 'stateferry', path.basename(jars.folder));
    await cp(jars.folder, cached, { recursive: true, filter: (file) => !file.endsWith('.jsa') });
    for (const writable of [cached, path.dirname(cached)]) await chown(writable, nobody, nobody);

    const env = { PATH: process.env.PATH, JAVA_HOME: process.env.JAVA_HOME, HOME: home, XDG_CACHE_HOME: home };
    const parent = await startParent(t, folder, { uid: nobody, gid: nobody, env });
    const { dir, kafka, postgres } = (await parent.next()) as Started;
    parent.process.kill('SIGINT');

    expect(await parent.next()).toEqual({ one: 1 });
    expect(await parent.ended).toEqual({ code: 0, signal: null });
    expect([runs(kafka), runs(postgres), existsSync(dir)]).toEqual([false, false, false]);
    // The first Kafka that ends in order leaves the archive that makes the next one start faster.
    expect((await readdir(cached)).filter((name) => name.endsWith('.jsa'))).toHaveLength(1);
    expect(await readdir(path.dirname(cached))).toEqual([path.basename(cached)]);
  },
);
