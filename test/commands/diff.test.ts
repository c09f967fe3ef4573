import { expect, it } from 'vitest';
import { diff } from '../../src/commands/diff.ts';
import { loadConfig } from '../../src/config/load.ts';

it('a page that could not be written is told before anything is compared', async () => {
  const { config } = loadConfig({
    cwd: '/',
    env: { KAFKA_BROKERS: '127.0.0.1:1', DATABASE_URL: 'postgres://127.0.0.1:1/x' },
    argvFlags: {},
  });
  const told: string[] = [];
  const io = {
    signal: new AbortController().signal,
    out: { write: (text: string) => told.push(`out: ${text}`) },
    err: { write: (text: string) => told.push(`err: ${text}`) },
  };
  const code = await diff(config, { name: 'g2', json: false, html: '/missing/page.html', ignore: [] }, io);
  expect(told).toEqual([
    "err: stateferry: /missing/page.html could not be written (ENOENT: no such file or directory, access '/missing'). " +
      'There is no such folder: make it, or name another place.\n',
  ]);
  expect(code).toBe(2);
});
