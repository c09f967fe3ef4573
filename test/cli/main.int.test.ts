import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { packagePath } from '../../src/package-path.ts';

/** The built command, in a folder with nothing but `configFile`, and with these variables only. */
function stateferry(argv: string[], env: Record<string, string> = {}, configFile?: string) {
  const cwd = mkdtempSync(path.join(tmpdir(), 'stateferry-cli-'));
  onTestFinished(() => rmSync(cwd, { recursive: true }));
  if (configFile !== undefined) writeFileSync(path.join(cwd, 'stateferry.yaml'), configFile);
  const child = spawn(process.execPath, [packagePath('dist/src/main.js'), ...argv], { cwd, env, stdio: 'pipe' });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err += text;
  });
  const done = once(child, 'close').then(([code]) => ({ code: code as number, out, err }));
  return { child, done };
}

test('--help is written to standard output and ends with 0', async () => {
  const { code, out, err } = await stateferry(['--help']).done;
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^Usage: stateferry/);
});

test('the whole reference goes through a pipe before the process ends', async () => {
  const { code, out } = await stateferry(['config', '--docs']).done;
  expect(code).toBe(0);
  expect(out).toContain('## What options must hold together');
});

test('a reader that goes early is no failure', async () => {
  const { child, done } = stateferry(['config', '--docs']);
  child.stdout.destroy();
  expect(await done).toMatchObject({ code: 0, err: '' });
});

test('a wrong configuration ends with 2, its faults on standard error and nothing on standard output', async () => {
  const { code, out, err } = await stateferry(['config'], { STATEFERRY_HTTP_PORT: 'x', DATABASE_URL: 's3cret' }).done;
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(/^stateferry: the configuration has 3 faults:\n/);
  expect(err).not.toContain('s3cret');
});

test('stateferry.yaml of the working directory is read', async () => {
  const env = { KAFKA_BROKERS: 'a:1', DATABASE_URL: 'postgres://h/d' };
  const { code, out } = await stateferry(['config'], env, 'log:\n  level: warn\n').done;
  expect(code).toBe(0);
  expect(out).toMatch(/level: "warn" +# stateferry\.yaml:2/);
});

test('SIGINT ends what waits', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { child, done } = stateferry(['status', '--url', url]);
  await once(server, 'request');
  child.kill('SIGINT');
  expect(await done).toMatchObject({ code: 1, out: '' });
});
