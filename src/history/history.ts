import { setTimeout as delay } from 'node:timers/promises';
import { decodeInputOrder } from '../codec/input-order.ts';
import { decodeInputs } from '../codec/inputs.ts';
import { StateferryError } from '../errors.ts';
import type { HistoryChunk } from '../journal/chunks.ts';
import type { InputRecord, Positions } from '../model/record.ts';
import type { PartitionLogs } from '../topics/partition-log.ts';
import type { RecordBatch } from '../topics/read-ahead.ts';

/** Chunks that are looked up at once; kept inputs come with them, so it is not many. */
const PAGE_CHUNKS = 32;
/** How often it is looked whether there is more history. */
const POLL_MS = 100;

/** What the journal tells of a generation's chunks. */
export interface ChunkStore {
  chunks(shard: number, after: number, limit: number): Promise<HistoryChunk[]>;
  /** Number of the last chunk that leads no further than these positions. */
  lastWithin(shard: number, positions: Positions): Promise<number>;
  /** Where the shard's input stood after the chunk, or before its first one. */
  positionsAfter(shard: number, chunk: number): Promise<Positions>;
}

/** A run of history: records of one topic, in the order in which the shard applied them. */
export type HistoryBatch = RecordBatch;

export interface HistoryOptions {
  readonly store: ChunkStore;
  readonly logs: Pick<PartitionLogs, 'read'>;
  /** The last chunk of a shard that is given; undefined: all that comes. */
  readonly until: (shard: number) => number | undefined;
}

/**
 * The input of a generation, once more, in the order in which each of its shards applied it: from the inputs that the
 * journal kept, and where it kept none, from the topics. The journal's chunks say how far and in which order.
 */
export class History {
  readonly #options: HistoryOptions;
  readonly #parked = new WeakSet<InputRecord>();

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  /** The record's command was parked when it came: it took effect later, as another record. */
  wasParked(record: InputRecord): boolean {
    return this.#parked.has(record);
  }

  /**
   * What the shard applied from these positions on, without end: where there is no more, it looks again. Topics that `from` does not name are read from where the shard began.
   * @throws StateferryError HISTORY_GAP where neither journal nor topics have the records any more.
   */
  async *read(
    at: { readonly shard: number; readonly from: Positions },
    signal: AbortSignal,
  ): AsyncGenerator<HistoryBatch> {
    const { store, until } = this.#options;
    const { shard, from } = at;
    const through = until(shard) ?? Number.MAX_SAFE_INTEGER;
    let last = await store.lastWithin(shard, from);
    let before = await store.positionsAfter(shard, last);
    for (;;) {
      const page = last >= through ? [] : await store.chunks(shard, last, Math.min(PAGE_CHUNKS, through - last));
      const end = page.at(-1);
      if (end === undefined) {
        await delay(POLL_MS, undefined, { signal });
        continue;
      }
      const topics = new TopicReaders(this.#options.logs, shard, end.positions, signal);
      try {
        for (const chunk of page) {
          if (chunk.chunk !== last + 1) throw unknownChunks(shard, last, chunk.chunk);
          const records =
            chunk.inputs === undefined
              ? await topics.take(chunk, before, from)
              : topics.pass(decodeInputs(chunk.inputs));
          for (const place of chunk.parked) {
            const record = records[place];
            if (record !== undefined) this.#parked.add(record);
          }
          yield* batches(records, shard, chunk.positions, from);
          last = chunk.chunk;
          before = { ...before, ...chunk.positions };
        }
      } finally {
        await topics.close();
      }
    }
  }
}

/** Records of one shard from the topics, in the order that its chunks tell. */
class TopicReaders {
  readonly #readers = new Map<string, TopicReader>();
  readonly #logs: HistoryOptions['logs'];
  readonly #shard: number;
  readonly #to: Positions;
  readonly #signal: AbortSignal;

  constructor(logs: HistoryOptions['logs'], shard: number, to: Positions, signal: AbortSignal) {
    this.#logs = logs;
    this.#shard = shard;
    this.#to = to;
    this.#signal = signal;
  }

  /**
   * The records of a chunk that begins at these positions, each in its place. Those of a topic that the chunk brings no further than
   * `applied` are not read: nobody wants them, and their topic need not be there any more.
   */
  async take(chunk: HistoryChunk, before: Positions, applied: Positions): Promise<(InputRecord | undefined)[]> {
    const records: (InputRecord | undefined)[] = [];
    for (const { topic, count } of runsOf(chunk, before)) {
      const from = before[topic] ?? 0n;
      if ((chunk.positions[topic] ?? 0n) <= (applied[topic] ?? 0n)) {
        records.length += count;
        continue;
      }
      let reader = this.#readers.get(topic);
      if (reader === undefined) {
        const to = this.#to[topic] ?? from;
        reader = new TopicReader(this.#logs.read({ topic, partition: this.#shard, from, to }, this.#signal));
        this.#readers.set(topic, reader);
      }
      for (let i = 0; i < count; i++) {
        const record = await reader.next();
        const until = chunk.positions[topic] ?? 0n;
        if (record === undefined || record.offset >= until) throw missing(topic, this.#shard, from, until);
        records.push(record);
      }
    }
    for (const [topic, until] of Object.entries(chunk.positions)) {
      const last = records.findLast((record) => record?.topic === topic);
      if (last !== undefined && last.offset + 1n !== until) throw missing(topic, this.#shard, last.offset, until);
    }
    return records;
  }

  /** Records that came from elsewhere: what the topics were read up to is not where they go on. */
  pass(records: InputRecord[]): InputRecord[] {
    this.#readers.clear();
    return records;
  }

  async close(): Promise<void> {
    for (const reader of this.#readers.values()) await reader.close();
  }
}

/** One record after another of what comes in batches. */
class TopicReader {
  readonly #batches: AsyncGenerator<readonly InputRecord[]>;
  #batch: readonly InputRecord[] = [];
  #taken = 0;

  constructor(batches: AsyncGenerator<readonly InputRecord[]>) {
    this.#batches = batches;
  }

  next(): InputRecord | undefined | Promise<InputRecord | undefined> {
    const record = this.#batch[this.#taken];
    if (record === undefined) return this.#fetch();
    this.#taken++;
    return record;
  }

  async #fetch(): Promise<InputRecord | undefined> {
    const { value, done } = await this.#batches.next();
    if (done === true) return undefined;
    this.#batch = value;
    this.#taken = 1;
    return value[0];
  }

  async close(): Promise<void> {
    await this.#batches.return(undefined);
  }
}

function runsOf(chunk: HistoryChunk, before: Positions): { topic: string; count: number }[] {
  if (chunk.inputOrder !== undefined) return decodeInputOrder(Object.keys(chunk.positions), chunk.inputOrder);
  const moved = Object.entries(chunk.positions).filter(([topic, offset]) => offset !== (before[topic] ?? 0n));
  // One that is new to the shard stands where it began: whether it has moved cannot be seen, and that another one has, can.
  const surely = moved.filter(([topic]) => before[topic] !== undefined);
  return (surely.length > 0 ? surely : moved).map(([topic]) => ({ topic, count: chunk.records }));
}

/** What of the records is not applied yet, in runs of one topic. */
function* batches(
  records: readonly (InputRecord | undefined)[],
  shard: number,
  end: Positions,
  applied: Positions,
): Generator<HistoryBatch> {
  let run: InputRecord[] = [];
  for (const record of records) {
    if (record === undefined || record.offset < (applied[record.topic] ?? 0n)) continue;
    if (run[0] !== undefined && run[0].topic !== record.topic) {
      yield batchOf(run, shard, end);
      run = [];
    }
    run.push(record);
  }
  if (run.length > 0) yield batchOf(run, shard, end);
}

function batchOf(records: readonly InputRecord[], shard: number, end: Positions): HistoryBatch {
  const { topic = '' } = records[0] ?? {};
  return { topic, partition: shard, records, highWatermark: end[topic] ?? 0n };
}

function missing(topic: string, shard: number, from: bigint, until: bigint): StateferryError {
  return new StateferryError(
    'HISTORY_GAP',
    `partition ${shard} of "${topic}" does not have all records of the offsets ${from} to ${until - 1n} any more that the journal says ` +
      'it applied, and the journal has no inputs there: retention has removed them. Begin after them (--from, and --state live for what entities were then), ' +
      'and have journal.keepInputs keep what comes from now on.',
  );
}

function unknownChunks(shard: number, last: number, found: number): StateferryError {
  return new StateferryError(
    'HISTORY_GAP',
    `the journal does not know the chunks ${last + 1} to ${found - 1} of shard ${shard}: a version of Stateferry wrote them that ` +
      'noted none, or they were removed. Begin after them (--from, and --state live for what entities were then).',
  );
}
