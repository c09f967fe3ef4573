import { afterAll } from 'vitest';

/** What something made for a test is cleaned up with: a test's own context, or `fileScope()`. */
export interface Scope {
  onTestFinished(cleanUp: () => Promise<void>): void;
}

/**
 * For what the tests of a file, or of a describe block, share. Made outside of hooks and tests; what is given to it, in
 * them too, is cleaned up after the last test, the latest first, and all of it whatever fails.
 */
export function fileScope(): Scope {
  const cleanUps: (() => Promise<void>)[] = [];
  afterAll(async () => {
    const failures: unknown[] = [];
    for (const cleanUp of cleanUps.reverse()) await cleanUp().catch((error: unknown) => failures.push(error));
    if (failures.length > 0)
      throw new AggregateError(failures, `cleaning up failed: ${failures.map(String).join('; ')}`);
  });
  return { onTestFinished: (cleanUp) => void cleanUps.push(cleanUp) };
}
