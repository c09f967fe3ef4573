import type { RunResult } from './run.ts';

/** The results of fault runs as Markdown: a row for each run, what all of them come to, and the faults by kind. */
export function summaryOf(results: readonly RunResult[]): string {
  const sum = (of: (result: RunResult) => number) => results.reduce((total, result) => total + of(result), 0);
  const faultsOf = (result: RunResult) =>
    Object.entries(result.faults).reduce((total, [name, count]) => total + (wasDone(name) ? count : 0), 0);
  const rows = results.map((result) => [
    result.seed,
    result.options.brokers,
    result.minutes,
    faultsOf(result),
    result.commands,
    result.outputs,
    result.unknowns,
    result.starts,
    Object.values(result.rebuilds).reduce((total, count) => total + count, 0),
    seconds(result.recoveryMs.max),
    result.settledMs === null ? '-' : seconds(result.settledMs),
    result.rssMaxMb,
    result.violations.length,
  ]);
  const totals = [
    `${results.length} runs`,
    '',
    round(sum(({ minutes }) => minutes)),
    sum(faultsOf),
    sum(({ commands }) => commands),
    sum(({ outputs }) => outputs),
    sum(({ unknowns }) => unknowns),
    sum(({ starts }) => starts),
    sum(({ rebuilds }) => Object.values(rebuilds).reduce((total, count) => total + count, 0)),
    seconds(Math.max(0, ...results.map(({ recoveryMs }) => recoveryMs.max))),
    seconds(Math.max(0, ...results.map(({ settledMs }) => settledMs ?? 0))),
    Math.max(0, ...results.map(({ rssMaxMb }) => rssMaxMb)),
    sum(({ violations }) => violations.length),
  ];
  const byKind = new Map<string, number>();
  for (const { faults } of results) {
    for (const [name, count] of Object.entries(faults)) {
      if (wasDone(name)) byKind.set(name, (byKind.get(name) ?? 0) + count);
    }
  }
  return [
    row([
      'seed',
      'brokers',
      'minutes',
      'faults',
      'commands',
      'outputs',
      'sends unknown',
      'engine starts',
      'rebuilds',
      'longest recovery, s',
      'all done after, s',
      'memory, MB',
      'violations',
    ]),
    row(Array.from({ length: 13 }, () => '---:')),
    ...rows.map(row),
    row(totals.map((cell) => (cell === '' ? '' : `**${cell}**`))),
    '',
    row(['fault', 'times']),
    row(['---', '---:']),
    ...[...byKind].sort(([one], [other]) => (one < other ? -1 : 1)).map(row),
  ].join('\n');
}

/** A fault that could not be done is counted under a name that says why. */
function wasDone(name: string): boolean {
  return !name.includes('(not done');
}

function row(cells: readonly (string | number)[]): string {
  return `| ${cells.join(' | ')} |`;
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
