import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { startGuard } from '../src/local/guard.ts';
import type { Host } from '../src/local/host.ts';
import { type Launched, lastLines, launch } from '../src/local/launch.ts';
import { startStack } from '../src/local/stack.ts';
import type { BenchOptions } from './options.ts';
import { familyMeter, type Meter, processMeter } from './proc.ts';

/** What everything runs on: Kafka, Postgres, and a folder for logs. */
export interface Ground {
  readonly brokers: readonly string[];
  readonly databaseUrl: string;
  /** For the load, the checks and the administration. */
  readonly kafka: Kafka;
  readonly meters: { readonly kafka: Meter; readonly postgres: Meter };
  /**
   * Starts Node with `args`; its output goes to a log of that name. It ends with us, whatever happens. `cwd`: a folder of
   * the run's own, without any configuration in it, unless given.
   */
  start(name: string, args: readonly string[], env: Readonly<Record<string, string>>, cwd?: string): Promise<Started>;
  stop(): Promise<void>;
}

export interface Started {
  readonly pid: number;
  /** Rejects, with the end of the log, when the process ends before `stop`; never resolves. */
  readonly failed: Promise<never>;
  /** Resolves when it has ended, whoever ended it. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Asks it to end, and resolves when it has; rejects when it ended with anything but 0 or our own signal. */
  stop(signal: NodeJS.Signals): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** An error that says what went wrong with it, and ends with the end of its log. */
  fault(what: string): Promise<Error>;
}

export async function prepareGround(
  options: Pick<BenchOptions, 'brokers' | 'databaseUrl'>,
  signal: AbortSignal,
): Promise<Ground> {
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const folder = await mkdtemp(path.join(tmpdir(), 'stateferry-bench-'));
  const guard = startGuard({ log });
  guard.remove(folder);
  const host: Host = { env: process.env, guard, signal, log };
  const stack = await startStack({ brokers: options.brokers, databaseUrl: options.databaseUrl, signal, log });
  const running = new Set<Started>();
  return {
    brokers: stack.brokers,
    databaseUrl: stack.databaseUrl,
    kafka: new Kafka({ clientId: 'bench', brokers: stack.brokers, logLevel: logLevel.NOTHING }),
    meters: { kafka: processMeter(stack.kafka?.pid), postgres: familyMeter(stack.postgres?.pid) },
    async start(name, args, env, cwd = folder) {
      const logFile = path.join(folder, `${name}.log`);
      const { PATH = '', HOME = '', TZ } = process.env;
      const launched = await launch({
        name,
        command: process.execPath,
        args,
        // Nothing of the caller's own configuration.
        env: { PATH, HOME, ...(TZ !== undefined && { TZ }), ...env },
        cwd,
        logFile,
        host,
        guardSignal: 'SIGKILL',
      });
      const started = watch(name, launched, logFile);
      running.add(started);
      return started;
    },
    async stop() {
      await Promise.all([...running].map((started) => started.stop('SIGKILL')));
      await stack.stop();
      await rm(folder, { recursive: true, force: true });
      await guard.close();
    },
  };
}

function watch(name: string, launched: Launched, logFile: string): Started {
  let asked: NodeJS.Signals | undefined;
  const fault = async (what: string) => new Error(`${name} ${what}. The end of its log:\n${await lastLines(logFile)}`);
  const failed = new Promise<never>((_, reject) => {
    void launched.exited.then(async ({ code, signal }) => {
      if (asked === undefined) reject(await fault(`ended by itself (${signal ?? code})`));
    });
  });
  failed.catch(() => undefined);
  return {
    pid: launched.pid,
    failed,
    exited: launched.exited,
    fault,
    signal: (signal) => launched.kill(signal),
    async stop(signal) {
      if (launched.exit === undefined) {
        asked = signal;
        launched.kill(signal);
      }
      const exit = await launched.exited;
      if (asked !== undefined && exit.code !== 0 && exit.signal !== asked) throw await fault(`ended with ${exit.code}`);
    },
  };
}
