import type { SignalHub } from './signals.ts';
import type { Totals } from './status.ts';

/** Counts by one label. */
export type Counts = ReadonlyMap<string, number>;

/**
 * What was counted since the tally began, in plain numbers: the metrics and the status both read it, so that they
 * never disagree and a signal costs one addition.
 */
export interface Tally {
  readonly recordsIn: Counts;
  readonly commands: Counts;
  readonly outputs: Counts;
  readonly deadLetters: Counts;
  readonly rebuilds: Counts;
  /** Transactions that hung, by how they were ended. */
  readonly hangingEnded: Counts;
  /** Commands that feeds were given. */
  readonly fed: Counts;
  /** Shards that entered a state. */
  readonly shardStates: Counts;
  /** What retention has removed, by kind. */
  readonly removedRows: Counts;
  readonly removedBytes: Counts;
  readonly events: number;
  readonly strays: number;
  readonly retries: number;
  readonly parked: number;
  readonly duplicates: number;
  readonly skipped: number;
  readonly chunks: number;
  readonly transactions: number;
  readonly schemaWaits: number;
  readonly entitiesOpened: number;
  readonly entitiesClosed: number;
  readonly functionLosses: number;
}

/** Begins to count what `hub` signals. The answer is live. */
export function createTally(hub: SignalHub): Tally {
  const counts = {
    recordsIn: new Map<string, number>(),
    commands: new Map<string, number>(),
    outputs: new Map<string, number>(),
    deadLetters: new Map<string, number>(),
    rebuilds: new Map<string, number>(),
    hangingEnded: new Map<string, number>(),
    fed: new Map<string, number>(),
    shardStates: new Map<string, number>(),
    removedRows: new Map<string, number>(),
    removedBytes: new Map<string, number>(),
    events: 0,
    strays: 0,
    retries: 0,
    parked: 0,
    duplicates: 0,
    skipped: 0,
    chunks: 0,
    transactions: 0,
    schemaWaits: 0,
    entitiesOpened: 0,
    entitiesClosed: 0,
    functionLosses: 0,
  };
  hub.subscribe({
    recordsIn: (topic, count) => add(counts.recordsIn, topic, count),
    commands: (component, count) => add(counts.commands, component, count),
    outputs: (topic, count) => add(counts.outputs, topic, count),
    deadLetters: (code) => add(counts.deadLetters, code, 1),
    strays: (count) => {
      counts.strays += count;
    },
    retries: (count) => {
      counts.retries += count;
    },
    parked: (count) => {
      counts.parked += count;
    },
    duplicates: (count) => {
      counts.duplicates += count;
    },
    fed: (feed, count) => add(counts.fed, feed, count),
    skipped: (count) => {
      counts.skipped += count;
    },
    chunkJournaled: ({ events }) => {
      counts.chunks += 1;
      counts.events += events;
    },
    transactionCommitted: () => {
      counts.transactions += 1;
    },
    retentionRemoved: (kind, rows, bytes) => {
      add(counts.removedRows, kind, rows);
      add(counts.removedBytes, kind, bytes);
    },
    rebuild: (reason) => add(counts.rebuilds, reason, 1),
    hangingEnded: (ending) => add(counts.hangingEnded, ending, 1),
    schemaAwaited: () => {
      counts.schemaWaits += 1;
    },
    entitiesOpened: (count) => {
      counts.entitiesOpened += count;
    },
    entitiesClosed: (count) => {
      counts.entitiesClosed += count;
    },
    functionDown: () => {
      counts.functionLosses += 1;
    },
    shardState: (_shard, state) => add(counts.shardStates, state, 1),
  });
  return counts;
}

/** The tally as the status shows it. */
export function totalsOf(tally: Tally): Totals {
  return {
    records: sum(tally.recordsIn),
    commands: sum(tally.commands),
    events: tally.events,
    outputs: sum(tally.outputs),
    deadLetters: sum(tally.deadLetters),
    strays: tally.strays,
    retries: tally.retries,
    parked: tally.parked,
    duplicates: tally.duplicates,
    skipped: tally.skipped,
    chunks: tally.chunks,
    transactions: tally.transactions,
    rebuilds: sum(tally.rebuilds),
  };
}

function add(counts: Map<string, number>, label: string, count: number): void {
  counts.set(label, (counts.get(label) ?? 0) + count);
}

function sum(counts: Counts): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}
