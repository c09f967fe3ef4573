import { formatTable } from '../cli/table.ts';
import type { Verdict } from './judge.ts';

/** A kill that was survived, or not. */
export interface Kill {
  readonly name: string;
  /** The process ended by SIGKILL, and another one took its place. */
  readonly survived: boolean;
  /** performance.now() of the signal, in ms. */
  readonly at: number;
}

/** What was measured, in ms and counts. */
export interface Measured {
  readonly bulk: {
    readonly flights: number;
    /** From the first publish to the last status visible. */
    readonly ms: number;
    /** Longest pause between two arrivals after each kill. */
    readonly standstills: readonly { readonly name: string; readonly ms: number }[];
  };
  readonly paced: {
    readonly perSecond: number;
    /** From when each flight was due to when its status was visible. */
    readonly latencies: readonly number[];
  };
}

/** The value below which `share` of the values lie (nearest rank); NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/**
 * For each kill, the longest pause between two arrivals that ends after it and before the next kill.
 * `arrivals` in order of time; all in ms on one clock.
 */
export function standstillsAfter(kills: readonly Kill[], arrivals: readonly number[]): Measured['bulk']['standstills'] {
  return kills.map(({ name, at }, index) => {
    const until = kills[index + 1]?.at ?? Number.POSITIVE_INFINITY;
    let longest = 0;
    for (let i = 1; i < arrivals.length; i++) {
      const arrival = arrivals[i] as number;
      if (arrival > at && arrival <= until) longest = Math.max(longest, arrival - (arrivals[i - 1] as number));
    }
    return { name, ms: longest };
  });
}

/** Everything that had to come out, and what did. */
export function formatTallies({ tallies }: Verdict): string {
  return formatTable(
    ['', 'EXPECTED', 'FOUND', 'LOST', 'DUPLICATED'],
    tallies.map(({ what, expected, found, lost, duplicated }) => [
      what,
      ...[expected, found, lost, duplicated].map(count),
    ]),
    new Set(['EXPECTED', 'FOUND', 'LOST', 'DUPLICATED']),
  );
}

/** Whether it all holds, and what does not. */
export function formatFaults({ faults }: Verdict): string {
  if (faults.length > 0) return `What does not hold:\n${faults.map((fault) => `  - ${fault}\n`).join('')}`;
  return (
    'Every status, state event and alert is there exactly once, in order, with the right figures; the journal and the\n' +
    'positions agree. It was computed again from the file and compared.\n'
  );
}

/** What was measured, a line each. A kill counts as survived only where everything `held`. */
export function formatMeasured(options: {
  readonly kills: readonly Kill[];
  readonly measured: Measured;
  readonly held: boolean;
  /** Of everything, in ms. */
  readonly took: number;
}): string {
  const { kills, held, took } = options;
  const { bulk, paced } = options.measured;
  const stood = bulk.standstills.reduce((sum, { ms }) => sum + ms, 0);
  const standstills = bulk.standstills.map(({ name, ms }) => `${seconds(ms)} after the kill of ${name}`).join(', ');
  const survived = held ? kills.filter((kill) => kill.survived).length : 0;
  const lines: [string, string][] = [
    ['kills survived', `${survived} of ${kills.length} (SIGKILL: ${kills.map(({ name }) => name).join(', ')})`],
    ['standstill', standstills],
    [
      'rate',
      `${count((bulk.flights / bulk.ms) * 1000)} messages/s: ${count(bulk.flights)} in ${seconds(bulk.ms)}, first publish to last ` +
        `status visible, kills included; ${count((bulk.flights / (bulk.ms - stood)) * 1000)} messages/s without the standstills`,
    ],
    [
      'latency',
      `p50 ${milliseconds(percentile(paced.latencies, 0.5))}, p99 ${milliseconds(percentile(paced.latencies, 0.99))}, publish to status visible: ` +
        `the last ${count(paced.latencies.length)}, at ${count(paced.perSecond)}/s without a backlog`,
    ],
    ['took', seconds(took)],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, text]) => `${name.padEnd(width)}  ${text}\n`).join('');
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(0)} ms`;
}
