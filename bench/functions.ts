import { execFile } from 'node:child_process';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { messageOf } from '../src/errors.ts';
import { freePorts, portTaken } from '../src/local/ports.ts';
import { packagePath } from '../src/package-path.ts';
import type { Ground, Started } from './ground.ts';
import type { FunctionName } from './options.ts';

const UP_WITHIN_MS = 20_000;
const TRIES = 4;

export interface RunningFunction extends Started {
  readonly url: string;
}

/** Builds the descriptor that both functions hand to the engine at discovery, if it is missing or stale. */
export async function buildDescriptor(): Promise<void> {
  await promisify(execFile)(
    process.execPath,
    [packagePath('examples/build-descriptor.js'), '@kalix-io/kalix-javascript-sdk'],
    { cwd: packagePath('bench/kalix-counter') },
  );
}

/** Starts a function in a process of its own and resolves when it listens. */
export async function startCounter(ground: Ground, name: FunctionName): Promise<RunningFunction> {
  for (let nth = 1; ; nth++) {
    try {
      return await launch(ground, name);
    } catch (error) {
      // Somebody else has taken the port since it was found free.
      if (nth >= TRIES || !messageOf(error).includes('EADDRINUSE')) throw error;
    }
  }
}

async function launch(ground: Ground, name: FunctionName): Promise<RunningFunction> {
  const [port = 0] = await freePorts(1);
  const kalix = packagePath('bench/kalix-counter');
  const started =
    name === 'lean'
      ? await ground.start(`${name}-function`, [fileURLToPath(new URL('lean-function.js', import.meta.url))], {
          HOST: '127.0.0.1',
          PORT: String(port),
          BENCH_DESCRIPTOR: path.join(kalix, 'user-function.desc'),
        })
      : await ground.start(`${name}-function`, ['index.js'], { HOST: '127.0.0.1', PORT: String(port) }, kalix);
  const giveUp = Date.now() + UP_WITHIN_MS;
  while (!(await portTaken(port))) {
    if (Date.now() > giveUp) throw new Error(`the ${name} function does not listen after ${UP_WITHIN_MS / 1_000} s`);
    await Promise.race([delay(50), started.failed]);
  }
  return { ...started, url: `http://127.0.0.1:${port}` };
}
