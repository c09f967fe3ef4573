import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const EVERY_MS = 1_000;

/** Memory of the engines, as the system counts it. */
export interface Vitals {
  /** The most that one of them has had, in MB. */
  readonly maxMb: number;
  /** The most that one of them had at the last look that found any. */
  readonly lastMb: number;
  stop(): void;
}

/** Looks every second at the processes that `pids` names. */
export function startVitals(pids: () => readonly (number | undefined)[]): Vitals {
  let maxMb = 0;
  let lastMb = 0;
  const timer = setInterval(() => {
    const list = pids().filter((pid) => pid !== undefined);
    if (list.length === 0) return;
    promisify(execFile)('ps', ['-o', 'rss=', '-p', list.join(',')]).then(
      ({ stdout }) => {
        const sizes = stdout
          .split('\n')
          .map(Number)
          .filter((kb) => kb > 0);
        if (sizes.length === 0) return;
        lastMb = Math.round(Math.max(...sizes) / 1024);
        maxMb = Math.max(maxMb, lastMb);
      },
      // All of them have ended.
      () => undefined,
    );
  }, EVERY_MS);
  return {
    get maxMb() {
      return maxMb;
    },
    get lastMb() {
      return lastMb;
    },
    stop: () => clearInterval(timer),
  };
}
