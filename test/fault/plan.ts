import { RUNNING_POINTS } from '../support/engine-points.ts';
import { createRandom, type Random } from '../support/random.ts';

/** Kafka requests whose answers a proxy can lose, with their api keys. */
export const LOSABLE = {
  AddPartitionsToTxn: 24,
  AddOffsetsToTxn: 25,
  EndTxn: 26,
  TxnOffsetCommit: 28,
  Produce: 0,
} as const;
export type Losable = keyof typeof LOSABLE;

export const LINKS = ['kafka', 'postgres', 'function'] as const;
export type Link = (typeof LINKS)[number];
export const TROUBLES = ['cut', 'half-open', 'stall', 'slow', 'reset'] as const;
export type LinkTrouble = (typeof TROUBLES)[number];

/** One fault, as it is done to the thing that it names. Slots, brokers and functions are numbered from 0. */
export type Fault =
  | { readonly kind: 'kill-engine'; readonly slot: number }
  | { readonly kind: 'kill-engine-at'; readonly slot: number; readonly point: string; readonly nth: number }
  | { readonly kind: 'stop-engine-at'; readonly slot: number; readonly point: string; readonly nth: number }
  | { readonly kind: 'restart-engine'; readonly slot: number }
  | { readonly kind: 'roll-engines' }
  | { readonly kind: 'scale'; readonly engines: number }
  | { readonly kind: 'pause-engine'; readonly slot: number }
  | { readonly kind: 'clock'; readonly slot: number; readonly byMs: number }
  | { readonly kind: 'kill-function'; readonly fn: number }
  | { readonly kind: 'pause-function'; readonly fn: number }
  | { readonly kind: 'other-function'; readonly fn: number }
  | { readonly kind: 'kill-broker'; readonly broker: number }
  | { readonly kind: 'restart-broker'; readonly broker: number }
  | { readonly kind: 'pause-broker'; readonly broker: number }
  | { readonly kind: 'kill-postgres' }
  | { readonly kind: 'restart-postgres' }
  | { readonly kind: 'pause-postgres' }
  | { readonly kind: 'fill-disk' }
  | { readonly kind: 'link'; readonly slot: number; readonly link: Link; readonly trouble: LinkTrouble }
  | {
      readonly kind: 'lose-answer';
      readonly slot: number;
      readonly request: Losable;
      readonly after: 'reset' | 'silence';
    }
  | { readonly kind: 'lose-append'; readonly slot: number }
  | { readonly kind: 'promote'; readonly killedAfterMs: number | undefined }
  | { readonly kind: 'replay'; readonly killedAfterMs: number | undefined }
  | { readonly kind: 'delete-group' }
  | { readonly kind: 'add-partitions' };

export type FaultKind = Fault['kind'];

/** Faults by what they are done to; `--faults` takes these names and those of the kinds. */
export const FAMILIES = {
  engine: [
    'kill-engine',
    'kill-engine-at',
    'stop-engine-at',
    'restart-engine',
    'roll-engines',
    'scale',
    'pause-engine',
    'clock',
  ],
  function: ['kill-function', 'pause-function', 'other-function'],
  broker: ['kill-broker', 'restart-broker', 'pause-broker'],
  postgres: ['kill-postgres', 'restart-postgres', 'pause-postgres', 'fill-disk'],
  network: ['link', 'lose-answer', 'lose-append'],
  history: ['promote', 'replay'],
  group: ['delete-group'],
  topic: ['add-partitions'],
} as const satisfies Record<string, readonly FaultKind[]>;

/** No deployment can go on after one of these: it is done at the end of a run, when all else is healed and done. */
const LAST: ReadonlySet<FaultKind> = new Set(['add-partitions']);
/** Of so many runs one ends with it. */
const LAST_IN = 3;

/**
 * Faults that keep the function from answering in time, or take it away. A command that was given up for that is done when its history
 * is made anew, so generations take over only in runs without them.
 */
const EXCUSES: ReadonlySet<FaultKind> = new Set([
  'pause-engine',
  'stop-engine-at',
  'kill-function',
  'pause-function',
  'other-function',
]);

/** Whether commands may be given up, by this fault, that the function would have done. */
export function isExcuse(fault: Fault): boolean {
  return EXCUSES.has(fault.kind) || (fault.kind === 'link' && fault.link === 'function');
}

export const KINDS: readonly FaultKind[] = Object.values(FAMILIES).flat();

/** A fault that begins `at` ms after the load and is healed `forMs` later. */
export interface Planned {
  readonly at: number;
  readonly forMs: number;
  readonly fault: Fault;
}

/** Everything that a run is made from. */
export interface RunOptions {
  readonly seed: number;
  /** Of the phase with faults. */
  readonly minutes: number;
  readonly brokers: 1 | 3;
  /** Engines at the start; at most `slots`. */
  readonly engines: number;
  readonly perSecond: number;
  /** Calls at the doors, beside the records of the input topic. */
  readonly callsPerSecond: number;
  readonly faults: readonly FaultKind[];
}

/** Kinds that are many faults in one. */
const WEIGHTS: Readonly<Partial<Record<FaultKind, number>>> = { link: 3, 'lose-answer': 3 };

/**
 * A deployment whose group was deleted needs its first transactions to know again where it is: until then, a crash leaves
 * what only a person can decide (OFFSETS_GONE).
 */
const ALONE: ReadonlySet<FaultKind> = new Set(['delete-group']);
const ALONE_MS = 12_000;

/** The highest number of engines at once. */
export const SLOTS = 3;
export const FUNCTIONS = 2;
/** Longer than the engines' session: an engine that is paused for so long has lost its shards. */
const PAST_SESSION_MS = 8_000;

/** Where a process is killed or stopped: the names of test/support/engine-points.ts that a run reaches again and again. */
const RUNNING = RUNNING_POINTS.filter((point) => point !== 'loaded');

/**
 * The faults of a run in order of time: windows of one fault alone, of several at once, or of none, with a pause after
 * each. A pure function of its options: the same seed gives the same plan.
 */
export function planFaults(options: RunOptions): Planned[] {
  const random = createRandom(options.seed);
  const end = options.minutes * 60_000;
  const planned: Planned[] = [];
  let at = 3_000;
  const hasExcuses = options.faults.some((kind) => kind === 'link' || EXCUSES.has(kind));
  const left = options.faults.filter((kind) => !LAST.has(kind) && !(kind === 'promote' && hasExcuses));
  // Events are replayed of the generation that serves: where another one takes over, there are others.
  const kinds = left.filter((kind) => !(kind === 'replay' && left.includes('promote')));
  // Every kind has its turn before any comes again.
  let turn: FaultKind[] = [];
  const next = (): FaultKind => {
    if (turn.length === 0)
      turn = shuffled(
        kinds.flatMap((kind) => Array.from({ length: WEIGHTS[kind] ?? 1 }, () => kind)),
        random,
      );
    return turn.pop() as FaultKind;
  };
  while (kinds.length > 0) {
    const length = 2_000 + random.int(5_000);
    const count = random.pick([0, 1, 1, 1, 1, 2, 2, 3]);
    let last = at + length;
    for (let i = 0; i < count; i++) {
      const kind = next();
      const alone = ALONE.has(kind);
      if (alone && i > 0) {
        turn.push(kind);
        break;
      }
      const fault = faultOf(kind, random, options);
      const begin = at + (i === 0 ? 0 : random.int(length));
      const forMs = durationOf(fault, random, length);
      planned.push({ at: begin, forMs, fault });
      last = Math.max(last, begin + forMs, alone ? begin + ALONE_MS : 0);
      if (alone) break;
    }
    at = last + 1_500 + random.int(4_000);
    if (at + 4_000 > end) break;
  }
  return planned.filter((one) => one.at + one.forMs <= end).sort((a, b) => a.at - b.at);
}

/** Whether the run ends with partitions added to its input topic. A pure function of its options. */
export function endsWithPartitions({ seed, faults }: RunOptions): boolean {
  return faults.includes('add-partitions') && seed % LAST_IN === 0;
}

function faultOf(kind: FaultKind, random: Random, { brokers, engines }: RunOptions): Fault {
  const slot = random.int(engines);
  const broker = random.int(brokers);
  const fn = random.int(FUNCTIONS);
  switch (kind) {
    case 'kill-engine-at':
    case 'stop-engine-at':
      return { kind, slot, point: random.pick(RUNNING), nth: 1 + random.int(30) };
    case 'scale':
      return { kind, engines: random.pick([1, 3, 3]) };
    case 'clock':
      return { kind, slot, byMs: random.pick([-3_600_000, -20_000, 5_000, 90_000, 3_600_000]) };
    case 'link':
      return { kind, slot, link: random.pick(LINKS), trouble: random.pick(TROUBLES) };
    case 'lose-answer':
      return {
        kind,
        slot,
        request: random.pick(Object.keys(LOSABLE) as Losable[]),
        after: random.pick(['reset', 'silence']),
      };
    case 'promote':
      return { kind, killedAfterMs: random.pick([undefined, 500 + random.int(8_000)]) };
    case 'replay':
      // Node and kafkajs take the first second.
      return { kind, killedAfterMs: random.pick([undefined, 1_000 + random.int(2_000)]) };
    case 'kill-engine':
    case 'restart-engine':
    case 'pause-engine':
    case 'lose-append':
      return { kind, slot };
    case 'kill-function':
    case 'pause-function':
    case 'other-function':
      return { kind, fn };
    case 'kill-broker':
    case 'restart-broker':
    case 'pause-broker':
      return { kind, broker };
    case 'roll-engines':
    case 'kill-postgres':
    case 'restart-postgres':
    case 'pause-postgres':
    case 'fill-disk':
    case 'delete-group':
    case 'add-partitions':
      return { kind };
  }
}

function durationOf(fault: Fault, random: Random, length: number): number {
  switch (fault.kind) {
    case 'pause-engine':
    case 'stop-engine-at':
      // Sometimes shorter than the session: it wakes up as an owner.
      return random.pick([1_000, PAST_SESSION_MS, PAST_SESSION_MS + random.int(4_000)]);
    case 'kill-engine':
    case 'kill-function':
    case 'kill-broker':
    case 'kill-postgres':
      return random.int(length);
    case 'restart-engine':
    case 'restart-broker':
    case 'restart-postgres':
    case 'roll-engines':
    case 'delete-group':
    case 'promote':
    case 'replay':
      return 0;
    default:
      return length;
  }
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  const left = [...list];
  return Array.from({ length: left.length }, () => left.splice(random.int(left.length), 1)[0] as T);
}

/** One line of a plan for people. */
export function describePlanned({ at, forMs, fault }: Planned): string {
  const { kind, ...rest } = fault;
  const what = Object.entries(rest).map(([name, value]) => `${name} ${value}`);
  return `${(at / 1000).toFixed(1).padStart(7)} s  ${kind}${what.length === 0 ? '' : ` (${what.join(', ')})`}${forMs > 0 ? ` for ${(forMs / 1000).toFixed(1)} s` : ''}`;
}
