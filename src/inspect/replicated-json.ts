import type { Payload } from '../model/payload.ts';
import type { ReplicatedData, ReplicatedDelta, ReplicatedEntryDelta } from '../model/replicated.ts';

/** Compact JSON of an element or a key; undefined: it cannot be read. */
type ReadPayload = (payload: Payload) => string | undefined;

/** A change of a replicated entity's value, for JSON: its kind, and what of it there is. */
export function deltaToJson(delta: ReplicatedDelta, read: ReadPayload): object {
  const values = (payloads: readonly Payload[]) => payloads.map((payload) => payloadToValue(payload, read));
  switch (delta.kind) {
    case 'gcounter':
    case 'counter':
      return { [delta.kind]: { change: delta.change } };
    case 'flag':
      return { flag: delta.isOn };
    case 'vote':
      return { vote: delta.selfVote };
    case 'register': {
      const { value, clock, clockValue } = delta;
      const isCustom = clock === 'custom' || clock === 'custom-auto-increment';
      return { register: { value: payloadToValue(value, read), clock, ...(isCustom && { clockValue }) } };
    }
    case 'gset':
    case 'set':
      return {
        [delta.kind]: {
          ...(delta.cleared && { cleared: true }),
          ...(delta.removed.length > 0 && { removed: values(delta.removed) }),
          ...(delta.added.length > 0 && { added: values(delta.added) }),
        },
      };
    default: {
      const entry = ({ key, delta: inner }: ReplicatedEntryDelta) => ({
        key: payloadToValue(key, read),
        delta: deltaToJson(inner, read),
      });
      return {
        [delta.kind]: {
          ...(delta.cleared && { cleared: true }),
          ...(delta.removed.length > 0 && { removed: values(delta.removed) }),
          ...(delta.updated.length > 0 && { updated: delta.updated.map(entry) }),
          ...(delta.added.length > 0 && { added: delta.added.map(entry) }),
        },
      };
    }
  }
}

/** The value of a replicated entity, for JSON. */
export function replicatedToJson(data: ReplicatedData, read: ReadPayload): object {
  switch (data.kind) {
    case 'gcounter':
    case 'counter':
      return { [data.kind]: data.value };
    case 'flag':
      return { flag: data.isOn };
    case 'vote':
      return { vote: data.selfVote };
    case 'register':
      return { register: payloadToValue(data.value, read) };
    case 'gset':
    case 'set':
      return { [data.kind]: [...data.elements.values()].map((payload) => payloadToValue(payload, read)) };
    default:
      return {
        [data.kind]: [...data.entries.values()].map(({ key, data: inner }) => ({
          key: payloadToValue(key, read),
          value: replicatedToJson(inner, read),
        })),
      };
  }
}

function payloadToValue(payload: Payload, read: ReadPayload): unknown {
  const text = read(payload);
  return text === undefined
    ? { type: payload.typeUrl, base64: Buffer.from(payload.value).toString('base64') }
    : JSON.parse(text);
}
