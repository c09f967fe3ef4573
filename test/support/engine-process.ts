import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { type Guard, startGuard } from '../../src/local/guard.ts';
import type { ShardPlace } from '../../src/observe/places.ts';
import type { Status } from '../../src/observe/status.ts';
import { compiled } from './compiled.ts';
import { type Fault, ORDER_VARIABLE, type Order, REPORTS_DESCRIPTOR, type Report } from './engine-order.ts';
import { eventually } from './processes.ts';
import type { Scope } from './scope.ts';

const OUTPUT_KEPT = 200_000;
const WITHIN_MS = 30_000;

/** A process of a deployment that runs apart from the test, and that the test can end at any point of the way. */
export interface EngineProcess {
  readonly pid: number;
  /** Resolves, however it ends, to its exit code or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** From now on, this fault is waited for, in the place of any other. */
  arm(fault: Fault): Promise<void>;
  /** Resolves when the fault's point has been reached: with SIGKILL the process is gone then, with SIGSTOP it stands. */
  reached(point: Fault['point']): Promise<void>;
  /** Resolves when it is ready and `holds`, 30 s at most. */
  ready(holds?: (status: Status) => boolean): Promise<Status>;
  status(): Promise<Status>;
  /** Where all shards of the deployment are, as it tells it. */
  places(): Promise<readonly ShardPlace[]>;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | NodeJS.Signals>;
  /** Codes of the rebuilds so far. */
  readonly rebuilds: readonly string[];
  /** The message of the error that ended it, if one did. */
  readonly failure: string | undefined;
  /** Its log so far, one parsed line each. */
  readonly log: readonly LogLine[];
  /** The end of what it has printed so far, for a person. */
  output(): string;
}

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** Compiles the process that the tests of a file start; resolves to what `startEngine` takes. */
export async function compileEngine(t: Scope): Promise<string> {
  const folder = await compiled(t, 'test/support/engine-child.tsconfig.json');
  return path.join(folder, 'test/support/engine-child.js');
}

/** Starts a process of a deployment and resolves when it listens for HTTP. It is killed when the test has finished. */
export async function startEngine(t: Scope, options: { readonly program: string } & Order): Promise<EngineProcess> {
  const { program, ...order } = options;
  const child = spawn(process.execPath, ['--enable-source-maps', program], {
    env: { PATH: process.env.PATH, [ORDER_VARIABLE]: JSON.stringify(order) },
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? -1));
  });
  let printed = '';
  const log: LogLine[] = [];
  const rebuilds: string[] = [];
  const reports: Report[] = [];
  let news: (() => void)[] = [];
  let failure: string | undefined;
  let port: number | undefined;
  const tell = (): void => {
    const waiting = news;
    news = [];
    for (const resolve of waiting) resolve();
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    printed = `${printed}${line}\n`.slice(-OUTPUT_KEPT);
    if (line.startsWith('{')) log.push(JSON.parse(line) as LogLine);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    printed = (printed + text).slice(-OUTPUT_KEPT);
  });
  createInterface({ input: child.stdio[REPORTS_DESCRIPTOR] as Readable }).on('line', (line) => {
    const report = JSON.parse(line) as Report;
    reports.push(report);
    if (report.kind === 'listening') port = report.port;
    if (report.kind === 'rebuild') rebuilds.push(report.code);
    if (report.kind === 'failed') failure = report.message;
    tell();
  });
  // Orders to a process that is gone.
  child.stdin.on('error', () => undefined);
  await once(child, 'spawn');
  const pid = child.pid ?? -1;
  guard ??= startGuard({ log: () => undefined });
  guard.hold(pid, 'SIGKILL');
  exited.then(() => {
    guard?.drop(pid);
    tell();
  });
  t.onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });

  let gone = false;
  exited.then(() => {
    gone = true;
  });
  /** Resolves when a report from `from` on `is` the one; rejects when the process ends without, or none comes. */
  async function reported(what: string, is: (report: Report) => boolean, from = 0): Promise<void> {
    let expired = false;
    const timer = setTimeout(() => {
      expired = true;
      tell();
    }, WITHIN_MS);
    try {
      while (!reports.slice(from).some(is)) {
        if (gone || expired) throw new Error(`the engine ${gone ? 'ended' : 'lived on'} and never ${what}\n${printed}`);
        await new Promise<void>((resolve) => news.push(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  await reported('listened', () => port !== undefined);
  const ask = async (path: string): Promise<unknown> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) });
    return answer.json();
  };
  const status = async () => (await ask('/status')) as Status;
  return {
    pid,
    exited,
    rebuilds,
    log,
    status,
    places: async () => ((await ask('/shards')) as { shards: ShardPlace[] }).shards,
    async arm(next) {
      const before = reports.length;
      child.stdin.write(`${JSON.stringify(next)}\n`);
      await reported('was armed', (report) => report.kind === 'armed', before);
    },
    async reached(point) {
      await reported(`reached ${point}`, (report) => report.kind === 'reached' && report.point === point);
    },
    async ready(holds = () => true) {
      let last: Status | undefined;
      try {
        await eventually(
          'the engine is ready',
          async () => {
            last = await status();
            const settled = last.state === 'running' && last.function.up;
            return settled && last.shards.every(({ state }) => state === 'running') && holds(last);
          },
          WITHIN_MS,
        );
      } catch (cause) {
        throw new Error(`the engine did not become ready: ${JSON.stringify(last)}\n${printed}`, { cause });
      }
      return last as Status;
    },
    kill: (signal) => void child.kill(signal),
    stop() {
      child.kill('SIGTERM');
      return exited;
    },
    get failure() {
      return failure;
    },
    output: () => printed,
  };
}

/** One for the process: ends the engines of a test run that was killed, stopped ones too. */
let guard: Guard | undefined;
