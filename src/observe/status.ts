/**
 * The way of a process: `starting` until the group has first assigned shards, `rebuilding` while it takes a new
 * transactional id and opens its shards again, `draining` from the request to stop. `failed` needs a person.
 */
export type EngineState = 'starting' | 'running' | 'rebuilding' | 'draining' | 'stopped' | 'failed';

/** The way of a shard in the process that owns it; `halted` is one that needs a person (`Halt`). */
export type ShardState = 'idle' | 'fencing' | 'recovering' | 'running' | 'halted' | 'draining' | 'stopped';
export const SHARD_STATES: readonly ShardState[] = [
  'idle',
  'fencing',
  'recovering',
  'running',
  'halted',
  'draining',
  'stopped',
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

/** The record that a shard stands before, and why. */
export interface Halt {
  /** A code of the table in errors.ts. */
  readonly code: string;
  readonly error: string;
  /** Where the record came from first. Offsets are decimal text. */
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  /** Whose command it is; null where that cannot be told. */
  readonly service: string | null;
  readonly method: string | null;
  /** Null for what is of no entity. */
  readonly entityType: string | null;
  readonly entityId: string | null;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/** Where those stand that are subscribed to a shard's events or values. */
export interface FeedStatus {
  /** The consumer group, or the subscriber's service. */
  readonly name: string;
  readonly source: 'event-sourced' | 'value';
  readonly entityType: string;
  /** live: all that is journaled has been handed on. */
  readonly state: 'live' | 'catching-up';
  /** Events: number in the shard of the last one that it has. Null for values. */
  readonly position: number | null;
  /** Events of the shard, of whatever type, from there on; null for values that it is not through with. */
  readonly behind: number | null;
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
  /** Entities that are paused, or not yet quite resumed. */
  readonly pausedEntities: number;
  /** Null unless it is halted. */
  readonly halt: Halt | null;
  /** Since when it stands before a record whose schema the registry has yet to tell, in ms since the epoch; null: it does not. */
  readonly schemaAwaitedSince: number | null;
  readonly feeds: readonly FeedStatus[];
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
  readonly parked: number;
  readonly duplicates: number;
  readonly skipped: number;
  readonly chunks: number;
  readonly transactions: number;
  readonly rebuilds: number;
}

/** What GET /status answers: one process as it is at this moment. */
/** Where the function's services are served. */
export interface DoorsStatus {
  /** host:port; null: not open yet. */
  readonly address: string | null;
}

export interface Status {
  readonly deployment: string;
  /** The transactional id that it emits under now. */
  readonly processId: string;
  readonly state: EngineState;
  readonly function: FunctionStatus;
  /** Null: they are not enabled. */
  readonly doors: DoorsStatus | null;
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
 * the doors are, if it has any, and the function is up.
 */
export function healthOf(status: Pick<Status, 'state' | 'function' | 'doors' | 'shards'>): Health {
  const reasons: string[] = [];
  if (status.state !== 'running') reasons.push(`the engine is ${status.state}`);
  if (!status.function.up) reasons.push(`the function at ${status.function.url} is down`);
  if (status.doors?.address === null) reasons.push('the doors are not open yet');
  for (const { shard, state, halt } of status.shards) {
    if (halt !== null) reasons.push(`shard ${shard} is halted before ${describeHalt(halt)}`);
    else if (state !== 'running') reasons.push(`shard ${shard} is ${state}`);
  }
  return { state: status.state, reasons };
}

/** Which record a shard stands before and why, for a sentence. */
export function describeHalt({ topic, partition, offset, service, method, code, error }: Halt): string {
  const whose = service === null ? '' : ` for ${service}/${method}`;
  return `${topic}/${partition}/${offset}${whose}: ${code}, ${error}`;
}
