import type { InputRecord } from '../model/record.ts';

/**
 * Records that are handed on in one go. A fetch brings thousands; the first of them are at the function, and their
 * answers come in, before the last are looked at.
 */
const SLICE_RECORDS = 250;

export interface RecordBatch {
  readonly topic: string;
  readonly partition: number;
  /** One past the newest record of the partition, as of this fetch. */
  readonly highWatermark: bigint;
  readonly records: readonly InputRecord[];
}

/** What one partition of one topic has brought and nobody has taken yet. */
interface Held {
  readonly topic: string;
  readonly partition: number;
  /** Oldest first; none is empty. */
  readonly batches: RecordBatch[];
  /** How much of the oldest has been handed on. */
  taken: number;
  /** Of all batches. */
  records: number;
  /** More is fetched when half of what the last fetch brought is gone. */
  lastFetch: number;
  fetching: boolean;
}

export interface ReadAheadOptions {
  /** In order of each partition. It may stop the partition, or drop what is held of it. */
  readonly onRecords: (batch: RecordBatch) => void;
  /** Whether more of the partition is to be fetched. At first, and once it is forgotten, nothing is. */
  readonly onFetching: (topic: string, partition: number, fetching: boolean) => void;
  /** Runs the work in a later turn of the event loop. */
  readonly later: (work: () => void) => void;
}

/**
 * Stands between fetching and taking. Records wait here while their partition is stopped, and the next fetch is made
 * before the last one is used up, since a broker that holds a fetch of other partitions open is asked again only after
 * that. Holds at most one and a half fetches of each partition.
 */
export class ReadAhead {
  readonly #options: ReadAheadOptions;
  readonly #topics: readonly string[];
  readonly #held = new Map<string, Held>();
  /** Partitions that take records. */
  readonly #flowing = new Set<number>();
  /** Partitions with a turn ahead of them. */
  readonly #turns = new Set<number>();

  constructor(topics: readonly string[], options: ReadAheadOptions) {
    this.#topics = topics;
    this.#options = options;
  }

  /** A fetch has brought this. */
  push(batch: RecordBatch): void {
    const held = this.#held.get(keyOf(batch.topic, batch.partition));
    if (held === undefined || batch.records.length === 0) return;
    held.batches.push(batch);
    held.records += batch.records.length;
    held.lastFetch = batch.records.length;
    this.#handOn(held);
    this.#continue(batch.partition);
  }

  /** The partition takes records, of all topics, from now on. */
  start(partition: number): void {
    this.#flowing.add(partition);
    for (const topic of this.#topics) {
      const key = keyOf(topic, partition);
      if (!this.#held.has(key)) {
        this.#held.set(key, { topic, partition, batches: [], taken: 0, records: 0, lastFetch: 0, fetching: false });
      }
    }
    for (const held of this.#of(partition)) this.#regulate(held);
    this.#continue(partition);
  }

  /** It takes no more until it is started again. */
  stop(partition: number): void {
    this.#flowing.delete(partition);
  }

  /** Forgets what is held of one topic's partition: it is read from elsewhere. */
  drop(topic: string, partition: number): void {
    const held = this.#held.get(keyOf(topic, partition));
    if (held === undefined) return;
    held.batches.length = 0;
    held.taken = 0;
    held.records = 0;
    held.lastFetch = 0;
    this.#regulate(held);
  }

  /** Forgets the partition in all topics: it is stopped. */
  forget(partition: number): void {
    for (const topic of this.#topics) this.#held.delete(keyOf(topic, partition));
    this.#flowing.delete(partition);
  }

  /** Forgets everything; every partition is stopped, and nothing is fetched. */
  clear(): void {
    this.#held.clear();
    this.#flowing.clear();
  }

  *#of(partition: number): Iterable<Held> {
    for (const topic of this.#topics) {
      const held = this.#held.get(keyOf(topic, partition));
      if (held !== undefined) yield held;
    }
  }

  /** One slice of each topic a turn, for as long as the partition takes them. */
  #continue(partition: number): void {
    if (this.#turns.has(partition) || !this.#waits(partition)) return;
    this.#turns.add(partition);
    this.#options.later(() => {
      this.#turns.delete(partition);
      for (const held of this.#of(partition)) this.#handOn(held);
      this.#continue(partition);
    });
  }

  #waits(partition: number): boolean {
    if (!this.#flowing.has(partition)) return false;
    for (const held of this.#of(partition)) if (held.records > 0) return true;
    return false;
  }

  #handOn(held: Held): void {
    const [batch] = held.batches;
    if (batch !== undefined && this.#flowing.has(held.partition)) {
      const end = Math.min(held.taken + SLICE_RECORDS, batch.records.length);
      const records = batch.records.slice(held.taken, end);
      held.records -= records.length;
      if (end === batch.records.length) {
        held.batches.shift();
        held.taken = 0;
      } else held.taken = end;
      this.#options.onRecords({ ...batch, records });
    }
    this.#regulate(held);
  }

  #regulate(held: Held): void {
    // It was forgotten by what it brought.
    if (this.#held.get(keyOf(held.topic, held.partition)) !== held) return;
    const fetching = held.records * 2 <= held.lastFetch;
    if (fetching === held.fetching) return;
    held.fetching = fetching;
    this.#options.onFetching(held.topic, held.partition, fetching);
  }
}

function keyOf(topic: string, partition: number): string {
  return `${topic}\0${partition}`;
}
