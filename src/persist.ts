import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, StateferryError } from './errors.ts';
import type { Log } from './observe/log.ts';

const WAIT_MIN_MS = 200;
const WAIT_MAX_MS = 5_000;

/** Tries until it works; says once why it waits, and again when the reason changes. Only `stop` failures end it. */
export async function persist<T>(
  { log, signal }: { log: Log; signal: AbortSignal },
  what: string,
  code: 'KAFKA_UNAVAILABLE' | 'POSTGRES_UNAVAILABLE' | 'REGISTRY_UNAVAILABLE',
  attempt: () => Promise<T>,
): Promise<T> {
  let said = '';
  for (let pause = WAIT_MIN_MS; ; pause = Math.min(pause * 2, WAIT_MAX_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof StateferryError && error.fate === 'stop') throw error;
      // Some libraries put a stack into the message of what they throw.
      const [reason = ''] = messageOf(error).split('\n', 1);
      if (reason !== said) log.warn({ code, reason }, `Waiting for ${what}`);
      said = reason;
    }
    await delay(pause, undefined, { signal });
  }
}
