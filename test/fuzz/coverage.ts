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
  const modules = Object.values(
    (globalThis as { __coverage__?: Record<string, ModuleCounters> }).__coverage__ ?? {},
  ).map(({ s, f, b }) => ({
    functions: tableOf(f),
    rest: [tableOf(s), ...Object.values(b).map((branches) => tableOf(branches as unknown as Record<string, number>))],
  }));
  let count = 0;

  /** Takes the hits out of a table: whether there were any, and whether something of it is new. */
  function take({ counter, keys, seen }: Table): { readonly hit: boolean; readonly found: boolean } {
    let hit = false;
    let found = false;
    for (let k = 0; k < keys.length; k++) {
      const key = keys[k] as number;
      const hits = counter[key] as number;
      if (hits === 0) continue;
      hit = true;
      counter[key] = 0;
      const step = counts ? 1 << Math.min(10, 32 - Math.clz32(hits)) : 1;
      if (((seen[k] as number) & step) !== 0) continue;
      seen[k] = (seen[k] as number) | step;
      count++;
      found = true;
    }
    return { hit, found };
  }

  function isNew(): boolean {
    let found = false;
    for (const { functions, rest } of modules) {
      const entered = take(functions);
      if (entered.found) found = true;
      // Whatever of a module runs, some function of it was entered.
      if (entered.hit) for (const table of rest) if (take(table).found) found = true;
    }
    return found;
  }

  return {
    isNew,
    reset() {
      for (const { functions, rest } of modules) {
        for (const { counter, keys } of [functions, ...rest]) for (const key of keys) counter[key] = 0;
      }
    },
    features: () => count,
  };
}

/** Counters by number, and which steps of each were seen. */
interface Table {
  readonly counter: Record<number, number>;
  readonly keys: readonly number[];
  readonly seen: Uint32Array;
}

function tableOf(counter: Record<string, number>): Table {
  const keys = Object.keys(counter).map(Number);
  return { counter, keys, seen: new Uint32Array(keys.length) };
}
