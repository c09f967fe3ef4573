import type { Guard } from './guard.ts';

/** What every part of the local stack gets from the one who starts it. */
export interface Host {
  /** PATH, JAVA_HOME, XDG_CACHE_HOME, HOME and TZ are read. */
  readonly env: NodeJS.ProcessEnv;
  readonly guard: Guard;
  /** Aborted: give up starting, and end what runs of it. */
  readonly signal: AbortSignal;
  /** For people. No secrets. */
  readonly log: (line: string) => void;
}
