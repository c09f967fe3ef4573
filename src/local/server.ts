import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, StateferryError } from '../errors.ts';
import type { Host } from './host.ts';
import { describeExit, type Launched, lastLines } from './launch.ts';

/** A server of the local stack. */
export interface LocalServer {
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  /** Resolves when the process has ended; at once if it has. Safe to call again. SIGKILL after a bounded time. */
  stop(): Promise<void>;
  /** Sends a signal and waits for nothing; for tests of faults. */
  kill(signal: NodeJS.Signals): void;
  /** Stops it if it still runs and starts it again on the same data and port. Resolves when it answers. */
  restart(): Promise<void>;
}

/** The polite signals of a stop, in order, with how long each may take in ms. SIGKILL comes after the last. */
export type StopSteps = readonly { readonly signal: NodeJS.Signals; readonly waitMs: number }[];

export interface ServerOptions {
  readonly name: string;
  readonly logFile: string;
  readonly launch: () => Promise<Launched>;
  /** Resolves when the server answers, and answers as the one that was launched; rejects while it does not. */
  readonly probe: () => Promise<void>;
  readonly stopSteps: StopSteps;
  readonly host: Host;
}

const READY_MS = 60_000;
const PROBE_EVERY_MS = 50;
/**
 * A predecessor that was killed, or is still being ended by its guard, may hold the data folder's lock for a moment:
 * a start that ends early on data that was there before is tried again for so long.
 */
const UNLOCK_MS = 5_000;
const UNLOCK_EVERY_MS = 250;

/** Launches a server and resolves when it answers. LOCAL_STACK, with its last log lines, when it ends instead. */
export async function startServer(options: ServerOptions, hadData: boolean): Promise<LocalServer> {
  const { name, host } = options;
  let wanted = true;
  // One at a time, in the order of the calls: a stop during a restart must end what the restart started.
  let turn: Promise<void> = Promise.resolve();
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  };

  async function begin(mayWait: boolean): Promise<Launched> {
    const giveUp = Date.now() + (mayWait ? UNLOCK_MS : 0);
    for (;;) {
      const launched = await options.launch();
      if (await answers(options, launched)) return launched;
      if (Date.now() >= giveUp) {
        throw new StateferryError(
          'LOCAL_STACK',
          `${name} ended (${describeExit(await launched.exited)}) before it answered. The end of ${options.logFile}:\n${await lastLines(options.logFile)}`,
        );
      }
      await delay(UNLOCK_EVERY_MS);
    }
  }

  function watch(launched: Launched): void {
    void launched.exited.then((exit) => {
      if (wanted) host.log(`${name} ended unexpectedly (${describeExit(exit)}); see ${options.logFile}`);
    });
  }

  let current = await begin(hadData);
  watch(current);

  const end = (): Promise<void> => {
    wanted = false;
    return endProcess(current, options.stopSteps);
  };
  return {
    get pid() {
      return current.pid;
    },
    stop: () => inTurn(end),
    kill(signal) {
      wanted = false;
      current.kill(signal);
    },
    restart: () =>
      inTurn(async () => {
        await end();
        current = await begin(true);
        wanted = true;
        watch(current);
      }),
  };
}

/** Resolves to true when the probe succeeds, to false when the process ends first. Ends the process if neither comes. */
async function answers(options: ServerOptions, launched: Launched): Promise<boolean> {
  const { host } = options;
  const giveUp = Date.now() + READY_MS;
  let last: unknown;
  while (launched.exit === undefined) {
    try {
      await options.probe();
      return true;
    } catch (error) {
      last = error;
    }
    if (host.signal.aborted) {
      await endProcess(launched, options.stopSteps);
      throw host.signal.reason;
    }
    if (Date.now() >= giveUp) {
      await endProcess(launched, options.stopSteps);
      throw new StateferryError(
        'LOCAL_STACK',
        `${options.name} did not answer within ${READY_MS / 1000} s (${messageOf(last)}). The end of ${options.logFile}:\n${await lastLines(options.logFile)}`,
        { cause: last },
      );
    }
    await Promise.race([delay(PROBE_EVERY_MS), launched.exited]);
  }
  return false;
}

async function endProcess(launched: Launched, steps: StopSteps): Promise<void> {
  for (const { signal, waitMs } of steps) {
    if (launched.exit !== undefined) return;
    launched.kill(signal);
    await endedWithin(launched, waitMs);
  }
  launched.kill('SIGKILL');
  await launched.exited;
}

async function endedWithin(launched: Launched, waitMs: number): Promise<void> {
  const waiting = new AbortController();
  try {
    await Promise.race([launched.exited, delay(waitMs, undefined, { signal: waiting.signal })]);
  } finally {
    waiting.abort();
  }
}
