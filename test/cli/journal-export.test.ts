import { expect, it } from 'vitest';
import type { ArchiveRequest } from '../../src/cli/context.ts';
import { runCli } from '../../src/cli/program.ts';

/** What the command was called with, or what went wrong. */
async function cli(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = { DATABASE_URL: 'postgres://h/db' },
) {
  const calls: ArchiveRequest[] = [];
  let err = '';
  const code = await runCli({
    argv: [...argv],
    env,
    cwd: '/here',
    version: '1.2.3',
    signal: new AbortController().signal,
    out: { write: () => undefined },
    err: {
      write: (text) => {
        err += text;
      },
    },
    commands: {
      journal: async () => 7,
      archive: async (_config, request) => {
        calls.push(request);
        return 1;
      },
    },
  });
  return { code, calls, err };
}

it('export and import take a folder, and need a database but no broker', async () => {
  expect(await cli(['journal', 'export', '--to', 'x/y'])).toMatchObject({
    code: 1,
    calls: [{ kind: 'export', folder: '/here/x/y' }],
  });
  expect(await cli(['journal', 'import', '--from', '/a'])).toMatchObject({
    code: 1,
    calls: [{ kind: 'import', folder: '/a' }],
  });
  expect(await cli(['journal', 'export', '--to', 'x'], {})).toMatchObject({
    code: 2,
    calls: [],
    err: expect.stringContaining('postgres.url'),
  });
});

it('a folder that is not named is a fault of the command line', async () => {
  for (const [verb, flag] of [
    ['export', '--to'],
    ['import', '--from'],
  ] as const) {
    expect(await cli(['journal', verb])).toMatchObject({ code: 2, calls: [], err: expect.stringContaining(flag) });
  }
});
