/** The time of day, and a time that only goes on; both in ms. */
export interface Clocks {
  wall(): number;
  monotonic(): number;
}

const CLOCKS: Clocks = { wall: () => Date.now(), monotonic: () => performance.now() };

/**
 * Calls `onBack` when the time of day has gone back by more than `toleranceMs` between two looks, which are `everyMs`
 * apart. Answers a function that ends it.
 */
export function watchClock(options: {
  everyMs: number;
  toleranceMs: number;
  onBack: (byMs: number) => void;
  clocks?: Clocks;
}): () => void {
  const { wall, monotonic } = options.clocks ?? CLOCKS;
  let ahead = wall() - monotonic();
  const timer = setInterval(() => {
    const now = wall() - monotonic();
    const back = ahead - now;
    ahead = now;
    if (back > options.toleranceMs) options.onBack(back);
  }, options.everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
