/** What no SDK in JavaScript, Java or Go was seen to mind. */
const PLENTY = 10_000;

/** Start of the name that the SDK's library tells in discovery, to streams. */
const LIMITS: readonly (readonly [library: string, streams: number])[] = [
  // It has a fixed pool of ten threads.
  ['cloudstate-python-support', 9],
  // It has a thread for each processor of its machine, unless the application says otherwise: two, as a rule, at least.
  ['akkaserverless-python-support', 1],
];

/**
 * How many entity streams a function that is written with this library can have open at once, where nobody says. The
 * SDKs in Python hold a thread for each, and leave all that comes after the last thread waiting until a stream ends; the
 * one that is left over here answers discovery.
 */
export function streamLimit(supportLibrary: string): number {
  return LIMITS.find(([library]) => supportLibrary.startsWith(library))?.[1] ?? PLENTY;
}
