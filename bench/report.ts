import os from 'node:os';
import type { Baseline, BaselineResult } from './baseline-case.ts';
import type { EngineResult } from './engine-case.ts';
import type { BenchOptions, FunctionName } from './options.ts';
import type { Run } from './run.ts';

const MB = 1_000_000;

/** Everything that one run of the benchmark found out. */
export interface Results {
  readonly engine: Readonly<Partial<Record<FunctionName, EngineResult>>>;
  readonly baselines: Readonly<Partial<Record<Baseline, BaselineResult>>>;
}

/** A figure of the engine, for a row of the table; NaN or undefined: not measured. */
interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly digits?: number;
  of(result: EngineResult, results: Results): number | undefined;
  /** What the project wants to reach on two cores that everything shares. */
  readonly target?: { readonly atLeast: number } | { readonly atMost: number };
}

const cpuFigure = (name: string): Figure => ({
  name: `warm: CPU of ${name}`,
  unit: 'µs a command',
  digits: 1,
  of: ({ warm }) => warm?.cpu[name],
});

const FIGURES: readonly Figure[] = [
  { name: 'process start to all shards owned', unit: 's', digits: 1, of: ({ readyMs }) => readyMs / 1_000 },
  {
    name: 'cold: until every entity has answered',
    unit: 'commands/s',
    of: ({ cold }) => cold?.opening?.rate,
  },
  {
    name: 'cold: from start to end, every stream opened in it',
    unit: 'commands/s',
    of: ({ cold }) => cold?.rate,
    target: { atLeast: 6_000 },
  },
  { name: 'cold: steady, after 3 s', unit: 'commands/s', of: ({ cold }) => cold?.steadyRate },
  { name: 'warm: from start to end', unit: 'commands/s', of: ({ warm }) => warm?.rate, target: { atLeast: 12_000 } },
  { name: 'warm: steady, after 3 s', unit: 'commands/s', of: ({ warm }) => warm?.steadyRate },
  {
    name: 'warm, by the rate of the per-message baseline',
    unit: 'times',
    digits: 1,
    of: ({ warm }, { baselines }) => (warm?.rate ?? Number.NaN) / (baselines['per-message']?.rate ?? Number.NaN),
    target: { atLeast: 4 },
  },
  cpuFigure('engine'),
  cpuFigure('function'),
  cpuFigure('Postgres'),
  cpuFigure('Kafka'),
  cpuFigure('load and check'),
  {
    name: 'warm: resident memory of the engine',
    unit: 'MB',
    of: ({ warm }) => (warm?.residentBytes ?? Number.NaN) / MB,
    target: { atMost: 700 },
  },
  { name: 'warm: active entities', unit: 'streams', of: ({ warm }) => warm?.activeEntities },
  { name: 'paced: p50', unit: 'ms', digits: 1, of: ({ paced }) => paced?.p50, target: { atMost: 35 } },
  { name: 'paced: p99', unit: 'ms', digits: 1, of: ({ paced }) => paced?.p99, target: { atMost: 150 } },
  { name: 'paced: longest', unit: 'ms', digits: 1, of: ({ paced }) => paced?.max },
  { name: 'long: from start to end', unit: 'commands/s', of: ({ long }) => long?.rate },
  {
    name: 'long: drift of the resident memory',
    unit: '%',
    digits: 1,
    of: ({ long }) => (long?.memory.drift ?? Number.NaN) * 100,
    target: { atMost: 10 },
  },
];

/** The problems of all cases: none, and the outputs were exactly what they had to be. */
export function problemsOf({ engine, baselines }: Results): string[] {
  return [...Object.values(engine), ...Object.values(baselines)].flatMap(({ problems }) => [...problems]);
}

/** For people. */
export function table(options: BenchOptions, results: Results): string {
  const names = Object.keys(results.engine) as FunctionName[];
  const rows: string[][] = [];
  for (const figure of FIGURES) {
    const values = names.map((name) => measuredBy(figure, name, results));
    if (values.every(Number.isNaN)) continue;
    rows.push([
      `${figure.name}, ${figure.unit}`,
      ...values.map((value) => number(value, figure.digits) + verdict(options, figure, value)),
      options.quick ? '' : limit(figure),
    ]);
  }
  const sections = [`${jobOf(options)}\n${machine()}`];
  if (rows.length > 0) sections.push(align([['Stateferry', ...names, options.quick ? '' : 'target'], ...rows]));
  for (const name of names) {
    const fifths = results.engine[name]?.long?.memory.fifths ?? [];
    if (fifths.length === 0) continue;
    const levels = fifths.map((l, i) => [`${i + 1}`, ...[l.min, l.median, l.max].map((bytes) => number(bytes / MB))]);
    sections.push(align([[`long, ${name}: MB, by fifths`, 'min', 'median', 'max'], ...levels]));
  }
  const baselines = Object.entries(results.baselines);
  if (baselines.length > 0)
    sections.push(align([BASELINE_HEAD, ...baselines.map(([name, run]) => baselineRow(name, run))]));
  const problems = problemsOf(results);
  sections.push(
    problems.length === 0
      ? 'Outputs: every one there, once, in order.'
      : `The outputs are WRONG:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
  );
  return `${sections.join('\n\n')}\n`;
}

/** For programs: all that was measured, with the targets; what was not measured is null. */
export function json(options: BenchOptions, results: Results): string {
  const targets = (Object.keys(results.engine) as FunctionName[]).flatMap((name) =>
    FIGURES.filter(({ target }) => target !== undefined).map((figure) => {
      const value = measuredBy(figure, name, results);
      return {
        function: name,
        name: figure.name,
        unit: figure.unit,
        ...figure.target,
        value,
        met: options.quick ? null : isMet(figure, value),
      };
    }),
  );
  const { commands, entities, partitions, rate, quick, settings, nodeFlags } = options;
  const job = { commands, entities, partitions, rate, quick, settings, nodeFlags };
  const all = {
    at: new Date().toISOString(),
    machine: machine(),
    job,
    ...results,
    targets,
    problems: problemsOf(results),
  };
  return `${JSON.stringify(all, undefined, 2)}\n`;
}

function measuredBy(figure: Figure, name: FunctionName, results: Results): number {
  const result = results.engine[name];
  return (result === undefined ? undefined : figure.of(result, results)) ?? Number.NaN;
}

/** Null: not measured, or without a target. */
function isMet({ target }: Figure, value: number): boolean | null {
  if (target === undefined || Number.isNaN(value)) return null;
  return 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
}

function verdict(options: BenchOptions, figure: Figure, value: number): string {
  const met = options.quick ? null : isMet(figure, value);
  return met === null ? '' : met ? ' met' : ' NOT MET';
}

function limit({ target, digits }: Figure): string {
  if (target === undefined) return '';
  return 'atLeast' in target ? `>= ${number(target.atLeast, digits)}` : `<= ${number(target.atMost, digits)}`;
}

const BASELINE_HEAD = [
  'By hand',
  'commands',
  'commands/s',
  'after 3 s',
  'CPU, µs a command: program',
  'Postgres',
  'Kafka',
  'load and check',
];

function baselineRow(name: string, { commands, rate, steadyRate, cpu }: Run): string[] {
  const spent = ['program', 'Postgres', 'Kafka', 'load and check'].map((part) => number(cpu[part] ?? Number.NaN, 1));
  return [name, number(commands), number(rate), number(steadyRate), ...spent];
}

function jobOf({ commands, entities, partitions }: BenchOptions): string {
  return `The counter job: ${number(commands)} commands of 53 bytes, ${number(entities)} entities, ${partitions} partitions in and out`;
}

/** What all of it ran on. */
export function machine(): string {
  const cpus = os.cpus();
  const gib = Math.round(os.totalmem() / 2 ** 30);
  return `${cpus.length} x ${cpus[0]?.model.trim() ?? 'unknown CPU'}, ${gib} GiB, ${os.type()} ${os.release()}, Node ${process.versions.node}`;
}

/** For people; `n/a` for what was not measured. */
export function number(value: number, digits = 0): string {
  if (Number.isNaN(value)) return 'n/a';
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Columns as wide as their widest cell: the first to the left, the others to the right. */
export function align(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
