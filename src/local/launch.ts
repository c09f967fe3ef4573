import { spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { messageOf, StateferryError } from '../errors.ts';
import type { Host } from './host.ts';

/** The user a process runs as, where it is not ours. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface LaunchOptions {
  /** For sentences: "Kafka", "initdb". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly account?: Account | undefined;
  readonly host: Host;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A server process that is running, or has been. */
export interface Launched {
  readonly pid: number;
  /** Undefined while it runs. */
  readonly exit: Exit | undefined;
  readonly exited: Promise<Exit>;
  /** Does nothing once it has ended. */
  kill(signal: NodeJS.Signals): void;
}

/** "code 1" or "signal SIGKILL". */
export function describeExit(exit: Exit): string {
  return exit.signal === null ? `code ${exit.code}` : `signal ${exit.signal}`;
}

/** The last `count` lines of a log file, each indented; '' when there is none. */
export async function lastLines(logFile: string, count = 20): Promise<string> {
  const text = await readFile(logFile, 'utf8');
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-count)
    .map((line) => `  ${line}`)
    .join('\n');
}

/**
 * Starts a server with its output appended to `logFile`. It gets a session of its own, so that Ctrl-C on our terminal
 * does not reach it before we have stopped what uses it. `guardSignal` is what the guard ends it with.
 */
export async function launch(
  options: LaunchOptions & {
    readonly logFile: string;
    readonly guardSignal: NodeJS.Signals;
    /** Done before the process counts as ended. */
    readonly afterExit?: (exit: Exit) => Promise<void>;
  },
): Promise<Launched> {
  const { guard, signal } = options.host;
  signal.throwIfAborted();
  const file = await open(options.logFile, 'a');
  try {
    const child = spawn(options.command, options.args, {
      ...identity(options),
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: ['ignore', file.fd, file.fd],
    });
    const pid = child.pid;
    if (pid !== undefined) guard.hold(pid, options.guardSignal);
    let exit: Exit | undefined;
    const exited = new Promise<Exit>((resolve) => {
      child.once('exit', (code, signal) => {
        if (pid !== undefined) guard.drop(pid);
        resolve({ code, signal });
      });
    }).then(async (reached) => {
      await options.afterExit?.(reached);
      exit = reached;
      return reached;
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(notStarted(options, error)));
    });
    return {
      pid: pid as number,
      get exit() {
        return exit;
      },
      exited,
      kill(signal) {
        if (exit === undefined) child.kill(signal);
      },
    };
  } finally {
    await file.close();
  }
}

/**
 * Runs a program to its end and resolves to what it wrote (stdout and stderr, as they came). LOCAL_STACK when it fails;
 * the signal's reason when that was aborted.
 */
export async function runTool(options: LaunchOptions): Promise<string> {
  const { guard, signal } = options.host;
  signal.throwIfAborted();
  const child = spawn(options.command, options.args, {
    ...identity(options),
    cwd: options.cwd,
    env: options.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
    killSignal: 'SIGKILL',
  });
  const { pid } = child;
  if (pid !== undefined) guard.hold(pid, 'SIGKILL');
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      output += text;
    });
  }
  const exit = await new Promise<Exit>((resolve, reject) => {
    child.once('error', (error) => reject(signal.aborted ? signal.reason : notStarted(options, error)));
    child.once('close', (code, signal) => resolve({ code, signal }));
  }).finally(() => {
    if (pid !== undefined) guard.drop(pid);
  });
  if (exit.code !== 0) {
    throw new StateferryError(
      'LOCAL_STACK',
      `${options.name} failed (${describeExit(exit)}): ${output.trim().slice(-4_000) || 'it said nothing'}`,
    );
  }
  return output;
}

function identity(options: LaunchOptions): { uid?: number; gid?: number } {
  return options.account === undefined ? {} : { uid: options.account.uid, gid: options.account.gid };
}

function notStarted(options: LaunchOptions, error: unknown): StateferryError {
  return new StateferryError(
    'LOCAL_STACK',
    `${options.name} could not be started (${options.command}): ${messageOf(error)}`,
    { cause: error },
  );
}
