import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { Environment } from '../config/variables.ts';
import type { Guard } from '../local/guard.ts';

/** Wait before a function that ended by itself is started again: it doubles up to the longest. */
const PAUSE_MIN_MS = 250;
const PAUSE_MAX_MS = 5_000;
/** One that ran this long is started again with the shortest wait. */
const CALM_MS = 10_000;
/** How long a function may take to end after SIGTERM before it is killed. */
const END_WITHIN_MS = 3_000;
const PREFIX = '[function] ';

/** A function that is kept running by a command. */
export interface FunctionCommand {
  /** Ends what runs and starts the command again, at once. */
  restart(): void;
  /** Ends what runs, for good. */
  stop(): Promise<void>;
}

/**
 * Runs the command that starts a function, with all that it starts, in a process group of its own: as often as it ends,
 * with back-off, until it is stopped. What it prints goes to `write`, line by line with a prefix.
 */
export function keepRunning(options: {
  /** The program and its arguments. */
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Environment;
  readonly guard: Guard;
  /** Takes whole lines. */
  readonly write: (text: string) => void;
}): FunctionCommand {
  const { command, guard } = options;
  const say = (line: string) => options.write(`${PREFIX}${line}\n`);
  let wake: () => void = () => undefined;
  let again = false;
  let stopped = false;

  function start(): { readonly ended: Promise<string>; end(): Promise<void> } {
    const child = spawn(command[0] as string, command.slice(1), {
      cwd: options.cwd,
      env: { ...options.env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { pid } = child;
    if (pid !== undefined) guard.hold(-pid, 'SIGKILL');
    for (const stream of [child.stdout, child.stderr]) prefixLines(stream, say);
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(`cannot be started: ${error.message}`));
      child.once('exit', (code, signal) =>
        resolve(signal === null ? `ended with code ${code}` : `was ended by ${signal}`),
      );
    });
    return {
      ended,
      async end() {
        if (pid === undefined) return;
        signalGroup(pid, 'SIGTERM');
        const late = new AbortController();
        await Promise.race([groupEnded(child, pid), delay(END_WITHIN_MS, undefined, { signal: late.signal })]);
        late.abort();
        // Whatever of the group is left, grandchildren that nobody waits for too.
        signalGroup(pid, 'SIGKILL');
        await ended;
        guard.drop(-pid);
      },
    };
  }

  async function run(): Promise<void> {
    let pause = PAUSE_MIN_MS;
    while (!stopped) {
      again = false;
      const asked = new Promise<undefined>((resolve) => {
        wake = () => resolve(undefined);
      });
      const began = performance.now();
      const running = start();
      const how = await Promise.race([running.ended, asked]);
      await running.end();
      if (stopped) return;
      if (how === undefined || again) {
        pause = PAUSE_MIN_MS;
        continue;
      }
      if (performance.now() - began > CALM_MS) pause = PAUSE_MIN_MS;
      say(`The function ${how}; it is started again in ${pause} ms, or when a file changes.`);
      const waiting = new AbortController();
      await Promise.race([asked, delay(pause, undefined, { signal: waiting.signal })]);
      waiting.abort();
      pause = again ? PAUSE_MIN_MS : Math.min(pause * 2, PAUSE_MAX_MS);
    }
  }

  const running = run();
  return {
    restart() {
      again = true;
      wake();
    },
    async stop() {
      stopped = true;
      wake();
      await running;
    },
  };
}

/** Signals the group, which is there for as long as any process in it. */
function signalGroup(leader: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-leader, signal);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // EPERM: what is left of it is not ours, or about to go.
    if (code === 'ESRCH' || code === 'EPERM') return false;
    throw error;
  }
}

/** Resolves when the leader has ended and no process of its group is left. */
async function groupEnded(leader: ChildProcess, pid: number): Promise<void> {
  while (leader.exitCode === null && leader.signalCode === null) await delay(10);
  while (signalGroup(pid, 0)) await delay(10);
}

function prefixLines(stream: NodeJS.ReadableStream, say: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) say(line);
  });
  stream.on('end', () => {
    if (rest !== '') say(rest);
  });
}
