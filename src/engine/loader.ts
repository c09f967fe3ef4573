import { StateferryError } from '../errors.ts';
import type { EntitySession } from '../functions/session.ts';
import type { EntityHead, StoredEvent, StoredValue } from '../journal/load.ts';
import type { EntityKey } from '../model/chunk.ts';
import type { Entity } from './entity.ts';

/** Entities whose heads are read with one query. */
const LOAD_BATCH = 64;
/** Events that are enough for one query: a shard that was just opened gives its first output when its first entities are there. */
const QUERY_EVENTS = 250;
/** An entity with a longer tail is read page by page, of so many events. */
const EVENTS_PAGE = 2_000;

/** What the journal tells of entities, many at a time. */
export interface EntityStore {
  heads(keys: readonly EntityKey[]): Promise<EntityHead[]>;
  tails(wanted: readonly { key: EntityKey; after: number; through: number }[]): Promise<StoredEvent[][]>;
  values(keys: readonly EntityKey[]): Promise<StoredValue[]>;
}

export interface LoaderOptions {
  readonly store: EntityStore;
  /** The SDK cannot start from a snapshot: all events are replayed. */
  readonly ignoreSnapshots: boolean;
  readonly onValue: (entity: Entity, value: StoredValue) => void;
  /** Of event sourced and replicated entities: where they begin, and every event from there on. */
  readonly onHistory: (entity: Entity, head: EntityHead, events: readonly StoredEvent[]) => void;
  /** Opens the stream of an event sourced entity with a long history, whose events follow page by page. */
  readonly openLong: (entity: Entity, head: EntityHead) => EntitySession;
  /** All events of a long history were replayed. */
  readonly onReplayed: (entity: Entity) => void;
  /** What the journal has of the entity was changed while it was read: retention has passed. It is to be added again. */
  readonly onChanged: (entity: Entity) => void;
  /** What the journal has of the entity is nothing that a function can be told. */
  readonly onRefused: (entity: Entity, refusal: StateferryError) => void;
  /** The journal could not be asked: nothing is known of any entity that waits. */
  readonly onFailed: (error: unknown) => void;
}

/** An entity with the events that it wants: those behind `after`, up to its head. */
interface Wanted {
  readonly entity: Entity;
  readonly head: EntityHead;
  readonly after: number;
}

/**
 * Brings the state of entities from the journal, many with each query. One whose state is not `loading` any more when it is there
 * is left alone.
 */
export class Loader {
  readonly #options: LoaderOptions;
  #waiting: Entity[] = [];
  #isLoading = false;
  #stopped = false;

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /** Its state is wanted: one of the options' handlers is called with it. */
  add(entity: Entity): void {
    this.#waiting.push(entity);
    if (this.#isLoading) return;
    this.#isLoading = true;
    // A turn of the event loop gathers the entities of a whole fetch into one query.
    setImmediate(() => void this.#load());
  }

  /** Forgets those whose state is not `loading` any more. */
  prune(): void {
    this.#waiting = this.#waiting.filter((entity) => entity.state === 'loading');
  }

  stop(): void {
    this.#stopped = true;
  }

  async #load(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#stopped) {
      const batch = this.#waiting.splice(0, LOAD_BATCH);
      try {
        const values = batch.filter((entity) => entity.component.kind === 'value');
        const histories = batch.filter((entity) => entity.component.kind !== 'value');
        if (values.length > 0) await this.#loadValues(values);
        if (histories.length > 0) await this.#loadHistories(histories);
      } catch (error) {
        this.#isLoading = false;
        this.#options.onFailed(error);
        return;
      }
    }
    this.#isLoading = false;
  }

  async #loadValues(entities: readonly Entity[]): Promise<void> {
    const stored = await this.#options.store.values(entities.map((entity) => entity.key));
    entities.forEach((entity, i) => {
      const value = stored[i];
      if (entity.state === 'loading' && value !== undefined) this.#options.onValue(entity, value);
    });
  }

  async #loadHistories(entities: readonly Entity[]): Promise<void> {
    const { store, onHistory, onRefused } = this.#options;
    const heads = await store.heads(entities.map((entity) => entity.key));
    let page: Wanted[] = [];
    let events = 0;
    for (const [i, entity] of entities.entries()) {
      const head = heads[i] as EntityHead;
      if (entity.state !== 'loading') continue;
      // Of a replicated entity the runtime alone starts from the snapshot, whatever the function can do.
      const isReplicated = entity.component.kind === 'replicated';
      const beginsAtSnapshot = head.snapshot !== undefined && (isReplicated || !this.#options.ignoreSnapshots);
      const after = beginsAtSnapshot ? head.snapshot.seq : head.voidThrough;
      const tail = head.seq - after;
      if (after < (head.removedThrough ?? 0)) onRefused(entity, removedByRetention(entity.key, head));
      else if (tail === 0) onHistory(entity, head, []);
      else if (tail > EVENTS_PAGE && !isReplicated) await this.#replayLong({ entity, head, after });
      else {
        page.push({ entity, head, after });
        events += tail;
        if (events < QUERY_EVENTS) continue;
        await this.#loadTails(page);
        page = [];
        events = 0;
      }
    }
    if (page.length > 0) await this.#loadTails(page);
  }

  async #loadTails(page: readonly Wanted[]): Promise<void> {
    const tails = await this.#options.store.tails(
      page.map(({ entity, head, after }) => ({ key: entity.key, after, through: head.seq })),
    );
    for (const [i, wanted] of page.entries()) {
      const { entity, head, after } = wanted;
      const events = tails[i] ?? [];
      if (entity.state !== 'loading') continue;
      if (isComplete(events, after, head.seq)) this.#options.onHistory(entity, head, events);
      else await this.#incomplete(wanted, events);
    }
  }

  /** A long history goes through in pages, at the pace at which the function takes it. */
  async #replayLong({ entity, head, after }: Wanted): Promise<void> {
    const session = this.#options.openLong(entity, head);
    for (let at = after; at < head.seq && entity.state === 'loading'; at += EVENTS_PAGE) {
      const through = Math.min(at + EVENTS_PAGE, head.seq);
      const [events = []] = await this.#options.store.tails([{ key: entity.key, after: at, through }]);
      if (entity.state !== 'loading') return;
      if (!isComplete(events, at, through)) {
        await this.#incomplete({ entity, head, after: at }, events);
        return;
      }
      for (const event of events) session.replay(event.seq, event.payload);
      await session.drained();
    }
    if (entity.state === 'loading') this.#options.onReplayed(entity);
  }

  /** Events that are not there were removed by retention since the head was read, or by nobody who may. */
  async #incomplete({ entity, head, after }: Wanted, events: readonly StoredEvent[]): Promise<void> {
    const [now] = await this.#options.store.heads([entity.key]);
    if (entity.state !== 'loading') return;
    if (now?.removedThrough !== head.removedThrough || now?.voidThrough !== head.voidThrough) {
      this.#options.onChanged(entity);
    } else this.#options.onRefused(entity, gap(entity.key, head, after, events));
  }
}

/** The events are all those in (after, through], in order. */
function isComplete(events: readonly StoredEvent[], after: number, through: number): boolean {
  return events.length === through - after && events.every(({ seq }, i) => seq === after + 1 + i);
}

function gap(key: EntityKey, { seq }: EntityHead, after: number, events: readonly StoredEvent[]): StateferryError {
  let missing = after + 1;
  for (const event of events) if (event.seq === missing) missing++;
  const found =
    seq < after
      ? `the journal's last event of ${named(key)} is ${seq}, and its snapshot is of ${after}`
      : `the journal has no event ${missing} of ${named(key)}, whose last one is ${seq}`;
  return new StateferryError(
    'ENTITY_UNREADABLE',
    `${found}: the function is given no state that lacks something. See with \`stateferry verify\` what is missing, and restore it from a backup.`,
  );
}

function removedByRetention(key: EntityKey, { removedThrough }: EntityHead): StateferryError {
  return new StateferryError(
    'ENTITY_UNREADABLE',
    `the function's SDK starts from no snapshot, and retention has removed the events of ${named(key)} up to ${removedThrough}: ` +
      'it needs a function whose SDK does.',
  );
}

function named({ entityType, entityId }: EntityKey): string {
  return `${entityType} "${entityId}"`;
}
