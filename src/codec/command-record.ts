import { Reader, Writer } from 'protobufjs/minimal.js';
import { messageOf, StateferryError } from '../errors.ts';
import type { CommandId } from '../model/command.ts';
import type { Method } from '../model/component.ts';
import { type Metadata, type MetadataEntry, NO_METADATA, type Payload } from '../model/payload.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { Decoded } from './decode.ts';
import { checkedEntityId } from './entity-id.ts';
import { ORIGIN_HEADER } from './header-names.ts';

// The numbers are those of stateferry.internal.CommandRecord in proto/stateferry/internal.proto. Tags are
// number << 3 | 2: every field has a length.
const ID = 0x0a;
const SERVICE = 0x12;
const METHOD = 0x1a;
const ENTITY_ID = 0x22;
const TYPE_URL = 0x2a;
const PAYLOAD = 0x32;
const METADATA = 0x3a;
const REPLY_TOPICS = 0x42;
const ENTRY_KEY = 0x0a;
const ENTRY_TEXT = 0x12;
const ENTRY_DATA = 0x1a;

/** A command on its way to the command topic: who it is, for whom, and where it is written. */
export interface CommandToSend {
  readonly id: CommandId;
  readonly service: string;
  readonly method: string;
  /** Empty for actions. */
  readonly entityId: string;
  readonly payload: Payload;
  readonly metadata: Metadata;
  readonly replyTo: readonly string[];
  /** The record's key, which keeps what belongs together in order: the entity id, or the key of an action's caller. */
  readonly key: Uint8Array | null;
  readonly topic: string;
  readonly partition: number;
}

/** A command as a record of the command topic. */
export function encodeCommandRecord(command: CommandToSend): OutputRecord {
  const writer = Writer.create();
  writer.uint32(ID).string(command.id).uint32(SERVICE).string(command.service).uint32(METHOD).string(command.method);
  if (command.entityId !== '') writer.uint32(ENTITY_ID).string(command.entityId);
  writer.uint32(TYPE_URL).string(command.payload.typeUrl);
  if (command.payload.value.length > 0) writer.uint32(PAYLOAD).bytes(command.payload.value);
  for (const { key, value } of command.metadata) {
    writer.uint32(METADATA).fork().uint32(ENTRY_KEY).string(key);
    if (typeof value === 'string') writer.uint32(ENTRY_TEXT).string(value);
    else writer.uint32(ENTRY_DATA).bytes(value);
    writer.ldelim();
  }
  for (const topic of command.replyTo) writer.uint32(REPLY_TOPICS).string(topic);
  return {
    topic: command.topic,
    partition: command.partition,
    key: command.key,
    value: writer.finish(),
    headers: [[ORIGIN_HEADER, command.id]],
  };
}

/**
 * A record of the command topic → the command with its own id. `resolve` finds the method that it is for.
 *
 * A reject is RECORD_TOMBSTONE without a value, RECORD_UNDECODABLE for a value that is no command record,
 * CALL_UNKNOWN_TARGET for a method that the function does not have, RECORD_NO_ENTITY_ID for an entity's command without
 * a usable entity id. Fields of a later version are passed over.
 */
export function decodeCommandRecord(
  record: InputRecord,
  resolve: (service: string, method: string) => Method | undefined,
): Decoded {
  let method: Method | undefined;
  try {
    const fields = readFields(record.value);
    method = resolve(fields.service, fields.method);
    if (method === undefined) {
      throw new StateferryError(
        'CALL_UNKNOWN_TARGET',
        `The command ${fields.id} is for ${fields.service}.${fields.method}, which the function does not have. ` +
          'Deploy a function that has it, or correct the caller.',
      );
    }
    if (method.component.kind !== 'action') {
      if (fields.entityId === '') {
        throw new StateferryError(
          'RECORD_NO_ENTITY_ID',
          `The command ${fields.id} for ${fields.service}.${fields.method} has no entity id, and an entity's command needs one.`,
        );
      }
      checkedEntityId(fields.entityId, `The entity id of the command ${fields.id}`);
    }
    return {
      kind: 'command',
      id: fields.id,
      method,
      entityId: fields.entityId,
      payload: { typeUrl: fields.typeUrl, value: fields.payload },
      metadata: fields.metadata,
      replyTo: fields.replyTo,
    };
  } catch (error) {
    if (!(error instanceof StateferryError) || error.fate !== 'reject') throw error;
    return { kind: 'reject', error, ...(method === undefined ? {} : { method }) };
  }
}

interface Fields {
  id: string;
  service: string;
  method: string;
  entityId: string;
  typeUrl: string;
  payload: Uint8Array;
  metadata: Metadata;
  replyTo: readonly string[];
}

function readFields(value: Buffer | null): Fields {
  if (value === null) {
    throw new StateferryError(
      'RECORD_TOMBSTONE',
      'The record of the command topic has no value. Only Stateferry writes to that topic; keep other producers off it.',
    );
  }
  try {
    const fields = readEnvelope(value);
    if (fields.id === '' || fields.service === '' || fields.method === '') {
      throw new Error('it lacks an id, a service or a method');
    }
    return fields;
  } catch (error) {
    throw new StateferryError(
      'RECORD_UNDECODABLE',
      `The value (${value.length} bytes) is not a stateferry.internal.CommandRecord: ${messageOf(error)}. ` +
        'Only Stateferry writes to the command topic; keep other producers off it.',
      { cause: error },
    );
  }
}

function readEnvelope(value: Buffer): Fields {
  const fields: Fields = {
    id: '',
    service: '',
    method: '',
    entityId: '',
    typeUrl: '',
    payload: value.subarray(0, 0),
    metadata: NO_METADATA,
    replyTo: [],
  };
  const metadata: MetadataEntry[] = [];
  const replyTo: string[] = [];
  const reader = Reader.create(value);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    switch (tag) {
      case ID:
        fields.id = reader.stringVerify();
        break;
      case SERVICE:
        fields.service = reader.stringVerify();
        break;
      case METHOD:
        fields.method = reader.stringVerify();
        break;
      case ENTITY_ID:
        fields.entityId = reader.stringVerify();
        break;
      case TYPE_URL:
        fields.typeUrl = reader.stringVerify();
        break;
      case PAYLOAD:
        fields.payload = reader.bytes();
        break;
      case METADATA:
        metadata.push(readEntry(reader));
        break;
      case REPLY_TOPICS:
        replyTo.push(reader.stringVerify());
        break;
      default:
        reader.skipType(tag & 7, 0, tag >>> 3);
    }
  }
  if (metadata.length > 0) fields.metadata = metadata;
  if (replyTo.length > 0) fields.replyTo = replyTo;
  return fields;
}

function readEntry(reader: Reader): MetadataEntry {
  const length = reader.uint32();
  const end = reader.pos + length;
  let key = '';
  let value: string | Uint8Array = '';
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === ENTRY_KEY) key = reader.stringVerify();
    else if (tag === ENTRY_TEXT) value = reader.stringVerify();
    else if (tag === ENTRY_DATA) value = reader.bytes();
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  if (reader.pos !== end) throw new RangeError('a metadata entry is longer than its length says');
  return { key, value };
}
