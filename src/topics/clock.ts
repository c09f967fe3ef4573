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

/** A jump of the clock by this part of the session is no matter. */
const JUMP_PART = 3;
const LOOK_MS = 500;

/**
 * Calls `onLost` when the heartbeats of a kafkajs consumer have stopped: it sends the next one when the time of day says
 * so. An hour back, and it sends none for an hour, while the group has long given its partitions away and it fetches on.
 * Answers a function that ends it.
 */
export function watchHeartbeats(sessionTimeoutMs: number, onLost: (error: Error) => void): () => void {
  return watchClock({
    everyMs: LOOK_MS,
    toleranceMs: sessionTimeoutMs / JUMP_PART,
    onBack: (byMs) =>
      onLost(new Error(`the time of day went back by ${Math.round(byMs / 1_000)} s, and heartbeats with it`)),
  });
}
