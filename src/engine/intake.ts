import { encodeCommandRecord } from '../codec/command-record.ts';
import type { Decoded } from '../codec/decode.ts';
import { isNudge, readPutBack } from '../codec/put-back.ts';
import { StateferryError } from '../errors.ts';
import type { Caller, Command, CommandId } from '../model/command.ts';
import type { Place } from '../model/control.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import { partitionFor } from '../topics/partition.ts';
import { BATCH_BYTES, recordBytes } from '../topics/record-bytes.ts';

/** What becomes of a record on arrival. */
export type Arrival =
  /** It goes to its entity or action. */
  | { readonly kind: 'command'; readonly command: Command; readonly from?: Origin }
  /** Its entity belongs to another shard: it is published again, on the command topic's right partition. */
  | { readonly kind: 'stray'; readonly outputs: readonly OutputRecord[]; readonly from?: Origin }
  | {
      readonly kind: 'reject';
      readonly error: StateferryError;
      readonly where?: { service: string; method: string };
      /** Somebody waits for it at a door. */
      readonly awaited?: { readonly id: CommandId; readonly caller: Caller };
      readonly from?: Origin;
    }
  | { readonly kind: 'ignore'; readonly from?: Origin };

/** Of a record that was put back (codec/put-back.ts): what it was first, and where its command was parked. */
export interface Origin {
  readonly origin: InputRecord;
  readonly place: Place | undefined;
}

/**
 * Decode and route: the first two steps of the way of a record. Single writer per entity rests on the check made here:
 * whatever partitioner a producer used, a command runs only in the shard that its entity id hashes to.
 */
export function createIntake(options: {
  decode: (record: InputRecord) => Decoded;
  /** Topics whose records are commands already: that of this generation, and that of one whose history it is made of. */
  commandTopics: ReadonlySet<string>;
  /** Where records go that are in the wrong partition. */
  commandTopic: string;
  /** The largest batch that the command topic takes, in bytes. */
  commandBytes: number;
  shards: number;
  idempotencyKey: (command: Omit<Command, 'idempotencyKey'>) => string | undefined;
}): (record: InputRecord) => Arrival {
  const { decode, commandTopics, commandTopic, commandBytes, shards, idempotencyKey } = options;
  return (record) => {
    if (!commandTopics.has(record.topic)) return route(record, record.partition);
    if (isNudge(record)) return { kind: 'ignore' };
    const from = originOf(record, record.topic);
    return from === undefined ? route(record, record.partition) : { ...route(from.origin, record.partition), from };
  };

  /** `partition`: where the record stands now. */
  function route(record: InputRecord, partition: number): Arrival {
    const decoded = decode(record);
    if (decoded.kind === 'ignore') return decoded;
    if (decoded.kind === 'reject') {
      const { method, caller, id = placeOf(record) } = decoded;
      return {
        kind: 'reject',
        error: decoded.error,
        ...(method !== undefined && { where: { service: method.component.service, method: method.name } }),
        ...(caller && { awaited: { id, caller } }),
      };
    }
    const { method, entityId } = decoded;
    const isAction = method.component.kind === 'action';
    const known = {
      id: decoded.id ?? placeOf(record),
      method,
      entityId,
      key: isAction ? record.key : keyOf(entityId, record),
      payload: decoded.payload,
      metadata: decoded.metadata,
      replyTo: decoded.replyTo,
      ...(decoded.caller && { caller: decoded.caller }),
      ...(decoded.stream && { stream: decoded.stream }),
    };
    const once = idempotencyKey(known);
    const command: Command = once === undefined ? known : { ...known, idempotencyKey: once };
    if (isAction || command.key === null) return { kind: 'command', command };
    const home = partitionFor(command.key, shards);
    if (home === partition) return { kind: 'command', command };
    const stray = encodeCommandRecord({
      id: command.id,
      service: method.component.service,
      method: method.name,
      entityId,
      payload: command.payload,
      metadata: command.metadata,
      replyTo: command.replyTo,
      caller: command.caller,
      stream: command.stream,
      key: command.key,
      topic: commandTopic,
      partition: home,
    });
    const bytes = BATCH_BYTES + recordBytes(stray);
    if (bytes <= commandBytes) return { kind: 'stray', outputs: [stray] };
    return {
      kind: 'reject',
      where: { service: method.component.service, method: method.name },
      ...(command.caller && { awaited: { id: command.id, caller: command.caller } }),
      error: new StateferryError(
        'RECORD_OVERSIZE',
        `The record's entity belongs to partition ${home}, where it would go as a command of ${bytes} bytes, and the topic ` +
          `"${commandTopic}" takes at most ${commandBytes}. Raise max.message.bytes of that topic, or produce with Kafka's default partitioner.`,
      ),
    };
  }
}

function placeOf({ topic, partition, offset }: InputRecord): CommandId {
  return `${topic}/${partition}/${offset}`;
}

/** What a record was before it was put back; undefined: it was not. */
export function originOf(record: InputRecord, commandTopic: string): Origin | undefined {
  const back = record.topic === commandTopic ? readPutBack(record) : undefined;
  return back && { origin: back.record, place: back.place };
}

/** The record's own key where that is the entity id, so that no bytes are made anew on the way of most records. */
function keyOf(entityId: string, record: InputRecord): Uint8Array {
  const { key } = record;
  if (key !== null && key.length === Buffer.byteLength(entityId) && key.toString() === entityId) return key;
  return Buffer.from(entityId);
}
