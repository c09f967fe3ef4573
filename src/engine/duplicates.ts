import type { Item, ItemOwner } from './item.ts';

/** Keys that one query asks for at most. */
const LOOKUP_BATCH = 1_000;

export interface DuplicatesOptions {
  /** Asks the journal which of the commands' keys took effect before, in the order of `items`. */
  readonly find: (items: readonly Item[]) => Promise<readonly boolean[]>;
  readonly onFailed: (error: unknown) => void;
}

/**
 * Tells commands that take effect from those that have done so already under the same idempotency key.
 *
 * Commands of one key belong to one entity and are carried out one after the other. A key is known here from the
 * moment that a command of it is decided until that is in the journal, and to the journal from then on. So one that comes
 * later finds it in one place or the other; those that were there before are told when the first is decided.
 */
export class Duplicates {
  readonly #options: DuplicatesOptions;
  /** Decided commands that are not in the journal yet, by key. */
  readonly #decided = new Map<string, Item>();
  /** Commands that are not decided, by key. */
  readonly #waiting = new Map<string, Set<Item>>();
  #asked: { readonly item: Item; readonly answered: () => void }[] = [];
  #asking = false;

  constructor(options: DuplicatesOptions) {
    this.#options = options;
  }

  /** Finds out about a command that has a key. `answered` is called later, when `item.duplicate` is not yet known now. */
  look(item: Item, answered: () => void): void {
    const key = keyOf(item);
    if (this.#decided.has(key)) {
      item.duplicate = true;
      return;
    }
    let waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      waiting = new Set();
      this.#waiting.set(key, waiting);
    }
    waiting.add(item);
    this.#asked.push({ item, answered });
    if (this.#asking) return;
    this.#asking = true;
    // A turn of the event loop gathers the commands of a whole fetch into one query.
    setImmediate(() => void this.#ask());
  }

  /** A command was decided, and has an effect: from here on its key is taken. Call `journaled` when that is in the journal. */
  decided(item: Item): void {
    const key = keyOf(item);
    this.forget(item);
    this.#decided.set(key, item);
    for (const other of this.#waiting.get(key) ?? []) other.duplicate = true;
  }

  journaled(item: Item): void {
    this.#decided.delete(keyOf(item));
  }

  /** A command that has no effect under its key after all: it failed, was found to be a duplicate, or was taken back. */
  forget(item: Item): void {
    if (item.command?.idempotencyKey === undefined) return;
    const key = keyOf(item);
    const waiting = this.#waiting.get(key);
    waiting?.delete(item);
    if (waiting?.size === 0) this.#waiting.delete(key);
  }

  /** Nothing of this shard will be journaled any more: its records come again. */
  drop(shard: ItemOwner): void {
    for (const [key, item] of this.#decided) if (item.shard === shard) this.#decided.delete(key);
    for (const items of [...this.#waiting.values()]) {
      for (const item of [...items]) if (item.shard === shard) this.forget(item);
    }
  }

  async #ask(): Promise<void> {
    while (this.#asked.length > 0) {
      const batch = this.#asked.splice(0, LOOKUP_BATCH);
      let found: readonly boolean[];
      try {
        found = await this.#options.find(batch.map(({ item }) => item));
      } catch (error) {
        this.#asking = false;
        this.#options.onFailed(error);
        return;
      }
      batch.forEach(({ item, answered }, i) => {
        // One that was decided meanwhile has the better knowledge.
        item.duplicate ??= found[i];
        answered();
      });
    }
    this.#asking = false;
  }
}

function keyOf(item: Item): string {
  return item.command?.idempotencyKey ?? '';
}
