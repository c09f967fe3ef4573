import { spawn } from 'node:child_process';
import { once } from 'node:events';

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
export async function attempt(
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
