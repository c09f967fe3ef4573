/** What a caller is told: the sum of all changes of the entity, and how many there are. */
export interface Told {
  readonly balance: number;
  readonly changes: number;
}

/** One change of an entity, in the order of the journal. */
export interface Change {
  /** The command that made it. */
  readonly commandId: string;
  /** Of the entity, after it. */
  readonly balance: number;
}

/** One thing that was asked of one entity. Times are of one clock, in ms. */
export interface Operation {
  /** For people. */
  readonly name: string;
  readonly entity: string;
  /** When it was asked for: it takes effect after that. */
  readonly from: number;
  /** When somebody had learned that it has taken effect; Infinity: nobody has, and it may or may not do so. */
  readonly until: number;
  /** The command by which it changes the entity; absent: it reads. */
  readonly commandId?: string;
  /** What its caller was answered, where that is known. One that reads without it tells nothing. */
  readonly answer?: Told;
}

/** What is wrong with an operation. */
export interface Anomaly {
  readonly operation: Operation;
  readonly sentence: string;
}

/** Changes `first` to `last`, counted from 1, are the operation's; of one that reads, `last` is what it has seen, and `first` the next. */
interface Place {
  readonly first: number;
  readonly last: number;
}

/** The changes of one entity, and where those of each command are: from `first` to `last`, `count` of them. */
interface Order {
  readonly entity: string;
  readonly changes: readonly Change[];
  readonly of: ReadonlyMap<string, Place & { readonly count: number }>;
}

/**
 * Is the history linearizable (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects", ACM
 * TOPLAS 12(3), 1990): is there, for each entity, an order of all operations in which each one answers what it would if they
 * were done one after the other, and which no two change that did not overlap in time? Entities are looked at one by one,
 * since a history is linearizable if that of each object is (their theorem 1, locality).
 *
 * Checkers of recorded histories as Knossos and Porcupine search for that order (Wing and Gong, 1993; Lowe, 2017), which takes
 * exponential time at worst. Here the journal tells it: `orders` has the changes of each entity in the order in which
 * they were made. So an operation that changes has its place, and one that reads has it by its answer, which says how
 * many changes it has seen. What is left to be checked takes n log n:
 *
 * 1. The changes of one command are there once, next to each other, and not in between is what a reader sees.
 * 2. An answer is the state at the operation's place. Nobody is answered by a command that has no place.
 * 3. If `a` was over when `b` was asked for, the place of `b` is behind that of `a`; where `b` reads, it may be the same. For
 *    this all operations are gone through in the order in which they were asked for, with the furthest place of those that
 *    were over by then.
 *
 * That is enough. Order them by place, at one place what changes before what reads, and that by when it was asked
 * for: by 2 everyone is answered what it must be, and an operation that this puts before one that was over when it
 * began would have been found by 3.
 */
export function checkLinearizable(
  operations: readonly Operation[],
  orders: ReadonlyMap<string, readonly Change[]>,
): Anomaly[] {
  const anomalies: Anomaly[] = [];
  const byEntity = new Map<string, Operation[]>();
  for (const operation of operations) {
    const list = byEntity.get(operation.entity);
    if (list === undefined) byEntity.set(operation.entity, [operation]);
    else list.push(operation);
  }
  for (const [entity, list] of byEntity) {
    const order = orderOf(entity, orders.get(entity) ?? []);
    const placed = list.flatMap((operation) => {
      const place = placeIn(order, operation, anomalies);
      return place === undefined ? [] : [{ operation, place }];
    });
    checkTimes(placed, anomalies);
  }
  return anomalies;
}

function orderOf(entity: string, changes: readonly Change[]): Order {
  const of = new Map<string, Place & { readonly count: number }>();
  changes.forEach(({ commandId }, i) => {
    const { first = i + 1, count = 0 } = of.get(commandId) ?? {};
    of.set(commandId, { first, last: i + 1, count: count + 1 });
  });
  return { entity, changes, of };
}

/** Where the operation is among the changes of its entity; undefined where that cannot be told, or is told to be wrong. */
function placeIn({ entity, changes, of }: Order, operation: Operation, anomalies: Anomaly[]): Place | undefined {
  const { commandId, answer } = operation;
  const complain = (sentence: string): undefined => {
    anomalies.push({ operation, sentence });
    return undefined;
  };
  const balanceAfter = (n: number): number | undefined => (n === 0 ? 0 : changes[n - 1]?.balance);
  if (commandId === undefined) {
    if (answer === undefined) return undefined;
    const seen = answer.changes;
    if (balanceAfter(seen) !== answer.balance) {
      return complain(
        `was answered ${answer.balance} after ${seen} changes, and ${entity} has ${balanceAfter(seen) ?? 'not so many'} there`,
      );
    }
    if (seen > 0 && changes[seen]?.commandId === changes[seen - 1]?.commandId) {
      return complain(
        `has seen change ${seen} of ${entity}, and not the next one, which ${changes[seen]?.commandId} made with it`,
      );
    }
    return { first: seen + 1, last: seen };
  }
  const place = of.get(commandId);
  if (place === undefined) {
    if (operation.until === Number.POSITIVE_INFINITY) return undefined;
    return complain(`is known to have taken effect, and ${commandId} has changed nothing of ${entity}`);
  }
  const { first, last, count } = place;
  if (last - first + 1 !== count) {
    return complain(`made change ${first} and change ${last} of ${entity}, and others were made between them`);
  }
  if (answer !== undefined && (answer.changes !== last || answer.balance !== balanceAfter(last))) {
    return complain(
      `was answered ${answer.balance} after ${answer.changes} changes, and made change ${last} of ${entity}, which leads to ${balanceAfter(last)}`,
    );
  }
  return place;
}

function checkTimes(
  placed: readonly { readonly operation: Operation; readonly place: Place }[],
  anomalies: Anomaly[],
): void {
  const begun = [...placed].sort((a, b) => compare(a.operation.from, b.operation.from));
  const over = [...placed].sort((a, b) => compare(a.operation.until, b.operation.until));
  let ended = 0;
  let furthest: (typeof placed)[number] | undefined;
  for (const { operation, place } of begun) {
    for (let next = over[ended]; next !== undefined && next.operation.until < operation.from; next = over[++ended]) {
      if (furthest === undefined || next.place.last > furthest.place.last) furthest = next;
    }
    if (furthest === undefined || place.first > furthest.place.last) continue;
    const done = operation.commandId === undefined ? `has seen ${place.last} changes` : `made change ${place.first}`;
    anomalies.push({
      operation,
      sentence: `${done} of ${operation.entity}, ${Math.round(operation.from - furthest.operation.until)} ms after ${furthest.operation.name}, at change ${furthest.place.last}, was over`,
    });
  }
}

/** For numbers that may be infinite. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
