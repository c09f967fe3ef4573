/** What one shard writes to one partition: an order that must be kept. */
export interface Lane {
  readonly shard: number;
  readonly topic: string;
  readonly partition: number;
  /** Ordinals of what was found of it: the least, and the one that was found last. */
  least: number;
  last: number;
}

/** Where a lane's ordinals are from: places in the outbox, or numbers of events. */
export type LaneKind = 'outbox' | 'event';

/** The lanes of one pass, by numbers of their own, which fingerprint tables can hold. */
export class Lanes {
  readonly #ids = new Map<string, number>();
  readonly #lanes: Lane[] = [];

  /** The number of a lane, which is made if there is none. */
  idOf(kind: LaneKind, shard: number, topic: string, partition: number): number {
    const name = nameOf(kind, shard, topic, partition);
    let id = this.#ids.get(name);
    if (id === undefined) {
      id = this.#lanes.length;
      this.#lanes.push({ shard, topic, partition, least: Number.POSITIVE_INFINITY, last: -1 });
      this.#ids.set(name, id);
    }
    return id;
  }

  find(kind: LaneKind, shard: number, topic: string, partition: number): Lane | undefined {
    const id = this.#ids.get(nameOf(kind, shard, topic, partition));
    return id === undefined ? undefined : this.#lanes[id];
  }

  /** The lane with a number that `idOf` has given. */
  at(id: number): Lane {
    return this.#lanes[id] as Lane;
  }
}

function nameOf(kind: LaneKind, shard: number, topic: string, partition: number): string {
  return `${kind} ${shard} ${partition} ${topic}`;
}
