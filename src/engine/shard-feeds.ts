import type { Feed, FeedMove, FeedPosition } from '../model/feed.ts';
import type { OutputRecord } from '../model/record.ts';
import type { FedCommand } from './feed-command.ts';

/** Events that one read looks through, of whatever type. */
const EVENTS = 1_000;

/** A part of the shard's journal that a feed is to be given. */
export interface FeedRead {
  readonly feed: Feed;
  /** Events: after this shard_seq. Values: that chunks after this one have written. */
  readonly after: number;
  /** Events: up to this shard_seq. Values: that no chunk after this one has written. */
  readonly through: number;
  /** Values: of entities after this one. */
  readonly cursor: string;
}

/** What a read brought, as commands. */
export interface FeedBatch {
  /** What it looked at, up to here: a shard_seq, or an entity id. */
  readonly at: { readonly position: number } | { readonly cursor: string };
  /** There was no more within what was asked for. */
  readonly isWhole: boolean;
  readonly commands: readonly Pick<FedCommand, 'entityId' | 'output'>[];
}

/** A feed and where it stands. */
export type PlacedFeed = FeedPosition & { readonly feed: Feed };

/**
 * Where the feeds of one shard stand, and what its chunks hand on. Knows no I/O.
 *
 * A feed's position moves in the chunk that has the commands which lead there among its outputs, so it moves once. What
 * is behind reads the journal, one feed at a time and one batch at a time.
 * - Events: while the feed is behind, a chunk hands on none of its own. The last batch is read while the shard takes no
 *   chunk (`isHeld`), so nothing comes after it: with the chunk that has it the feed is live, that chunk's own events included.
 * - Values: what later chunks than `through` write is handed on as it comes. The rest is gone through in order of entity
 *   ids, and a value that has changed since it was read is left out.
 */
export class ShardFeeds {
  readonly #places = new Map<Feed, PlacedFeed>();
  #behind: number;
  #reading: FeedRead | undefined;
  /** Entities whose value has changed while values are read. */
  readonly #changed = new Set<string>();
  #batch: { readonly read: FeedRead; readonly batch: FeedBatch } | undefined;
  #held = false;
  /** A chunk is taken and not journaled: what the journal would tell is of before it. */
  #inFlight = false;

  constructor(places: readonly PlacedFeed[] = []) {
    for (const place of places) this.#places.set(place.feed, place);
    this.#behind = places.filter(({ state }) => state !== 'live').length;
  }

  get places(): Iterable<PlacedFeed> {
    return this.#places.values();
  }

  /** No chunk is to be taken: the last events of a feed are being read. */
  get isHeld(): boolean {
    return this.#held;
  }

  /** Something of the journal waits for a chunk. */
  wantsChunk(): boolean {
    return this.#batch !== undefined;
  }

  /**
   * What is to be read next, if anything; `read` or `failed` must be called with what comes of it. `head`: shard_seq of
   * the last event.
   */
  startRead(head: number): FeedRead | undefined {
    if (this.#behind === 0 || this.#inFlight || this.#reading !== undefined || this.#batch !== undefined)
      return undefined;
    for (const place of this.#places.values()) {
      if (place.state === 'live') continue;
      const { feed, position, cursor } = place;
      const through = feed.source === 'value' ? place.through : Math.min(position + EVENTS, head);
      this.#held = feed.source === 'event-sourced' && through === head;
      this.#changed.clear();
      this.#reading = { feed, after: position, through, cursor };
      return this.#reading;
    }
    return undefined;
  }

  /** The read is done. What it brought leaves with the next chunk. */
  read(batch: FeedBatch): void {
    const read = this.#reading;
    if (read === undefined) throw new Error('a feed was given what it had not asked for');
    const wasLast = this.#held || (read.feed.source === 'value' && batch.isWhole);
    this.#reading = undefined;
    this.#held = false;
    if (batch.commands.length > 0 || (wasLast && batch.isWhole)) this.#batch = { read, batch };
    // What there is nothing of needs no chunk: the next one that comes is as good.
    else this.#move(read.feed, batch);
  }

  /** Nothing could be read; it is asked for again. */
  failed(): void {
    this.#reading = undefined;
    this.#held = false;
  }

  /** What the next chunk has of the journal, before its own; `head`: shard_seq of the last event before it. */
  take(head: number): { readonly outputs: readonly OutputRecord[]; readonly move: FeedMove } | undefined {
    this.#inFlight = true;
    const waiting = this.#batch;
    if (waiting === undefined) return undefined;
    this.#batch = undefined;
    const { read, batch } = waiting;
    const { feed } = read;
    const place = this.#move(feed, batch);
    const isThrough =
      feed.source === 'value' ? batch.isWhole : place.state === 'catching-up' && place.position === head;
    if (isThrough) {
      this.#places.set(feed, { feed, state: 'live', position: feed.source === 'value' ? read.through : head });
      this.#behind--;
    }
    const outputs: OutputRecord[] = [];
    for (const { entityId, output } of batch.commands) if (!this.#changed.has(entityId)) outputs.push(output);
    this.#changed.clear();
    const { name, source, entityType } = feed;
    const { feed: _, ...position } = this.#places.get(feed) as PlacedFeed;
    return { outputs, move: { name, source, entityType, ...position } };
  }

  /** Whether a chunk that is taken now hands on this. Call it after `take`. */
  passes({ feed, entityId }: FedCommand): boolean {
    if (feed.source === 'value') {
      if (this.#reading?.feed === feed) this.#changed.add(entityId);
      return true;
    }
    return this.#places.get(feed)?.state === 'live';
  }

  /** The journal has the chunk that was taken last. */
  journaled(): void {
    this.#inFlight = false;
  }

  #move(feed: Feed, { at }: FeedBatch): PlacedFeed {
    const place = this.#places.get(feed);
    if (place?.state !== 'catching-up') throw new Error(`the feed "${feed.name}" is not behind`);
    const moved = { ...place, ...at };
    this.#places.set(feed, moved);
    return moved;
  }
}
