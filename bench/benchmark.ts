import { writeFile } from 'node:fs/promises';
import { aborted } from '../src/abort.ts';
import { buildDescriptor } from './functions.ts';
import { type Ground, prepareGround } from './ground.ts';
import { machine } from './report.ts';

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

/** Prints what was measured and writes it to a file where one is named; resolves to the exit code, 1 where something was wrong. */
export async function tellResults(told: {
  /** For people. */
  readonly text: string;
  readonly file: string | undefined;
  /** For programs. */
  readonly json: () => string;
  readonly problems: readonly string[];
}): Promise<number> {
  process.stdout.write(told.text);
  if (told.file !== undefined) await writeFile(told.file, told.json());
  return told.problems.length === 0 ? 0 : 1;
}

/** A benchmark of one table: what was measured is told and kept with the options that it was measured with. */
export function tabled<
  Options extends {
    readonly json?: string;
    readonly brokers?: readonly string[] | undefined;
    readonly databaseUrl?: string | undefined;
  },
  Results extends { readonly problems: readonly string[] },
>(
  options: Options,
  of: {
    readonly measure: (ground: Ground, options: Options) => Promise<Results>;
    readonly table: (options: Options, results: Results) => string;
  },
): Benchmark<Results> {
  const { brokers, databaseUrl, ...job } = options;
  return {
    servers: { brokers, databaseUrl },
    measure: (ground) => of.measure(ground, options),
    report(results) {
      const all = { at: new Date().toISOString(), machine: machine(), job, ...results };
      return tellResults({
        text: of.table(options, results),
        file: options.json,
        json: () => `${JSON.stringify(all, undefined, 2)}\n`,
        problems: results.problems,
      });
    },
  };
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
