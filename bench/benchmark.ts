import { aborted } from '../src/abort.ts';
import { buildDescriptor } from './functions.ts';
import { type Ground, prepareGround } from './ground.ts';

/** As a shell reports Ctrl-C. */
const INTERRUPTED = 130;

/** A benchmark whose options have been read. */
export interface Benchmark<Results> {
  /** Servers that exist already, where they are given. */
  readonly servers: Parameters<typeof prepareGround>[0];
  readonly measure: (ground: Ground) => Promise<Results>;
  /** Prints and keeps the results; resolves to the exit code. */
  readonly report: (results: Results) => Promise<number>;
}

async function main<Results>(prepare: () => Promise<Benchmark<Results>>, signal: AbortSignal): Promise<number> {
  const { servers, measure, report } = await prepare();
  await buildDescriptor();
  const ground = await prepareGround(servers, signal);
  try {
    const measuring = measure(ground);
    const outcome = await Promise.race([measuring.then((results) => ({ results })), aborted(signal)]);
    if (outcome === undefined) {
      // What it was waiting for ends with the ground.
      measuring.catch(() => undefined);
      return INTERRUPTED;
    }
    return await report(outcome.results);
  } finally {
    await ground.stop();
  }
}

/** Runs a benchmark on servers that it starts or finds, and ends the process; SIGINT and SIGTERM stop all that it started. */
export async function runBenchmark<Results>(prepare: () => Promise<Benchmark<Results>>): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const code = await main(prepare, stop.signal).catch((error: unknown) => {
    if (stop.signal.aborted) return INTERRUPTED;
    console.error(error);
    return 1;
  });
  // Clients of a case that failed may still try to reach what has been stopped.
  process.stdout.write('', () => process.exit(code));
}
