import { spawn } from 'node:child_process';
import path from 'node:path';
import { eventually } from './processes.ts';
import type { Scope } from './scope.ts';

/** `stateferry` as a process of its own. */
export interface CliProcess {
  readonly pid: number;
  /** What it has printed so far, standard output and standard error as they came. */
  output(): string;
  /** Resolves when what it prints matches, `times` times in all; rejects with the output when it ends before that. */
  printed(pattern: RegExp, times?: number): Promise<RegExpMatchArray>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves, however it ends, to its exit code or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
}

/** Starts the compiled command line (see `compiled`) with these arguments; killed when the scope ends. */
export function startCli(
  t: Scope,
  options: {
    readonly compiled: string;
    readonly argv: readonly string[];
    readonly cwd: string;
    readonly env?: Readonly<Record<string, string>>;
  },
): CliProcess {
  const { PATH, HOME, JAVA_HOME, XDG_CACHE_HOME } = process.env;
  const child = spawn(process.execPath, [path.join(options.compiled, 'src/main.js'), ...options.argv], {
    cwd: options.cwd,
    // Nothing of ours in it that would configure it.
    env: { PATH, HOME, JAVA_HOME, XDG_CACHE_HOME, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  let over = false;
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('close', (code, signal) => {
      over = true;
      resolve(code ?? signal ?? -1);
    });
  });
  t.onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return {
    pid: child.pid ?? -1,
    output: () => output,
    async printed(pattern, times = 1) {
      const all = new RegExp(pattern, `${pattern.flags}g`);
      let found: RegExpMatchArray | undefined;
      await eventually(`it prints ${String(pattern)}`, () => {
        found = [...output.matchAll(all)][times - 1];
        if (found === undefined && over) throw new Error('it ended');
        return found !== undefined;
      }).catch((error: unknown) => {
        throw new Error(`${String(error)}; it printed:\n${output}`, { cause: error });
      });
      return found as RegExpMatchArray;
    },
    kill: (signal) => void child.kill(signal),
    exited,
  };
}
