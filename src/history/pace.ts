import { setTimeout as delay } from 'node:timers/promises';

/** Lets `perSecond` records a second pass, over any second and on the average; undefined: all at once. */
export function createPace(perSecond: number | undefined, signal: AbortSignal): (records: number) => Promise<void> {
  if (perSecond === undefined) return async () => undefined;
  let free = performance.now();
  return async (records) => {
    const now = performance.now();
    const from = Math.max(free, now);
    free = from + (records / perSecond) * 1_000;
    if (from > now) await delay(from - now, undefined, { signal }).catch(() => undefined);
  };
}
