/**
 * Does one piece of work at a time, as soon as there is some, but starts no two within `intervalMs`: an idle system
 * answers at once, a busy one gathers what comes meanwhile and pays for it together.
 */
export interface PacedLoop {
  /** There may be work. Cheap; call it as often as you like. */
  wake(): void;
  /** Starts nothing more. Work in flight goes on. */
  stop(): void;
}

export function createPacedLoop(options: {
  intervalMs: number;
  /** Does what there is and resolves; must not reject. False: there was nothing to do. */
  work: () => Promise<boolean>;
}): PacedLoop {
  let lastStart = Number.NEGATIVE_INFINITY;
  let working = false;
  let again = false;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let immediate: NodeJS.Immediate | undefined;

  function schedule(): void {
    if (timer !== undefined || immediate !== undefined || stopped) return;
    const wait = lastStart + options.intervalMs - performance.now();
    // Even without a wait, what the present turn of the event loop brings goes together.
    if (wait <= 0) immediate = setImmediate(run);
    else timer = setTimeout(run, wait);
  }

  async function run(): Promise<void> {
    timer = undefined;
    immediate = undefined;
    if (stopped) return;
    working = true;
    again = false;
    const start = performance.now();
    if (await options.work()) {
      lastStart = start;
      again = true;
    }
    working = false;
    if (again) schedule();
  }

  return {
    wake() {
      if (working) again = true;
      else schedule();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      clearImmediate(immediate);
    },
  };
}
