import { setTimeout as delay } from 'node:timers/promises';
import { StateferryError } from '../errors.ts';
import type { Host } from '../local/host.ts';
import { describeExit, type Launched, lastLines, launch } from '../local/launch.ts';

/** How long a process may take to end when it is asked to, in ms. */
const STOP_WITHIN_MS = 10_000;

/** A process that the demo starts, kills and starts again: the engine, or the function. */
export interface Part {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  start(): Promise<void>;
  /** SIGKILL, at once; resolves to whether that is what ended it. */
  kill(): Promise<boolean>;
  /** Asks it to end with SIGTERM, and kills it when it does not. Does nothing where nothing runs. */
  stop(): Promise<void>;
  /** The end of what it printed, indented. */
  tail(): Promise<string>;
}

export function createPart(options: {
  readonly name: string;
  /** For Node: a script and its arguments. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly logFile: string;
  readonly host: Host;
  /** It ended, and nobody had asked it to. */
  readonly onLost: (part: Part, error: StateferryError) => void;
}): Part {
  const { name, logFile, host } = options;
  let current: Launched | undefined;
  /** Those whose end is our doing. */
  const asked = new Set<Launched>();

  const part: Part = {
    name,
    logFile,
    get pid() {
      return current?.pid ?? -1;
    },
    async start() {
      const launched = await launch({
        name,
        command: process.execPath,
        args: options.args,
        env: options.env,
        cwd: options.cwd,
        logFile,
        host,
        guardSignal: 'SIGKILL',
      });
      current = launched;
      void launched.exited.then((exit) => {
        if (asked.has(launched)) return;
        options.onLost(part, new StateferryError('DEMO_FAILED', `${name} ended by itself (${describeExit(exit)})`));
      });
    },
    async kill() {
      if (current === undefined) return false;
      asked.add(current);
      current.kill('SIGKILL');
      return (await current.exited).signal === 'SIGKILL';
    },
    async stop() {
      if (current === undefined) return;
      asked.add(current);
      current.kill('SIGTERM');
      const waiting = new AbortController();
      await Promise.race([current.exited, delay(STOP_WITHIN_MS, undefined, { signal: waiting.signal })]);
      waiting.abort();
      current.kill('SIGKILL');
      await current.exited;
    },
    tail: () => lastLines(logFile, 12),
  };
  return part;
}
