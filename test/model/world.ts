import { Broken } from './explore.ts';
import type { At, OpenedAnswer, OutboxAnswer } from './opening.ts';
import { TOPICS } from './opening.ts';
import type { Wrong } from './wrong.ts';

/** A chunk as it goes to the journal. `outputs`: one for each of its records, by `outputOf`. */
export interface ModelChunk {
  readonly shard: number;
  readonly epoch: number;
  readonly number: number;
  readonly from: At;
  readonly to: At;
  readonly outputs: readonly number[];
  readonly emittedThrough: number;
}

/** What goes into a Kafka transaction of a journaled chunk. */
export interface Emitting {
  readonly shard: number;
  /** Of the shard as it was opened when this was journaled, or found in the outbox. */
  readonly epoch: number;
  readonly number: number;
  readonly positions: At;
  readonly outputs: readonly number[];
}

/** A shard's row in the journal, with its outbox. */
export interface Row {
  epoch: number;
  owners: number[];
  applied: At;
  released: At | undefined;
  releasedEpoch: number;
  chunk: number;
  emitted: number;
  outbox: readonly OutboxAnswer[];
}

/** A transactional id at the broker. */
export interface IdAtBroker {
  id: number;
  /** Grows with each InitProducerId; an older one is refused everything. */
  epoch: number;
  /** Begun: it holds what was written, and may still be aborted. */
  open: readonly Emitting[] | undefined;
  /** Its commit is decided; the markers that let everybody see it are on their way. */
  committing: readonly Emitting[] | undefined;
}

/** A request that its sender does not wait for any more. */
export type Late =
  | { readonly kind: 'append'; readonly chunks: readonly ModelChunk[] }
  | { readonly kind: 'end'; readonly id: number; readonly epoch: number };

/** A shard as the process holds it that opened it. */
export interface Held {
  readonly epoch: number;
  chunk: number;
  emitted: number;
  applied: At;
  committed: At;
  draining: boolean;
}

export interface Process {
  /** Its transactional id, 0: it has to take one. `epoch`: the producer's. */
  id: number;
  epoch: number;
  /** Shards that it takes for its own, as the group last told it. */
  assigned: readonly number[];
  /** Under way, for an id that need not be its own any more: what is condemned meanwhile is still finished. */
  opening: { readonly id: number; readonly number: number } | undefined;
  held: (Held | undefined)[];
  /** The journal was asked and has not answered. */
  append: readonly ModelChunk[] | undefined;
  /** Journaled, and waits for the next transaction. */
  waiting: readonly Emitting[];
  /** Written in a transaction that is not ended yet. */
  written: readonly Emitting[] | undefined;
}

export interface World {
  rows: Row[];
  ids: IdAtBroker[];
  /** The group's committed offsets by shard, as the broker answers them. */
  offsets: At[];
  /** By shard: the next output of each topic, counting all whose commit is decided. */
  out: At[];
  /** By shard: the process that the group assigned it to. */
  owner: number[];
  processes: Process[];
  late: Late[];
  nextId: number;
  crashes: number;
  moves: number;
  lost: number;
}

export interface Bounds {
  /** Records of each topic, by shard. */
  readonly records: readonly At[];
  readonly processes: number;
  /** How often, at most, a process dies; a shard is assigned to another one; an answer is lost. */
  readonly crashes: number;
  readonly moves: number;
  readonly lost: number;
  /** The markers of a transaction come some time after its commit is answered, instead of at once. */
  readonly slowMarkers: boolean;
}

export const NONE: At = TOPICS.map(() => -1);
const ZERO: At = TOPICS.map(() => 0);

export const processAtStart = (shards: number): Process => ({
  id: 0,
  epoch: 0,
  assigned: [],
  opening: undefined,
  held: Array.from({ length: shards }, () => undefined),
  append: undefined,
  waiting: [],
  written: undefined,
});

export function worldAtStart(bounds: Bounds): World {
  const shards = bounds.records.length;
  return {
    rows: bounds.records.map(() => ({
      epoch: 0,
      owners: [],
      applied: NONE,
      released: undefined,
      releasedEpoch: 0,
      chunk: 0,
      emitted: 0,
      outbox: [],
    })),
    ids: [],
    offsets: bounds.records.map(() => NONE),
    out: bounds.records.map(() => ZERO),
    owner: bounds.records.map(() => 0),
    processes: Array.from({ length: bounds.processes }, () => processAtStart(shards)),
    late: [],
    nextId: 1,
    crashes: bounds.crashes,
    moves: bounds.moves,
    lost: bounds.lost,
  };
}

/** A copy of which every part that a step may change is its own. */
export function copy(world: World): World {
  return {
    ...world,
    rows: world.rows.map((row) => ({ ...row })),
    ids: world.ids.map((id) => ({ ...id })),
    offsets: [...world.offsets],
    out: [...world.out],
    owner: [...world.owner],
    processes: world.processes.map((p) => ({ ...p, held: p.held.map((held) => held && { ...held }) })),
    late: [...world.late],
  };
}

const written = new WeakMap<object, string>();

/** What is never changed in place is written down once. */
function text(part: object | undefined): string {
  if (part === undefined) return '';
  let known = written.get(part);
  if (known === undefined) {
    known = JSON.stringify(part);
    written.set(part, known);
  }
  return known;
}

/** Equal for worlds of which nobody could tell the difference. */
export function keyOf(world: World): string {
  let key = `${world.owner}|${world.crashes}|${world.moves}|${world.lost}|${world.nextId}|${world.out.join(';')}|${world.offsets.join(';')}`;
  for (const row of world.rows) {
    key += `|${row.epoch};${row.owners};${row.applied};${row.released ?? ''};${row.releasedEpoch};${row.chunk};${row.emitted};${text(row.outbox)}`;
  }
  key += '#';
  for (const { id, epoch, open, committing } of world.ids) key += `|${id};${epoch};${text(open)};${text(committing)}`;
  key += '#';
  for (const p of world.processes) {
    key += `|${p.id};${p.epoch};${p.assigned};${p.opening?.id};${p.opening?.number};${text(p.append)};${text(p.waiting)};${text(p.written)}`;
    for (const held of p.held) {
      if (held === undefined) key += '/';
      else key += `/${held.epoch};${held.chunk};${held.emitted};${held.applied};${held.committed};${held.draining}`;
    }
  }
  return `${key}#${world.late.map(text).sort().join()}`;
}

/** The number of the output of one record, below 256. */
export function outputOf(shard: number, topic: number, offset: number): number {
  return (shard << 6) | (topic << 4) | offset;
}

function placeOf(output: number) {
  return { shard: output >> 6, topic: (output >> 4) & 3, offset: output & 15 };
}

function nameOf(output: number): string {
  const { shard, topic, offset } = placeOf(output);
  return `the output of record ${offset} of ${TOPICS[topic]}-${shard}`;
}

// ---- Postgres: each function is one transaction of schemas/journal and journal/*.ts ----------------------------------

export function pgOwners(world: World, shards: readonly number[], id: number): number[] {
  return [...new Set(shards.flatMap((shard) => rowOf(world, shard).owners))].filter((owner) => owner !== id);
}

export function pgOpen(world: World, shards: readonly number[], id: number): OpenedAnswer[] {
  return shards.map((shard) => {
    const row = rowOf(world, shard);
    row.epoch++;
    const unreleased = row.owners.includes(id);
    row.owners = [...row.owners, id];
    return {
      shard,
      epoch: row.epoch,
      others: row.owners.filter((owner) => owner !== id),
      unreleased,
      applied: row.applied,
      released: row.releasedEpoch === row.epoch - 1 ? row.released : undefined,
      chunk: row.chunk,
      emitted: row.emitted,
    };
  });
}

export function pgSettle(
  world: World,
  settling: {
    readonly shard: number;
    readonly epoch: number;
    readonly fenced: readonly number[];
    readonly applied: At;
  },
): boolean {
  const row = rowOf(world, settling.shard);
  if (row.epoch !== settling.epoch) return false;
  row.owners = row.owners.filter((owner) => !settling.fenced.includes(owner));
  row.applied = settling.applied;
  checkJournal(world, settling.shard);
  return true;
}

/** Answers whether each of the chunks was journaled. */
export function pgAppend(world: World, chunks: readonly ModelChunk[], wrong: ReadonlySet<Wrong>): boolean[] {
  return chunks.map((chunk) => {
    const row = rowOf(world, chunk.shard);
    if (row.epoch !== chunk.epoch && !wrong.has('no epoch check at the journal')) return false;
    if (!same(row.applied, chunk.from) && !wrong.has('no position check at the journal')) return false;
    row.applied = chunk.to;
    row.chunk = chunk.number;
    row.emitted = Math.max(row.emitted, chunk.emittedThrough);
    row.outbox = [
      ...row.outbox.filter(({ chunk: number }) => number > chunk.emittedThrough),
      { chunk: chunk.number, positions: chunk.to, outputs: chunk.outputs },
    ];
    checkJournal(world, chunk.shard);
    return true;
  });
}

export function pgRelease(world: World, shard: number, held: Held, id: number): void {
  const row = rowOf(world, shard);
  if (row.epoch !== held.epoch) return;
  row.owners = row.owners.filter((owner) => owner !== id);
  row.released = held.committed;
  row.releasedEpoch = row.epoch;
  row.emitted = Math.max(row.emitted, held.emitted);
  row.outbox = row.outbox.filter(({ chunk }) => chunk > row.emitted);
  checkJournal(world, shard);
}

/** Committed <= applied, and the outbox holds the outputs of every record in [committed, applied), once. */
function checkJournal(world: World, shard: number): void {
  const row = rowOf(world, shard);
  const rows = row.outbox.flatMap(({ outputs }) => outputs);
  TOPICS.forEach((topic, t) => {
    const out = world.out[shard]?.[t] as number;
    const applied = row.applied[t] as number;
    if (applied < out && out > 0) {
      throw new Broken(`the journal has applied ${topic}-${shard} up to ${applied}, and outputs are out up to ${out}`);
    }
    for (let offset = out; offset < applied; offset++) {
      const output = outputOf(shard, t, offset);
      const times = rows.filter((other) => other === output).length;
      if (times !== 1) throw new Broken(`${nameOf(output)} is journaled, not out, and ${times} times in the outbox`);
    }
  });
}

// ---- Kafka -----------------------------------------------------------------------------------------------------------

export function atBroker(world: World, id: number): IdAtBroker {
  let found = world.ids.find((other) => other.id === id);
  if (found === undefined) {
    found = { id, epoch: 0, open: undefined, committing: undefined };
    world.ids.push(found);
  }
  return found;
}

/** The broker answers CONCURRENT_TRANSACTIONS, and is asked again until it does not. */
export function isBusy(world: World, id: number): boolean {
  return world.ids.find((other) => other.id === id)?.committing !== undefined;
}

/** Ends what the id had open and refuses its older producers everything from here on. Answers the new epoch. */
export function initProducerId(world: World, id: number): number {
  const at = atBroker(world, id);
  at.epoch++;
  at.open = undefined;
  return at.epoch;
}

/** False: refused, since the producer is fenced. */
export function write(world: World, id: number, epoch: number, content: readonly Emitting[]): boolean {
  const at = atBroker(world, id);
  if (at.epoch !== epoch) return false;
  at.open = content;
  return true;
}

/** EndTxn with commit: from here on it is decided that everybody will see it. False: refused. */
export function endTransaction(world: World, id: number, epoch: number): boolean {
  const at = atBroker(world, id);
  if (at.epoch !== epoch || at.open === undefined) return false;
  for (const { outputs } of at.open) {
    for (const output of outputs) {
      const { shard, topic, offset } = placeOf(output);
      const out = world.out[shard]?.[topic] as number;
      if (offset < out) throw new Broken(`${nameOf(output)} is committed twice`);
      if (offset > out) throw new Broken(`${nameOf(output)} is committed before the one of record ${out}`);
      world.out[shard] = (world.out[shard] as At).map((next, t) => (t === topic ? offset + 1 : next));
    }
  }
  for (const { shard, positions } of at.open) {
    const applied = rowOf(world, shard).applied;
    TOPICS.forEach((topic, t) => {
      const committed = positions[t] as number;
      if (committed > (applied[t] as number)) {
        throw new Broken(`offset ${committed} of ${topic}-${shard} is committed, and applied is ${applied[t]}`);
      }
      if (committed > (world.out[shard]?.[t] as number)) {
        throw new Broken(`offset ${committed} of ${topic}-${shard} is committed without the outputs before it`);
      }
    });
  }
  at.committing = at.open;
  at.open = undefined;
  return true;
}

/** The markers are written: outputs and offsets can be seen, all at once, and the id is free for its next transaction. */
export function writeMarkers(world: World, id: number, wrong: ReadonlySet<Wrong>): void {
  const at = atBroker(world, id);
  const topics = wrong.has('offsets of one topic only') ? 1 : TOPICS.length;
  for (const { shard, positions } of at.committing ?? []) {
    // An offset that was written earlier does not replace a later one, in whatever order their markers come.
    world.offsets[shard] = (world.offsets[shard] as At).map((before, t) =>
      t < topics ? Math.max(before, positions[t] as number) : before,
    );
  }
  at.committing = undefined;
}

/**
 * Forgets ids under which nobody can do anything any more; what one of them has open is aborted when it has been open
 * too long.
 */
export function forgetIds(world: World): void {
  const used = new Set<number>();
  for (const { owners } of world.rows) for (const owner of owners) used.add(owner);
  for (const { id, opening } of world.processes) used.add(id).add(opening?.id ?? 0);
  for (const late of world.late) if (late.kind === 'end') used.add(late.id);
  world.ids = world.ids.filter(({ id, committing }) => used.has(id) || committing !== undefined);
}

export function rowOf(world: World, shard: number): Row {
  return world.rows[shard] as Row;
}

export function same(a: At, b: At): boolean {
  return a.every((at, t) => at === b[t]);
}
