import { afterAll } from 'vitest';

/** What something made for a test is cleaned up with: a test's own context, or `fileScope()`. */
export interface Scope {
  onTestFinished(cleanUp: () => Promise<void>): void;
}

/** For what the tests of a file, or of a describe block, share. */
export function fileScope(): Scope {
  return { onTestFinished: (cleanUp) => afterAll(cleanUp) };
}
