/** `npm run bench`: argv in; a table and the exit code out, 1 when the outputs were wrong, however fast they came. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { type Baseline, type BaselineResult, measureBaseline } from './baseline-case.ts';
import { runBenchmark, tellResults } from './benchmark.ts';
import { type EngineResult, measureEngine } from './engine-case.ts';
import type { Ground } from './ground.ts';
import { type BenchOptions, type FunctionName, readOptions } from './options.ts';
import { json, problemsOf, type Results, table } from './report.ts';

const ENGINE_PARTS = ['cold', 'warm', 'paced', 'long'] as const;
const BASELINES: readonly Baseline[] = ['batched', 'per-message'];

async function measure(ground: Ground, options: BenchOptions): Promise<Results> {
  const say = (what: string): void => void process.stderr.write(`measuring ${what}\n`);
  const baselines: Partial<Record<Baseline, BaselineResult>> = {};
  // First, and the faster one before the other: it warms up the broker for all that follow.
  for (const name of BASELINES) {
    if (!options.parts.has(name)) continue;
    say(`by hand, ${name}`);
    baselines[name] = await measureBaseline(ground, options, name);
  }
  const engine: Partial<Record<FunctionName, EngineResult>> = {};
  for (const name of options.functions) {
    if (!ENGINE_PARTS.some((part) => options.parts.has(part))) break;
    engine[name] = await measureEngine(ground, options, name, say);
  }
  return { engine, baselines };
}

await runBenchmark(async () => {
  const given = readOptions(process.argv.slice(2));
  const options = { ...given, profile: given.profile === undefined ? undefined : path.resolve(given.profile) };
  if (options.profile !== undefined) await mkdir(options.profile, { recursive: true });
  return {
    servers: options,
    measure: (ground) => measure(ground, options),
    report: (results) =>
      tellResults({
        text: table(options, results),
        file: options.json,
        json: () => json(options, results),
        problems: problemsOf(results),
      }),
  };
});
