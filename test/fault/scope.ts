import type { Scope } from '../support/scope.ts';

/** A scope that whoever runs outside of a test ends: what was made last is cleaned up first. */
export interface OwnScope extends Scope {
  end(): Promise<void>;
}

export function createScope(): OwnScope {
  const cleanUps: (() => Promise<void>)[] = [];
  return {
    onTestFinished: (cleanUp) => void cleanUps.push(cleanUp),
    async end() {
      for (let next = cleanUps.pop(); next !== undefined; next = cleanUps.pop()) await next();
    },
  };
}
