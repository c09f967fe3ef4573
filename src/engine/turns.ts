import { type Entity, first } from './entity.ts';
import type { Item } from './item.ts';

/**
 * A command that was in flight at this many losses of the function is suspected of causing them: it is then sent alone,
 * and condemned when the function is lost with it alone this many times more. What was merely in flight beside it, or
 * when somebody restarted the function, goes through.
 */
const SUSPECT_LOSSES = 2;
const ALONE_LOSSES = 2;

export interface TurnsOptions {
  /** Commands at the function at once. */
  readonly maxCommands: number;
  readonly isFunctionUp: () => boolean;
  /** It is the turn of an entity that was held. */
  readonly go: (entity: Entity) => void;
}

/**
 * Whose turn it is at the function: as many commands at once as it may have, in the order in which they asked. While a command
 * is suspected of being what the function dies of, only suspects run, each of them alone.
 */
export class Turns {
  readonly #options: TurnsOptions;
  /** Commands at the function, oldest first. */
  readonly #running = new Map<Item, Entity>();
  /** Commands that may be what the function dies of. */
  readonly #suspects = new Set<Item>();
  /** Wait for their turn, in order. */
  readonly #held = new Set<Entity>();

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  get hasSuspects(): boolean {
    return this.#suspects.size > 0;
  }

  isSuspect(item: Item | undefined): boolean {
    return item !== undefined && this.#suspects.has(item);
  }

  /**
   * The entity's next command goes to the function now, or the entity is held: answers whether it goes. `isItsTurn`: it was held,
   * and `go` has said so.
   */
  take(entity: Entity, item: Item, isItsTurn: boolean): boolean {
    // Nobody overtakes those who wait, or an entity with many commands would keep its place at the function.
    if (!this.#mayRun(item) || (this.#held.size > 0 && !isItsTurn)) {
      this.#held.add(entity);
      return false;
    }
    item.running = true;
    item.startedAt = performance.now();
    this.#running.set(item, entity);
    return true;
  }

  /** The command is not at the function any more; answers whether it was there alone. */
  over(item: Item): boolean {
    const alone = this.#running.size === 1;
    this.#running.delete(item);
    item.running = false;
    return alone;
  }

  /** It is not what the function dies of, or of no interest any more. */
  acquit(item: Item): void {
    this.#suspects.delete(item);
  }

  /** The function went away while it had the command; answers whether that condemns it. `alone`: it had no other. */
  condemns(item: Item, alone: boolean): boolean {
    item.losses++;
    if (this.#suspects.has(item) && alone && ++item.lossesAlone >= ALONE_LOSSES) {
      this.#suspects.delete(item);
      return true;
    }
    if (item.losses >= SUSPECT_LOSSES) this.#suspects.add(item);
    return false;
  }

  /** The entity does not wait for its turn any more. */
  leave(entity: Entity): void {
    this.#held.delete(entity);
  }

  /** The entity does not wait for its turn any more, and what it has at the function is to be sent again: answers whether it has. */
  interrupt(entity: Entity): boolean {
    this.leave(entity);
    const item = entity.mailbox.find((one) => this.#running.has(one));
    if (item === undefined) return false;
    this.over(item);
    return true;
  }

  /** What the entity had here is of no interest any more. */
  drop(entity: Entity): void {
    this.leave(entity);
    const item = first(entity);
    if (item === undefined) return;
    this.#running.delete(item);
    this.#suspects.delete(item);
  }

  /** Takes commands away from the function that were handed to it before `limit` (performance.now()). */
  *overdue(limit: number): Generator<readonly [Item, Entity]> {
    // They were handed over in order of time.
    for (const [item, entity] of this.#running) {
      if (item.startedAt > limit) return;
      this.over(item);
      this.#suspects.delete(item);
      yield [item, entity];
    }
  }

  /** Lets those go on whose turn it is. */
  unhold(): void {
    for (const entity of this.#held) {
      if (this.#mayRun(first(entity))) {
        this.#held.delete(entity);
        this.#options.go(entity);
      } else if (this.#suspects.size === 0) return;
    }
  }

  /**
   * A suspect goes only to a function that is there: on a stream of one that has just gone away it would be lost alone, and blamed
   * for what another one did.
   */
  #mayRun(item: Item | undefined): boolean {
    if (this.#suspects.size === 0) return this.#running.size < this.#options.maxCommands;
    return this.#running.size === 0 && this.isSuspect(item) && this.#options.isFunctionUp();
  }
}
