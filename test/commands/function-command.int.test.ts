import { describe, expect, it } from 'vitest';
import { type FunctionCommand, keepRunning } from '../../src/commands/function-command.ts';
import { startGuard } from '../../src/local/guard.ts';
import { temporaryFolder } from '../support/folder.ts';
import { descendants, eventually, runs } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';

/** A function that is a line of shell, and all that it printed. */
async function keep(
  t: Scope,
  script: string,
): Promise<FunctionCommand & { printed(pattern: RegExp): Promise<RegExpMatchArray> }> {
  let output = '';
  const guard = startGuard({ log: () => undefined });
  const running = keepRunning({
    command: ['sh', '-c', script],
    cwd: await temporaryFolder(t),
    env: { PATH: process.env.PATH, PORT: '4711' },
    guard,
    write: (text) => {
      output += text;
    },
  });
  t.onTestFinished(async () => {
    await running.stop();
    await guard.close();
  });
  return {
    ...running,
    async printed(pattern) {
      await eventually(`it prints ${String(pattern)}`, () => pattern.test(output));
      return pattern.exec(output) as RegExpMatchArray;
    },
  };
}

describe('a function that is kept running', () => {
  it('gets its environment, and what it prints has a prefix on every line', async (t) => {
    const fn = await keep(t, 'echo one $PORT; echo two >&2; printf rest; exec sleep 60');
    await fn.printed(/^\[function\] one 4711$/m);
    await fn.printed(/^\[function\] two$/m);
  });

  it('is started again when it ends, later each time', async (t) => {
    const fn = await keep(t, 'exit 3');
    const wait = (ms: number) =>
      `The function ended with code 3; it is started again in ${ms} ms, or when a file changes.`;
    await fn.printed(new RegExp(`${wait(250)}\n.*${wait(500)}\n.*${wait(1_000)}\n`));
  });

  it('is started again at once when it is asked to be, though it would have waited', async (t) => {
    const fn = await keep(t, '[ -e mended ] && exec sleep 60; touch mended; exit 1');
    await fn.printed(/started again in 250 ms/);
    fn.restart();
    await eventually('it runs', async () => (await descendants()).includes('sleep 60'));
  });

  it('ends with all that it started, also what does not heed SIGTERM, before it is started again', async (t) => {
    const fn = await keep(
      t,
      'sh -c "trap : TERM; echo child $$; while :; do sleep 0.1; done" & echo parent $$; wait; wait',
    );
    const [, parent] = await fn.printed(/parent (\d+)/);
    fn.restart();
    await fn.printed(new RegExp(`parent (?!${parent})\\d+`));
    expect(runs(Number(parent))).toBe(false);
    await fn.stop();
    expect((await descendants()).filter((command) => command.includes('trap : TERM'))).toEqual([]);
  });

  it('that cannot be started at all says so and is tried again', async (t) => {
    let output = '';
    const guard = startGuard({ log: () => undefined });
    const running = keepRunning({
      command: ['./no-such-program'],
      cwd: await temporaryFolder(t),
      env: {},
      guard,
      write: (text) => {
        output += text;
      },
    });
    t.onTestFinished(async () => {
      await running.stop();
      await guard.close();
    });
    await eventually('it is tried twice', () => (output.match(/cannot be started: .*ENOENT/g)?.length ?? 0) >= 2);
  });
});
