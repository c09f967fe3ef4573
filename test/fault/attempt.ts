import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

/** Before another process tries again. */
const PAUSE_MS = 1_000;

/** How a process of the harness's own came to its end. */
export interface Attempt {
  /** Null: it was killed. */
  readonly code: number | null;
  /** All that it printed. */
  readonly said: string;
}

/**
 * Runs a compiled program of the harness with an order, to its end. `killedAfterMs`: it is killed then, unless it has ended; undefined:
 * it is not. It is killed, too, when the signal comes.
 */
async function attempt(
  program: string,
  order: object,
  { killedAfterMs, signal }: { readonly killedAfterMs: number | undefined; readonly signal: AbortSignal },
): Promise<Attempt> {
  const child = spawn(process.execPath, ['--enable-source-maps', program, JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (said += String(text)));
  const kill = () => child.kill('SIGKILL');
  const timer = killedAfterMs === undefined ? undefined : setTimeout(kill, killedAfterMs);
  signal.addEventListener('abort', kill);
  const [code] = (await once(child, 'exit')) as [number | null];
  clearTimeout(timer);
  signal.removeEventListener('abort', kill);
  return { code, said };
}

/**
 * Runs the program again and again until it ends with 0, or the signal comes; of its processes the first alone is killed. `onEnd` hears of
 * each. Answers whether it ended with 0.
 */
export async function attempts(
  program: string,
  order: object,
  options: {
    readonly killedAfterMs: number | undefined;
    readonly signal: AbortSignal;
    readonly onEnd: (ended: Attempt, how: string) => void;
  },
): Promise<boolean> {
  const { signal, onEnd } = options;
  let { killedAfterMs } = options;
  while (!signal.aborted) {
    const ended = await attempt(program, order, { killedAfterMs, signal });
    killedAfterMs = undefined;
    onEnd(ended, ended.code === 0 ? 'done' : ended.code === null ? 'killed' : `code ${ended.code}`);
    if (ended.code === 0) return true;
    await delay(PAUSE_MS, undefined, { signal }).catch(() => undefined);
  }
  return false;
}
