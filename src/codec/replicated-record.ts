import type protobuf from 'protobufjs';
import { messageOf, StateferryError } from '../errors.ts';
import type { Payload } from '../model/payload.ts';
import type { RegisterClock, ReplicatedDelta, ReplicatedEntryDelta, ReplicatedMapKind } from '../model/replicated.ts';
import { packagePath } from '../package-path.ts';
import { loadProtos } from '../protocol/wire.ts';
import { asProtobuf } from './any.ts';

// stateferry.internal.ReplicatedDelta in proto/stateferry/internal.proto, as protobufjs decodes it.
interface ValueMessage {
  readonly type_url: string;
  readonly value: Uint8Array;
}
interface CollectionMessage<T> {
  readonly cleared: boolean;
  readonly removed: readonly ValueMessage[];
  readonly updated?: readonly T[];
  readonly added: readonly T[];
}
interface EntryMessage {
  readonly key: ValueMessage | null;
  readonly delta: DeltaMessage | null;
}
interface DeltaMessage {
  /** The name of the member that is there. */
  readonly delta?: string;
  readonly gcounter?: { readonly change: number };
  readonly counter?: { readonly change: number };
  readonly gset?: CollectionMessage<ValueMessage>;
  readonly set?: CollectionMessage<ValueMessage>;
  readonly register?: { readonly value: ValueMessage | null; readonly clock: number; readonly clock_value: number };
  readonly flag?: boolean;
  readonly map?: CollectionMessage<EntryMessage>;
  readonly counter_map?: CollectionMessage<EntryMessage>;
  readonly register_map?: CollectionMessage<EntryMessage>;
  readonly multi_map?: CollectionMessage<EntryMessage>;
  readonly vote?: boolean;
}

const TYPE = 'stateferry.internal.ReplicatedDelta';
const TYPE_URL = asProtobuf(TYPE, new Uint8Array()).typeUrl;
const CLOCKS: readonly RegisterClock[] = ['default', 'reverse', 'custom', 'custom-auto-increment'];
const MAPS = {
  map: 'map',
  'counter-map': 'counter_map',
  'register-map': 'register_map',
  'multi-map': 'multi_map',
} as const satisfies Record<ReplicatedMapKind, keyof DeltaMessage>;

let type: protobuf.Type | undefined;

/** Read from proto/ when it is first needed: most deployments have no replicated entities. */
function wire(): protobuf.Type {
  type ??= loadProtos(packagePath('proto'), ['stateferry/internal.proto']).lookupType(TYPE);
  return type;
}

/** A change of a replicated entity's value as its event in the journal; from nothing, as its snapshot. */
export function encodeReplicatedDelta(delta: ReplicatedDelta): Payload {
  return { typeUrl: TYPE_URL, value: wire().encode(toMessage(delta)).finish() };
}

/** Whether a payload says that it is what `encodeReplicatedDelta` makes. */
export function isReplicatedDelta({ typeUrl }: Payload): boolean {
  return typeUrl === TYPE_URL;
}

/** @throws StateferryError ENTITY_UNREADABLE for an event that no replicated entity has written. */
export function decodeReplicatedDelta(payload: Payload): ReplicatedDelta {
  const { typeUrl, value } = payload;
  if (!isReplicatedDelta(payload)) {
    throw new StateferryError(
      'ENTITY_UNREADABLE',
      `the journal has a ${typeUrl} of this entity, and it is a replicated entity now, whose events are ${TYPE}. ` +
        'Give the entity type another name, or run the function that wrote the event.',
    );
  }
  try {
    return fromMessage(wire().decode(value) as DeltaMessage);
  } catch (cause) {
    throw new StateferryError('ENTITY_UNREADABLE', `an event of this entity is no ${TYPE}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

function toMessage(delta: ReplicatedDelta): object {
  switch (delta.kind) {
    case 'gcounter':
    case 'counter':
      return { [delta.kind]: { change: delta.change } };
    case 'gset':
    case 'set': {
      const { cleared, removed, added } = delta;
      return { [delta.kind]: { cleared, removed: removed.map(toValue), added: added.map(toValue) } };
    }
    case 'register': {
      const { value, clock, clockValue } = delta;
      return { register: { value: toValue(value), clock: CLOCKS.indexOf(clock), clock_value: clockValue } };
    }
    case 'flag':
      return { flag: delta.isOn };
    case 'vote':
      return { vote: delta.selfVote };
    default: {
      const { cleared, removed, updated, added } = delta;
      return {
        [MAPS[delta.kind]]: {
          cleared,
          removed: removed.map(toValue),
          updated: updated.map(toEntry),
          added: added.map(toEntry),
        },
      };
    }
  }
}

function toEntry({ key, delta }: ReplicatedEntryDelta): object {
  return { key: toValue(key), delta: toMessage(delta) };
}

function toValue({ typeUrl, value }: Payload): ValueMessage {
  return { type_url: typeUrl, value };
}

function fromMessage(given: DeltaMessage | null): ReplicatedDelta {
  switch (given?.delta) {
    case 'gcounter':
    case 'counter':
      return { kind: given.delta, change: given[given.delta]?.change ?? 0 };
    case 'gset':
    case 'set': {
      const { cleared = false, removed = [], added = [] } = given[given.delta] ?? {};
      return { kind: given.delta, cleared, removed: removed.map(fromValue), added: added.map(fromValue) };
    }
    case 'register': {
      const { value = null, clock = 0, clock_value: clockValue = 0 } = given.register ?? {};
      const named = CLOCKS[clock];
      if (named === undefined) throw new Error(`it has a clock ${clock}`);
      return { kind: 'register', value: fromValue(value), clock: named, clockValue };
    }
    case 'flag':
      return { kind: 'flag', isOn: given.flag ?? false };
    case 'vote':
      return { kind: 'vote', selfVote: given.vote ?? false };
    case 'map':
      return fromMap('map', given.map);
    case 'counter_map':
      return fromMap('counter-map', given.counter_map);
    case 'register_map':
      return fromMap('register-map', given.register_map);
    case 'multi_map':
      return fromMap('multi-map', given.multi_map);
    default:
      throw new Error('it says nothing of a type');
  }
}

function fromMap(kind: ReplicatedMapKind, given: CollectionMessage<EntryMessage> | undefined): ReplicatedDelta {
  const { cleared = false, removed = [], updated = [], added = [] } = given ?? {};
  const entry = ({ key, delta }: EntryMessage) => ({ key: fromValue(key), delta: fromMessage(delta) });
  return { kind, cleared, removed: removed.map(fromValue), updated: updated.map(entry), added: added.map(entry) };
}

function fromValue(given: ValueMessage | null): Payload {
  // What was decoded is a view of the journal's row; it would keep the whole row in memory.
  return { typeUrl: given?.type_url ?? '', value: Uint8Array.from(given?.value ?? []) };
}
