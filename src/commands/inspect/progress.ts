import type { Output } from '../../cli/context.ts';

/** Nothing is said of what takes less, and then so often, in ms. */
const EVERY_MS = 2_000;

/** Tells whoever waits that there is something to wait for. */
export interface Progress {
  /** What is being done, from now on. */
  now(doing: string): void;
  /** Something was printed: that tells as well. */
  printed(): void;
  end(): void;
}

/** Lines about what takes long; `end` it, or the process goes on telling. */
export function createProgress(err: Output): Progress {
  const start = performance.now();
  let quietSince = start;
  let doing = 'reading the journal';
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - quietSince < EVERY_MS * 0.9) return;
    err.write(`${((now - start) / 1000).toFixed(1).padStart(6)} s  ${doing}\n`);
  }, EVERY_MS);
  return {
    now(what) {
      doing = what;
    },
    printed() {
      quietSince = performance.now();
    },
    end: () => clearInterval(timer),
  };
}
