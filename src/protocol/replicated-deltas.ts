import { StateferryError } from '../errors.ts';
import type { Payload } from '../model/payload.ts';
import type {
  RegisterClock,
  ReplicatedDelta,
  ReplicatedEntryDelta,
  ReplicatedKind,
  ReplicatedMapKind,
} from '../model/replicated.ts';
import { type AnyMessage, toAny } from './messages.ts';

// What is done to a replicated entity's value, as the dialects' messages have it. They differ in the names of the types
// and in their numbers, which loadWire knows; and the first has messages for whole values besides.

/** The members of a dialect's delta, by the type that they are of. What is not there, the dialect does not have. */
export type DeltaNames = Partial<Record<ReplicatedKind, string>>;

export const CLOUDSTATE_DELTAS: DeltaNames = {
  gcounter: 'gcounter',
  counter: 'pncounter',
  gset: 'gset',
  set: 'orset',
  register: 'lwwregister',
  flag: 'flag',
  map: 'ormap',
  vote: 'vote',
};

export const AKKA_SERVERLESS_DELTAS: DeltaNames = {
  counter: 'counter',
  set: 'replicated_set',
  register: 'register',
  map: 'replicated_map',
  vote: 'vote',
};

export const KALIX_DELTAS: DeltaNames = {
  ...AKKA_SERVERLESS_DELTAS,
  'counter-map': 'replicated_counter_map',
  'register-map': 'replicated_register_map',
  'multi-map': 'replicated_multi_map',
};

/** A delta, or a whole value, as a decoded message: what its member has, and an empty one where that is not told. */
export type DeltaMessage = Readonly<Record<string, BodyMessage | null | undefined>>;

interface BodyMessage {
  /** gcounter */
  readonly increment?: number;
  /** counter */
  readonly change?: number;
  /** Flag, register; of whole values the counters too. */
  readonly value?: number | boolean | AnyMessage | null;
  readonly clock?: number;
  readonly custom_clock_value?: number;
  readonly cleared?: boolean;
  readonly removed?: readonly AnyMessage[];
  readonly updated?: readonly EntryMessage[];
  readonly added?: readonly (AnyMessage | EntryMessage)[];
  /** Whole sets. */
  readonly items?: readonly AnyMessage[];
  /** Whole maps. */
  readonly entries?: readonly EntryMessage[];
  readonly self_vote?: boolean;
}

interface EntryMessage {
  readonly key?: AnyMessage | null;
  readonly delta?: (DeltaMessage & BodyMessage) | null;
  /** A whole value. */
  readonly value?: DeltaMessage | null;
}

/** How a dialect writes and reads what is done to a value. */
export interface DeltaFormat {
  /** @throws StateferryError ENTITY_UNREADABLE for a type that the dialect does not have. */
  encode(delta: ReplicatedDelta): DeltaMessage;
  /** Undefined: a message without a member. @throws Error for a number that is not exact. */
  decode(message: DeltaMessage): ReplicatedDelta | undefined;
  /** The same of a whole value, given and told as the delta that gives it from nothing; absent: there are no such messages. */
  readonly whole?: Pick<DeltaFormat, 'encode' | 'decode'>;
}

const CLOCKS: readonly RegisterClock[] = ['default', 'reverse', 'custom', 'custom-auto-increment'];
/** What the values of the maps of one type are; theirs are the bare bodies of deltas. */
const VALUES_OF = { 'counter-map': 'counter', 'register-map': 'register', 'multi-map': 'set' } as const;
/** Where a dialect has only the wider type, its functions go on with that one. */
const WIDER = { gcounter: 'counter', gset: 'set' } as const;
/** There is one voter: whoever owns the entity. */
const VOTERS = 1;

/** `addsWhole`: what is added to a map is a whole value, and the dialect has such messages. */
export function createDeltaFormat(names: DeltaNames, options: { readonly addsWhole: boolean }): DeltaFormat {
  const kinds = new Map(Object.entries(names).map(([kind, name]) => [name, kind as ReplicatedKind]));
  const { addsWhole } = options;

  function nameOf(kind: ReplicatedKind): string {
    const name = names[kind];
    if (name !== undefined) return name;
    throw new StateferryError(
      'ENTITY_UNREADABLE',
      `the value of this entity has a ${kind} in it, and the function's protocol has no message for one. Run a function that has.`,
    );
  }

  function encode(given: ReplicatedDelta): DeltaMessage {
    const delta = widened(given);
    return { [nameOf(delta.kind)]: bodyOf(delta) };
  }

  function widened(delta: ReplicatedDelta): ReplicatedDelta {
    if (delta.kind !== 'gcounter' && delta.kind !== 'gset') return delta;
    return names[delta.kind] === undefined ? ({ ...delta, kind: WIDER[delta.kind] } as ReplicatedDelta) : delta;
  }

  function bodyOf(delta: ReplicatedDelta): BodyMessage {
    switch (delta.kind) {
      case 'gcounter':
        return { increment: delta.change };
      case 'counter':
        return { change: delta.change };
      case 'gset':
        return { added: delta.added.map(toAny) };
      case 'set':
        return { cleared: delta.cleared, removed: delta.removed.map(toAny), added: delta.added.map(toAny) };
      case 'register':
        // The clock says how a write stands among others; the function is told what came of it.
        return { value: toAny(delta.value) };
      case 'flag':
        return { value: delta.isOn };
      case 'vote':
        return voteOf(delta.selfVote);
      case 'map':
        return {
          ...startOf(delta),
          updated: delta.updated.map(({ key, delta: inner }) => ({ key: toAny(key), delta: encode(inner) })),
          added: delta.added.map(({ key, delta: inner }) =>
            addsWhole ? { key: toAny(key), value: whole.encode(inner) } : { key: toAny(key), delta: encode(inner) },
          ),
        };
      default:
        return {
          ...startOf(delta),
          updated: [...delta.updated, ...delta.added].map(({ key, delta: inner }) => ({
            key: toAny(key),
            delta: bodyOf(inner) as DeltaMessage & BodyMessage,
          })),
        };
    }
  }

  function decode(message: DeltaMessage): ReplicatedDelta | undefined {
    for (const [name, kind] of kinds) {
      const body = message[name];
      if (body != null) return ofBody(kind, body);
    }
    return undefined;
  }

  function ofBody(kind: ReplicatedKind, body: BodyMessage): ReplicatedDelta {
    switch (kind) {
      case 'gcounter':
        return { kind, change: exact(body.increment) };
      case 'counter':
        return { kind, change: exact(body.change) };
      case 'gset':
      case 'set':
        return { kind, ...collected(body), added: (body.added ?? []).map((any) => toPayload(any as AnyMessage)) };
      case 'register':
        return registerOf(body);
      case 'flag':
        return { kind, isOn: body.value === true };
      case 'vote':
        return { kind, selfVote: body.self_vote ?? false };
      case 'map':
        return {
          kind,
          ...collected(body),
          updated: (body.updated ?? []).flatMap(({ key, delta }) => entryOf(key, delta && decode(delta))),
          added: ((body.added ?? []) as readonly EntryMessage[]).flatMap(({ key, delta, value }) =>
            entryOf(key, addsWhole ? value && whole.decode(value) : delta && decode(delta)),
          ),
        };
      default:
        return {
          kind,
          ...collected(body),
          updated: (body.updated ?? []).flatMap(({ key, delta }) => entryOf(key, ofBody(VALUES_OF[kind], delta ?? {}))),
          added: [],
        };
    }
  }

  const whole: Pick<DeltaFormat, 'encode' | 'decode'> = {
    encode(given) {
      const value = widened(given);
      return { [nameOf(value.kind)]: wholeOf(value) };
    },
    decode(message) {
      for (const [name, kind] of kinds) {
        const body = message[name];
        if (body != null) return ofWhole(kind, body);
      }
      return undefined;
    },
  };

  function wholeOf(value: ReplicatedDelta): BodyMessage {
    switch (value.kind) {
      case 'gcounter':
      case 'counter':
        return { value: value.change };
      case 'gset':
      case 'set':
        return { items: value.added.map(toAny) };
      case 'map':
        return {
          entries: [...value.updated, ...value.added].map(({ key, delta }) => ({
            key: toAny(key),
            value: whole.encode(delta),
          })),
        };
      default:
        return bodyOf(value);
    }
  }

  function ofWhole(kind: ReplicatedKind, body: BodyMessage): ReplicatedDelta {
    switch (kind) {
      case 'gcounter':
      case 'counter':
        return { kind, change: exact(body.value as number | undefined) };
      case 'gset':
      case 'set':
        return { kind, cleared: false, removed: [], added: (body.items ?? []).map(toPayload) };
      case 'map':
        return {
          kind,
          cleared: false,
          removed: [],
          updated: [],
          added: (body.entries ?? []).flatMap(({ key, value }) => entryOf(key, value && whole.decode(value))),
        };
      default:
        return ofBody(kind, body);
    }
  }

  return { encode, decode, ...(addsWhole && { whole }) };
}

/** A copy: the value may be kept for long, and what was decoded is a view of the whole message. */
function toPayload({ type_url = '', value }: AnyMessage): Payload {
  return { typeUrl: type_url, value: Uint8Array.from(value ?? []) };
}

function startOf({ cleared, removed }: ReplicatedDelta & { readonly kind: ReplicatedMapKind }): BodyMessage {
  return { cleared, removed: removed.map(toAny) };
}

function collected({ cleared = false, removed = [] }: BodyMessage) {
  return { cleared, removed: removed.map(toPayload) };
}

/** An entry without a change is none: the JavaScript SDKs write one where nothing has changed. */
function entryOf(
  key: AnyMessage | null | undefined,
  delta: ReplicatedDelta | null | undefined,
): ReplicatedEntryDelta[] {
  return delta == null ? [] : [{ key: toPayload(key ?? {}), delta }];
}

function registerOf({ value, clock = 0, custom_clock_value }: BodyMessage): ReplicatedDelta {
  const named = CLOCKS[clock];
  if (named === undefined) throw new Error(`a register with a clock ${clock}`);
  return {
    kind: 'register',
    value: toPayload((value as AnyMessage | null | undefined) ?? {}),
    clock: named,
    clockValue: exact(custom_clock_value),
  };
}

function voteOf(selfVote: boolean) {
  return { self_vote: selfVote, votes_for: selfVote ? VOTERS : 0, total_voters: VOTERS };
}

function exact(value = 0): number {
  if (Number.isSafeInteger(value)) return value;
  throw new Error(`a counter or clock of ${value}, and numbers beyond 2^53 cannot be kept exactly`);
}
