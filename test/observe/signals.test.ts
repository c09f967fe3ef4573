import { expect, test } from 'vitest';
import { createSignals, type SignalListener, type Signals } from '../../src/observe/signals.ts';
import { createTally, totalsOf } from '../../src/observe/tally.ts';

/** Every signal with arguments. */
const CALLS: { [S in keyof Signals]: Parameters<Signals[S]> } = {
  recordsIn: ['in', 3],
  commands: ['shop.Cart', 2],
  outputs: ['out', 4],
  deadLetters: ['RECORD_OVERSIZE'],
  strays: [5],
  retries: [6],
  parked: [14],
  duplicates: [15],
  fed: ['shop.Watch', 16],
  skipped: [7],
  chunkJournaled: [{ shard: 0, records: 8, events: 9, outputs: 10, ms: 11 }],
  transactionCommitted: [{ chunks: 1, records: 2, ms: 3 }],
  retentionRemoved: ['events', 17, 18],
  rebuild: ['SHARD_FENCED'],
  hangingEnded: ['commit'],
  registryAsked: [{ request: 'schema', outcome: 'ok', ms: 19 }],
  schemaAwaited: [0],
  entitiesOpened: [12],
  entitiesClosed: [13],
  functionUp: [],
  functionDown: ['gone'],
  shardState: [0, 'running'],
};
const NAMES = Object.keys(CALLS) as (keyof Signals)[];

function raise(signals: Signals, name: keyof Signals): void {
  (signals[name] as (...args: unknown[]) => void)(...CALLS[name]);
}

function recorder(heard: unknown[]): SignalListener {
  return Object.fromEntries(NAMES.map((name) => [name, (...args: unknown[]) => heard.push([name, ...args])]));
}

test.each(NAMES)('%s reaches every listener as it was given, until the listener leaves', (name) => {
  const hub = createSignals();
  const first: unknown[] = [];
  const second: unknown[] = [];
  hub.subscribe(recorder(first));
  const leave = hub.subscribe(recorder(second));
  hub.subscribe({});
  raise(hub.signals, name);
  leave();
  raise(hub.signals, name);
  expect(second).toEqual([[name, ...CALLS[name]]]);
  expect(first).toHaveLength(2);
});

test('the list above is the whole list of signals', () => {
  expect(Object.keys(createSignals().signals).sort()).toEqual([...NAMES].sort());
});

test('the tally adds up what was signalled', () => {
  const hub = createSignals();
  const tally = createTally(hub);
  for (const name of [...NAMES, ...NAMES]) raise(hub.signals, name);
  hub.signals.recordsIn('other', 1);
  expect(totalsOf(tally)).toEqual({
    records: 7,
    commands: 4,
    events: 18,
    outputs: 8,
    deadLetters: 2,
    strays: 10,
    retries: 12,
    parked: 28,
    duplicates: 30,
    skipped: 14,
    chunks: 2,
    transactions: 2,
    rebuilds: 2,
  });
  expect(Object.fromEntries(tally.recordsIn)).toEqual({ in: 6, other: 1 });
  expect(tally).toMatchObject({ entitiesOpened: 24, entitiesClosed: 26, functionLosses: 2, schemaWaits: 2 });
});
