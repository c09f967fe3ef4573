import type {
  Chunk,
  JournalDeletion,
  JournalEvent,
  JournalKey,
  JournalSnapshot,
  JournalValue,
} from '../model/chunk.ts';
import type { OutputRecord, Positions } from '../model/record.ts';
import type { Halt, Load, ShardState } from '../observe/status.ts';
import { ShardControl } from './control.ts';
import type { Item, ItemOwner } from './item.ts';
import { ShardFeeds } from './shard-feeds.ts';

const NONE: readonly OutputRecord[] = [];

/**
 * What an open shard may be; before that it is being opened (opening.ts):
 * - running: records come in, chunks go out;
 * - draining: nothing more comes in; what is under way is finished and emitted;
 * - stopped: released, or dropped with everything in memory of it.
 */
export type OpenShardState = Extract<ShardState, 'running' | 'draining' | 'stopped'>;

export interface ShardLimits {
  readonly maxRecords: number;
  readonly maxBytes: number;
}

/** What a shard starts from: the journal's row, as of its opening. */
export interface ShardStart {
  readonly number: number;
  readonly epoch: number;
  readonly applied: Positions;
  readonly chunk: number;
  readonly emitted: number;
  readonly shardSeq: number;
}

/**
 * One open shard: the window of its input records in order of arrival, and the positions that they lead to. Records
 * are decided in any order and leave in order. Knows no I/O.
 */
export class Shard implements ItemOwner {
  readonly number: number;
  readonly epoch: number;
  state: OpenShardState = 'running';
  /** Next offset to accept, per topic: everything below it is applied or in the window. */
  readonly next: Map<string, bigint>;
  /** One past the newest record, per topic, as of the last fetch. */
  readonly end = new Map<string, bigint>();
  /** The newest record that a batch brought, per topic: by it, a topic that was made again is told from a second delivery. */
  readonly newest = new Map<string, { readonly offset: bigint; readonly timestamp: number }>();
  /** The consumer brings nothing until there is room again. */
  paused = false;
  /** The group has no offset of it: until a transaction of ours has given it one, nothing comes in (OwnedShard). */
  unknownToGroup = false;
  /** What the group has committed for it. */
  committed: Positions;
  applied: Positions;

  /** What operators and failure policies have made of its entities. */
  readonly control: ShardControl;
  /** Where those stand that are subscribed to its events and values. */
  readonly feeds: ShardFeeds;
  /** Records that it cannot go past, until an operator says how. */
  readonly halts = new Map<Item, Halt>();
  /** A record to itself is on its way to the command topic (codec/put-back.ts). */
  nudging = false;
  /** So many records are not taken before something about them is known (`EngineOptions.awaits`). */
  awaits = 0;
  /** Since when there have been some, in ms since the epoch; undefined: there are none. */
  awaitsSince: number | undefined;
  /** What the input topics bring is not taken (`ShardControl.isGated`). */
  gated = false;

  readonly #limits: ShardLimits;
  #window: (Item | undefined)[] = [];
  /** Goes out with the next chunk, and is of none of its records. */
  #outputs: OutputRecord[] = [];
  #head = 0;
  /** Records and bytes from arrival to emission. */
  #records = 0;
  #bytes = 0;
  #chunk: number;
  #shardSeq: number;
  #emitted: number;
  /** Input and output that a chunk keeps in memory until Kafka has it. */
  readonly #held = new Map<number, Load>();

  constructor(
    start: ShardStart,
    committed: Positions,
    limits: ShardLimits,
    control: ShardControl = new ShardControl(start.chunk),
    feeds: ShardFeeds = new ShardFeeds(),
  ) {
    this.control = control;
    this.feeds = feeds;
    this.number = start.number;
    this.epoch = start.epoch;
    this.applied = start.applied;
    this.next = new Map(Object.entries(start.applied));
    this.committed = committed;
    this.#chunk = start.chunk;
    this.#emitted = start.emitted;
    this.#shardSeq = start.shardSeq;
    this.#limits = limits;
  }

  /** What came in and is not emitted yet: taken from Kafka and not journaled, journaled and not in Kafka. */
  get load(): { readonly inFlight: Load; readonly waiting: Load } {
    let records = 0;
    let bytes = 0;
    for (const held of this.#held.values()) {
      records += held.records;
      bytes += held.bytes;
    }
    return {
      inFlight: { records: this.#records - records, bytes: this.#bytes - bytes },
      waiting: { records, bytes },
    };
  }

  get emittedThrough(): number {
    return this.#emitted;
  }

  /** shard_seq of its last event. */
  get shardSeq(): number {
    return this.#shardSeq;
  }

  /** Chunks that the journal has and Kafka is not known to have. */
  get unemitted(): number {
    return this.#chunk - this.#emitted;
  }

  isFull(): boolean {
    return this.#records >= this.#limits.maxRecords || this.#bytes >= this.#limits.maxBytes;
  }

  /** Room enough to fetch again: half of either limit, so that the consumer does not flutter. */
  hasRoom(): boolean {
    return this.#records <= this.#limits.maxRecords / 2 && this.hasRoomInBytes();
  }

  /** Room enough for what is no input: under a load that fills the window all the time, it would never have its turn. */
  hasRoomInBytes(): boolean {
    return this.#bytes <= this.#limits.maxBytes / 2;
  }

  /** Takes the next record of its topic into the window. */
  add(item: Item): void {
    this.next.set(item.record.topic, item.record.offset + 1n);
    this.#window.push(item);
    this.#records++;
    this.#bytes += item.bytes;
  }

  isReady(): boolean {
    return this.#window[this.#head]?.decision !== undefined;
  }

  publish(added: readonly OutputRecord[], after: Item | undefined): void {
    const { decision } = after ?? {};
    if (decision === undefined || after === undefined || !this.#window.includes(after, this.#head)) {
      this.#outputs.push(...added);
      return;
    }
    after.decision = { ...decision, outputs: [...decision.outputs, ...added] };
  }

  /** Something waits for a chunk to go with, which needs an input record. */
  wantsChunk(): boolean {
    return this.#outputs.length > 0 || this.control.wantsChunk() || this.feeds.wantsChunk();
  }

  isEmpty(): boolean {
    return this.#head === this.#window.length;
  }

  /** The first record of the window that it cannot go past. */
  firstHalted(): Item | undefined {
    if (this.halts.size === 0) return undefined;
    for (let i = this.#head; i < this.#window.length; i++) {
      const item = this.#window[i];
      if (item !== undefined && this.halts.has(item)) return item;
    }
    return undefined;
  }

  /** What it stands before; undefined: it runs. */
  get halt(): Halt | undefined {
    const item = this.firstHalted();
    return item && this.halts.get(item);
  }

  /**
   * The run of decided records at the head of the window, as a chunk; undefined when there is none. The shard's own
   * positions move at once: a chunk that is taken must be journaled, or the shard dropped.
   */
  takeChunk(maxRecords: number, maxBytes: number): { chunk: Chunk; items: Item[] } | undefined {
    if (this.state === 'stopped' || !this.isReady() || this.feeds.isHeld) return undefined;
    const items: Item[] = [];
    let parked: number[] | undefined;
    const events: JournalEvent[] = [];
    // Before those of the window: what they follow has left it.
    const outputs = this.#outputs;
    this.#outputs = [];
    // The last one of an entity counts: a statement may touch a row once.
    const snapshots = new Map<string, JournalSnapshot>();
    const values = new Map<string, JournalValue>();
    const revisions: JournalValue[] = [];
    const deletions = new Map<string, JournalDeletion>();
    const keys = new Map<string, JournalKey>();
    const to: Record<string, bigint> = { ...this.applied };
    let inputBytes = 0;
    let outputBytes = 0;
    let fed: Map<string, number> | undefined;
    for (const output of outputs) outputBytes += sizeOf(output);
    const publish = (output: OutputRecord) => {
      outputs.push(output);
      outputBytes += sizeOf(output);
    };
    const feed = (name: string, output: OutputRecord) => {
      fed ??= new Map();
      fed.set(name, (fed.get(name) ?? 0) + 1);
      publish(output);
    };
    const behind = this.feeds.take(this.#shardSeq);
    for (const output of behind?.outputs ?? NONE) feed(behind?.move.name ?? '', output);
    // One input record at least, whatever else goes out: by its positions a chunk is known.
    while (items.length === 0 || (items.length < maxRecords && inputBytes + outputBytes < maxBytes)) {
      const item = this.#window[this.#head];
      const decision = item?.decision;
      if (item === undefined || decision === undefined) break;
      this.#window[this.#head++] = undefined;
      if (decision.park !== undefined) {
        parked ??= [];
        parked.push(items.length);
      }
      items.push(item);
      for (const event of decision.events) events.push(event);
      for (const output of decision.outputs) publish(output);
      if (decision.fed !== undefined) {
        for (const command of decision.fed) {
          if (this.feeds.passes(command)) feed(command.feed.name, command.output);
        }
      }
      if (decision.snapshot !== undefined) snapshots.set(rowKey(decision.snapshot), decision.snapshot);
      if (decision.value !== undefined) {
        values.set(rowKey(decision.value), decision.value);
        revisions.push(decision.value);
      }
      if (decision.deletion !== undefined) deletions.set(rowKey(decision.deletion), decision.deletion);
      if (decision.key !== undefined) keys.set(decision.key.idempotencyKey, decision.key);
      to[item.record.topic] = item.record.offset + 1n;
      inputBytes += item.bytes;
    }
    this.#compact();
    const control = this.control.take(this.#chunk + 1, items);
    for (const output of control?.outputs ?? NONE) publish(output);
    const chunk: Chunk = {
      shard: this.number,
      epoch: this.epoch,
      number: ++this.#chunk,
      from: this.applied,
      to,
      firstShardSeq: this.#shardSeq + 1,
      events,
      snapshots: [...snapshots.values()],
      values: [...values.values()],
      revisions,
      deletions: [...deletions.values()],
      outputs,
      inputs: items.map(({ record }) => record),
      ...(parked !== undefined && { parked }),
      keys: [...keys.values()],
      emittedThrough: this.#emitted,
      ...(control !== undefined && { control: control.writes }),
      ...(behind !== undefined && { feedMove: behind.move }),
      ...(fed !== undefined && { fed }),
    };
    this.applied = to;
    this.#shardSeq += events.length;
    this.#bytes += outputBytes;
    this.#held.set(chunk.number, { records: items.length, bytes: inputBytes + outputBytes });
    return { chunk, items };
  }

  /** The journal has the chunk that was taken last. */
  journaled(chunk: number): void {
    this.control.journaled(chunk);
    this.feeds.journaled();
  }

  /** Kafka has this chunk and all before it. */
  emitted(chunk: number, positions: Positions): void {
    for (let n = this.#emitted + 1; n <= chunk; n++) {
      const held = this.#held.get(n);
      if (held === undefined) continue;
      this.#held.delete(n);
      this.#records -= held.records;
      this.#bytes -= held.bytes;
    }
    this.#emitted = Math.max(this.#emitted, chunk);
    this.unknownToGroup = false;
    this.committed = positions;
  }

  /**
   * Gives up every record from the first one on that waits for its entity: it was not handed to the function, so the
   * next owner may as well start there. Returns what was cut off.
   */
  cutUnstarted(): Item[] {
    for (let i = this.#head; i < this.#window.length; i++) {
      const item = this.#window[i];
      if (item !== undefined && item.decision === undefined && !item.running) {
        const cut = this.#window.splice(i) as Item[];
        for (const { bytes } of cut) this.#bytes -= bytes;
        this.#records -= cut.length;
        return cut;
      }
    }
    return [];
  }

  #compact(): void {
    if (this.#head === this.#window.length) {
      this.#window = [];
      this.#head = 0;
    } else if (this.#head > 4096 && this.#head * 2 > this.#window.length) {
      this.#window = this.#window.slice(this.#head);
      this.#head = 0;
    }
  }
}

function sizeOf({ key, value }: OutputRecord): number {
  return (value?.length ?? 0) + (key?.length ?? 0);
}

function rowKey(row: { entityType: string; entityId: string }): string {
  return `${row.entityType}\0${row.entityId}`;
}
