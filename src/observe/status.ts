/**
 * The way of a process: `starting` until the group has first assigned shards, `rebuilding` while it takes a new
 * transactional id and opens its shards again, `draining` from the request to stop. `failed` needs a person.
 */
export type EngineState = 'starting' | 'running' | 'rebuilding' | 'draining' | 'stopped' | 'failed';

/** The way of a shard in the process that owns it; `failed` is one that was halted and needs a person. */
export type ShardState = 'idle' | 'fencing' | 'recovering' | 'running' | 'draining' | 'stopped' | 'failed';
export const SHARD_STATES: readonly ShardState[] = [
  'idle',
  'fencing',
  'recovering',
  'running',
  'draining',
  'stopped',
  'failed',
];

/** Records and their bytes. */
export interface Load {
  readonly records: number;
  readonly bytes: number;
}

/** Where a shard stands in one input topic. Offsets are decimal text, since JSON numbers do not hold all of them. */
export interface TopicPosition {
  /** Next offset that is not yet in the journal. */
  readonly applied: string;
  /** Next offset whose outputs Kafka does not have yet: never ahead of `applied`. */
  readonly committed: string;
  /** End of the partition when it was last fetched; null before the first fetch. */
  readonly end: string | null;
  /** `end` minus `applied`, in offsets; null where `end` is. */
  readonly lag: number | null;
}

export interface ShardStatus {
  readonly shard: number;
  readonly state: ShardState;
  readonly epoch: number;
  /** Transactional id of the owner. */
  readonly owner: string;
  /** By input topic. */
  readonly positions: Readonly<Record<string, TopicPosition>>;
  /** Input taken from Kafka that is not journaled yet. */
  readonly inFlight: Load;
  /** Output that is journaled and not yet in Kafka. */
  readonly waiting: Load;
  readonly activeEntities: number;
}

export interface ComponentStatus {
  readonly kind: string;
  readonly service: string;
  readonly entityType: string;
}

export interface FunctionStatus {
  readonly url: string;
  readonly up: boolean;
  /** Empty before the first discovery, and for functions that do not tell. */
  readonly serviceName: string;
  /** Null before the first discovery. */
  readonly dialect: string | null;
  readonly components: readonly ComponentStatus[];
}

/** Counts since the process started. */
export interface Totals {
  readonly records: number;
  readonly commands: number;
  readonly events: number;
  readonly outputs: number;
  readonly deadLetters: number;
  readonly strays: number;
  readonly retries: number;
  readonly skipped: number;
  readonly chunks: number;
  readonly transactions: number;
  readonly rebuilds: number;
}

/** What GET /status answers: one process as it is at this moment. */
export interface Status {
  readonly deployment: string;
  /** The transactional id that it emits under now. */
  readonly processId: string;
  readonly state: EngineState;
  readonly function: FunctionStatus;
  readonly shards: readonly ShardStatus[];
  readonly totals: Totals;
}

/** Whether the process does its work, and if not, why. */
export interface Health {
  readonly state: EngineState;
  /** A sentence for each thing that keeps it from being ready; none: it is ready. */
  readonly reasons: readonly string[];
}

/**
 * A process is ready when the group has assigned it its shards (which may be none: a spare one), all of them are open
 * and the function is up.
 */
export function healthOf(status: Pick<Status, 'state' | 'function' | 'shards'>): Health {
  const reasons: string[] = [];
  if (status.state !== 'running') reasons.push(`the engine is ${status.state}`);
  if (!status.function.up) reasons.push(`the function at ${status.function.url} is down`);
  for (const { shard, state } of status.shards) {
    if (state !== 'running') reasons.push(`shard ${shard} is ${state}`);
  }
  return { state: status.state, reasons };
}
