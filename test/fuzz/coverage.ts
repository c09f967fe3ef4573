/** What istanbul counts of one module. */
interface ModuleCounters {
  readonly s: Record<string, number>;
  readonly f: Record<string, number>;
  readonly b: Record<string, number[]>;
}

/** Which statements, functions and branches an input reached, and how often, in steps of powers of two. */
export interface Coverage {
  /** Forgets what was counted; whatever ran outside of an input is no feature of it. */
  reset(): void;
  /** Whether the input since `reset` reached something, or reached it so much oftener, that none had before. Resets. */
  isNew(): boolean;
  /** How many features were seen. */
  features(): number;
}

/**
 * Reads the counters of the modules that the loader hook instrumented; they must all have been loaded. Without `counts`,
 * only what is reached is a feature, not how often.
 */
export function createCoverage({ counts }: { readonly counts: boolean }): Coverage {
  const modules = Object.values((globalThis as { __coverage__?: Record<string, ModuleCounters> }).__coverage__ ?? {});
  const counters: Record<string, number>[] = modules.flatMap(({ s, f, b }) => [
    s,
    f,
    ...Object.values(b).map((branches) => branches as unknown as Record<string, number>),
  ]);
  const keys = counters.map((counter) => Object.keys(counter).map(Number));
  const seen = counters.map((counter) => new Uint32Array(Object.keys(counter).length));
  let count = 0;

  function isNew(): boolean {
    let found = false;
    for (let c = 0; c < counters.length; c++) {
      const counter = counters[c] as Record<number, number>;
      const own = keys[c] as number[];
      const known = seen[c] as Uint32Array;
      for (let k = 0; k < own.length; k++) {
        const hits = counter[own[k] as number] as number;
        if (hits === 0) continue;
        counter[own[k] as number] = 0;
        const step = counts ? 1 << Math.min(10, 32 - Math.clz32(hits)) : 1;
        if (((known[k] as number) & step) !== 0) continue;
        known[k] = (known[k] as number) | step;
        count++;
        found = true;
      }
    }
    return found;
  }

  return {
    isNew,
    reset() {
      for (let c = 0; c < counters.length; c++) {
        const counter = counters[c] as Record<number, number>;
        for (const key of keys[c] as number[]) counter[key] = 0;
      }
    },
    features: () => count,
  };
}
