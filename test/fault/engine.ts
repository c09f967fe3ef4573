import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { type Guard, startGuard } from '../../src/local/guard.ts';
import type { Status } from '../../src/observe/status.ts';
import { type Fault, ORDER_VARIABLE, REPORTS_DESCRIPTOR } from '../support/engine-order.ts';
import type { Scope } from '../support/scope.ts';
import type { ClockOrder, FaultOrder, FaultReport, LeakReport } from './order.ts';

const LINES_KEPT = 60;
const WITHIN_MS = 30_000;

/** An engine of a fault run, in a process of its own, whose log goes to a file. */
export interface Engine {
  readonly pid: number;
  /** Resolves, however it ends, to its exit code or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** The same, once it has ended. */
  readonly exit: number | NodeJS.Signals | undefined;
  /** From now on, this fault is waited for, in the place of any other. */
  arm(fault: Fault): void;
  moveClock(byMs: number): void;
  /** Resolves when the fault's point has been reached; rejects when the process ends without, or after 30 s. */
  reached(point: Fault['point']): Promise<void>;
  /** Undefined while it cannot be asked. */
  status(): Promise<Status | undefined>;
  kill(signal: NodeJS.Signals): void;
  /**
   * SIGTERM, and SIGKILL where it has not stopped after `withinMs`. Resolves when it has ended: true unless it had to be
   * killed here. A fault that ends it while it stops is no concern of the time it takes.
   */
  stop(withinMs: number): Promise<boolean>;
  /** Codes of the rebuilds so far. */
  readonly rebuilds: readonly string[];
  /** The message of the error that ended it, if one did. */
  readonly failure: string | undefined;
  /** What kept it alive after it had stopped in order, if anything did. */
  readonly leaked: LeakReport | undefined;
  /** The last lines of its log. */
  readonly lines: readonly string[];
}

/** Starts an engine and resolves when it listens for HTTP. It is killed when the scope ends. */
export async function startEngine(
  t: Scope,
  options: {
    readonly program: string;
    readonly order: FaultOrder;
    readonly logFile: string;
    /** Anything it reports, as it comes. */
    readonly onReport?: (report: FaultReport) => void;
  },
): Promise<Engine> {
  const child = spawn(process.execPath, ['--enable-source-maps', options.program], {
    env: { PATH: process.env.PATH, [ORDER_VARIABLE]: JSON.stringify(options.order) },
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
  let exit: number | NodeJS.Signals | undefined;
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('exit', (code, signal) => {
      exit = code ?? signal ?? -1;
      resolve(exit);
    });
  });
  const file = createWriteStream(options.logFile, { flags: 'a' });
  const lines: string[] = [];
  const reports: FaultReport[] = [];
  const rebuilds: string[] = [];
  let news: (() => void)[] = [];
  let failure: string | undefined;
  let leaked: LeakReport | undefined;
  let port: number | undefined;
  const tell = (): void => {
    const waiting = news;
    news = [];
    for (const resolve of waiting) resolve();
  };
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      file.write(`${line}\n`);
      lines.push(line);
      if (lines.length > LINES_KEPT) lines.shift();
    });
  }
  createInterface({ input: child.stdio[REPORTS_DESCRIPTOR] as Readable }).on('line', (line) => {
    const report = JSON.parse(line) as FaultReport;
    reports.push(report);
    if (report.kind === 'listening') port = report.port;
    if (report.kind === 'rebuild') rebuilds.push(report.code);
    if (report.kind === 'failed') failure = report.message;
    if (report.kind === 'leaked') leaked = report;
    options.onReport?.(report);
    tell();
  });
  // Orders to a process that is gone.
  child.stdin.on('error', () => undefined);
  await once(child, 'spawn');
  const pid = child.pid ?? -1;
  guard ??= startGuard({ log: () => undefined });
  guard.hold(pid, 'SIGKILL');
  child.once('close', () => {
    guard?.drop(pid);
    file.end();
    tell();
  });
  exited.then(tell);
  t.onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });

  async function reported(what: string, is: (report: FaultReport) => boolean): Promise<void> {
    const giveUp = performance.now() + WITHIN_MS;
    const timer = setTimeout(tell, WITHIN_MS + 1);
    try {
      while (!reports.some(is)) {
        if (exit !== undefined || performance.now() > giveUp) {
          throw new Error(
            `the engine ${exit === undefined ? 'lived on' : `ended (${exit})`} and never ${what}\n${lines.join('\n')}`,
          );
        }
        await new Promise<void>((resolve) => news.push(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }
  const send = (order: Fault | ClockOrder): void => void child.stdin.write(`${JSON.stringify(order)}\n`);

  await reported('listened', () => port !== undefined);
  return {
    pid,
    exited,
    get exit() {
      return exit;
    },
    arm: send,
    moveClock: (clockByMs) => send({ clockByMs }),
    reached: (point) => reported(`reached ${point}`, (report) => report.kind === 'reached' && report.point === point),
    async status() {
      try {
        const answer = await fetch(`http://127.0.0.1:${port}/status`, { signal: AbortSignal.timeout(2_000) });
        return (await answer.json()) as Status;
      } catch {
        // Gone, or it stands.
        return undefined;
      }
    },
    kill: (signal) => void child.kill(signal),
    async stop(withinMs) {
      let inTime = true;
      child.kill('SIGTERM');
      const timer = setTimeout(() => {
        // What keeps it alive then, it tells itself.
        if (reports.some(({ kind }) => kind === 'stopped')) return;
        inTime = false;
        child.kill('SIGKILL');
      }, withinMs);
      await exited;
      clearTimeout(timer);
      return inTime;
    },
    rebuilds,
    get failure() {
      return failure;
    },
    get leaked() {
      return leaked;
    },
    lines,
  };
}

/** One for the process: ends the engines of a run that was killed, stopped ones too. */
let guard: Guard | undefined;
