import type {
  ReplicatedData,
  ReplicatedDelta,
  ReplicatedEntryDelta,
  ReplicatedKind,
  ReplicatedMapKind,
} from '../model/replicated.ts';
import { identityOf } from './identity.ts';

type Of<T extends { readonly kind: ReplicatedKind }, K extends ReplicatedKind> = T & { readonly kind: K };
type Counter = 'gcounter' | 'counter';
type Collection = 'gset' | 'set';

/** What a delta makes of a value. */
export interface Merged {
  /** The same object where nothing changed. */
  readonly data: ReplicatedData;
  /** What makes this value of the one that whoever made the delta believes in; absent: it believes in the right one. */
  readonly correction?: ReplicatedDelta;
}

/** Where a dialect has only the wider type, its functions go on with that one. */
const WIDER: Partial<Record<ReplicatedKind, ReplicatedKind>> = { gcounter: 'counter', gset: 'set' };

/**
 * Merges what the one writer has done to a value; `undefined`: there is none yet. Pure, and a value is never changed.
 * @throws Error with a clause for a message ("changed a set, …") where the delta is not one of such a value.
 */
export function merge(before: ReplicatedData | undefined, delta: ReplicatedDelta): Merged {
  const data = before === undefined ? undefined : asWideAs(before, delta.kind);
  switch (delta.kind) {
    case 'gcounter':
    case 'counter':
      return { data: mergeCounter(data as Of<ReplicatedData, Counter> | undefined, delta) };
    case 'gset':
    case 'set':
      return { data: mergeSet(data as Of<ReplicatedData, Collection> | undefined, delta) };
    case 'register':
      return mergeRegister(data as Of<ReplicatedData, 'register'> | undefined, delta);
    case 'flag': {
      const flag = data as Of<ReplicatedData, 'flag'> | undefined;
      // Once on, it stays on.
      if (flag?.isOn === true) return delta.isOn ? { data: flag } : { data: flag, correction: { ...flag } };
      return { data: flag?.isOn === delta.isOn ? flag : { kind: 'flag', isOn: delta.isOn } };
    }
    case 'vote': {
      const vote = data as Of<ReplicatedData, 'vote'> | undefined;
      // A vote cast twice may have been counted twice where it was cast.
      if (vote?.selfVote === delta.selfVote) return { data: vote, correction: { ...vote } };
      return { data: { kind: 'vote', selfVote: delta.selfVote } };
    }
    default:
      return mergeMap(data as Of<ReplicatedData, ReplicatedMapKind> | undefined, delta);
  }
}

/** The delta that gives this value from nothing. */
export function fromNothing(data: ReplicatedData): ReplicatedDelta {
  switch (data.kind) {
    case 'gcounter':
    case 'counter':
      return { kind: data.kind, change: data.value };
    case 'gset':
    case 'set':
      return { kind: data.kind, cleared: false, removed: [], added: [...data.elements.values()] };
    case 'register':
      return { kind: 'register', value: data.value, clock: 'custom', clockValue: data.clock };
    case 'flag':
    case 'vote':
      return data;
    default: {
      const entries = [...data.entries.values()].map((entry) => ({ key: entry.key, delta: fromNothing(entry.data) }));
      const none = { kind: data.kind, cleared: false, removed: [] };
      return data.kind === 'map' ? { ...none, updated: [], added: entries } : { ...none, updated: entries, added: [] };
    }
  }
}

function asWideAs(data: ReplicatedData, kind: ReplicatedKind): ReplicatedData {
  if (data.kind === kind) return data;
  if (WIDER[data.kind] === kind) return { ...data, kind } as ReplicatedData;
  if (WIDER[kind] === data.kind) return data;
  throw new Error(`changed a ${kind}, and its value is a ${data.kind}`);
}

function mergeCounter(counter: Of<ReplicatedData, Counter> | undefined, delta: Of<ReplicatedDelta, Counter>) {
  const value = (counter?.value ?? 0) + delta.change;
  if (!Number.isSafeInteger(value)) {
    throw new Error(`changed a counter to ${value}, and numbers beyond 2^53 cannot be kept exactly`);
  }
  return { kind: counter?.kind ?? delta.kind, value };
}

function mergeSet(set: Of<ReplicatedData, Collection> | undefined, delta: Of<ReplicatedDelta, Collection>) {
  const elements = new Map(delta.cleared ? undefined : set?.elements);
  for (const element of delta.removed) elements.delete(identityOf(element));
  for (const element of delta.added) elements.set(identityOf(element), element);
  return { kind: set?.kind ?? delta.kind, elements };
}

function mergeRegister(
  register: Of<ReplicatedData, 'register'> | undefined,
  delta: Of<ReplicatedDelta, 'register'>,
): Merged {
  const clock = clockOf(register?.clock, delta);
  if (clock !== undefined) return { data: { kind: 'register', value: delta.value, clock } };
  const data = register as Of<ReplicatedData, 'register'>;
  return { data, correction: fromNothing(data) };
}

/**
 * The clock of the register after a write; undefined: the write loses against what is there. The writer's own time
 * counts nothing: one writer's writes are in order without it, so that a later one by the default clock is one further.
 */
function clockOf(
  present: number | undefined,
  { clock, clockValue }: Of<ReplicatedDelta, 'register'>,
): number | undefined {
  const isCustom = clock === 'custom' || clock === 'custom-auto-increment';
  if (present === undefined) return isCustom ? clockValue : 0;
  if (clock === 'default') return present + 1;
  if (clock === 'reverse') return undefined;
  if (clockValue > present) return clockValue;
  return clock === 'custom-auto-increment' ? present + 1 : undefined;
}

function mergeMap(
  map: Of<ReplicatedData, ReplicatedMapKind> | undefined,
  delta: Of<ReplicatedDelta, ReplicatedMapKind>,
): Merged {
  const entries = new Map(delta.cleared ? undefined : map?.entries);
  const corrections = new Map<string, ReplicatedEntryDelta>();
  for (const key of delta.removed) entries.delete(identityOf(key));
  for (const { key, delta: change } of delta.updated) {
    const id = identityOf(key);
    const { data, correction } = merge(entries.get(id)?.data, change);
    entries.set(id, { key, data });
    if (correction !== undefined) corrections.set(id, { key, delta: correction });
  }
  for (const { key, delta: value } of delta.added) {
    const id = identityOf(key);
    entries.set(id, { key, data: merge(undefined, value).data });
    corrections.delete(id);
  }
  const data: ReplicatedData = { kind: delta.kind, entries };
  if (corrections.size === 0) return { data };
  return {
    data,
    correction: { kind: delta.kind, cleared: false, removed: [], updated: [...corrections.values()], added: [] },
  };
}
