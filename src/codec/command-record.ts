import { Reader, Writer } from 'protobufjs/minimal.js';
import { messageOf, StateferryError } from '../errors.ts';
import type { Caller, CommandId, StreamControl } from '../model/command.ts';
import type { Method } from '../model/component.ts';
import { type Metadata, type MetadataEntry, NO_METADATA, type Payload } from '../model/payload.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { Decoded } from './decode.ts';
import { checkedEntityId } from './entity-id.ts';
import { DOOR_HEADER, ORIGIN_HEADER } from './header-names.ts';
import { readEntry, writeEntries } from './metadata-entries.ts';

// The numbers are those of stateferry.internal.CommandRecord in proto/stateferry/internal.proto. Tags are
// number << 3 | 2 for a field that has a length.
const ID = 0x0a;
const SERVICE = 0x12;
const METHOD = 0x1a;
const ENTITY_ID = 0x22;
const TYPE_URL = 0x2a;
const PAYLOAD = 0x32;
const METADATA = 0x3a;
const REPLY_TOPICS = 0x42;
const CALLER = 0x4a;
const STREAM = 0x50;
const FAULT = 0x5a;
// stateferry.internal.Caller
const CALLER_PARTITION = 0x08;
const CALLER_CORRELATION = 0x12;
const CALLER_DONE_ONLY = 0x18;
const CALLER_AWAITS = 0x20;
const CALLER_STREAMED = 0x28;
/** stateferry.internal.StreamControl */
const STREAM_CONTROLS: readonly (StreamControl | undefined)[] = [undefined, 'renew', 'cancel'];

/** A command on its way to the command topic: who it is, for whom, and where it is written. */
export interface CommandToSend {
  /** Empty: it comes from outside, and its id is the place of its record. */
  readonly id: CommandId;
  readonly service: string;
  readonly method: string;
  /** Empty for actions. */
  readonly entityId: string;
  readonly payload: Payload;
  readonly metadata: Metadata;
  readonly replyTo: readonly string[];
  readonly caller?: Caller | undefined;
  /** It says something of a stream of answers of this caller, and is no command. */
  readonly stream?: StreamControl | undefined;
  /**
   * Why it cannot be carried out, a sentence: it becomes a dead letter where it arrives. Without a method it is an event
   * that no method of the service takes; with one, an event that no record can hold, whose payload is left out.
   */
  readonly fault?: string;
  /** The record's key, which keeps what belongs together in order: the entity id, or the key of an action's caller. */
  readonly key: Uint8Array | null;
  readonly topic: string;
  readonly partition: number;
}

/** A command as a record of the command topic. */
export function encodeCommandRecord(command: CommandToSend): OutputRecord {
  const writer = Writer.create();
  if (command.id !== '') writer.uint32(ID).string(command.id);
  writer.uint32(SERVICE).string(command.service).uint32(METHOD).string(command.method);
  if (command.entityId !== '') writer.uint32(ENTITY_ID).string(command.entityId);
  writer.uint32(TYPE_URL).string(command.payload.typeUrl);
  if (command.payload.value.length > 0) writer.uint32(PAYLOAD).bytes(command.payload.value);
  writeEntries(writer, METADATA, command.metadata);
  for (const topic of command.replyTo) writer.uint32(REPLY_TOPICS).string(topic);
  if (command.caller !== undefined) writeCaller(writer, command.caller);
  if (command.stream !== undefined) writer.uint32(STREAM).uint32(STREAM_CONTROLS.indexOf(command.stream));
  if (command.fault !== undefined) writer.uint32(FAULT).string(command.fault);
  return {
    topic: command.topic,
    partition: command.partition,
    key: command.key,
    value: writer.finish(),
    headers: [command.id === '' ? [DOOR_HEADER, '1'] : [ORIGIN_HEADER, command.id]],
  };
}

function writeCaller(writer: Writer, caller: Caller): void {
  const { partition, correlation, doneOnly, awaits, streamed } = caller;
  writer.uint32(CALLER).fork().uint32(CALLER_PARTITION).uint32(partition).uint32(CALLER_CORRELATION).bytes(correlation);
  if (doneOnly) writer.uint32(CALLER_DONE_ONLY).bool(true);
  if (awaits > 0) writer.uint32(CALLER_AWAITS).uint32(awaits);
  if (streamed === true) writer.uint32(CALLER_STREAMED).bool(true);
  writer.ldelim();
}

/**
 * A record of the command topic → the command with its own id. `resolve` finds the method that it is for.
 *
 * A reject is RECORD_TOMBSTONE without a value, RECORD_UNDECODABLE for a value that is no command record,
 * CALL_UNKNOWN_TARGET for a method that the function does not have, RECORD_NO_ENTITY_ID for an entity's command without
 * a usable entity id; RECORD_UNKNOWN_TYPE or RECORD_OVERSIZE for an event that says it cannot be carried out. Fields of a
 * later version are passed over.
 */
export function decodeCommandRecord(
  record: InputRecord,
  resolve: (service: string, method: string) => Method | undefined,
): Decoded {
  let method: Method | undefined;
  let known: Pick<CommandFields, 'id' | 'caller'> | undefined;
  try {
    const fields = readCommandFields(record.value);
    known = fields;
    if (fields.fault !== '') {
      throw new StateferryError(fields.method === '' ? 'RECORD_UNKNOWN_TYPE' : 'RECORD_OVERSIZE', fields.fault);
    }
    method = resolve(fields.service, fields.method);
    if (method === undefined) {
      throw new StateferryError(
        'CALL_UNKNOWN_TARGET',
        `The command ${nameOf(fields)} is for ${fields.service}.${fields.method}, which the function does not have. ` +
          'Deploy a function that has it, or correct the caller.',
      );
    }
    if (method.component.kind !== 'action') {
      if (fields.entityId === '') {
        throw new StateferryError(
          'RECORD_NO_ENTITY_ID',
          `The command ${nameOf(fields)} for ${fields.service}.${fields.method} has no entity id, and an entity's command needs one.`,
        );
      }
      checkedEntityId(fields.entityId, `The entity id of the command ${nameOf(fields)}`);
    }
    return {
      kind: 'command',
      ...(fields.id !== '' && { id: fields.id }),
      method,
      entityId: fields.entityId,
      payload: { typeUrl: fields.typeUrl, value: fields.payload },
      metadata: fields.metadata,
      replyTo: fields.replyTo,
      ...(fields.caller && { caller: fields.caller }),
      ...(fields.stream && { stream: fields.stream }),
    };
  } catch (error) {
    if (!(error instanceof StateferryError) || error.fate !== 'reject') throw error;
    return {
      kind: 'reject',
      error,
      ...(method && { method }),
      ...(known?.id && { id: known.id }),
      ...(known?.caller && { caller: known.caller }),
    };
  }
}

function nameOf({ id }: CommandFields): string {
  return id === '' ? 'from a door' : id;
}

/** What a record of the command topic says, as it says it: fields that are not there are empty. */
export interface CommandFields {
  id: string;
  service: string;
  method: string;
  entityId: string;
  typeUrl: string;
  payload: Uint8Array;
  metadata: Metadata;
  replyTo: readonly string[];
  caller: Caller | undefined;
  stream: StreamControl | undefined;
  fault: string;
}

/**
 * The fields of a record's value, whether or not the function has such a method.
 * @throws StateferryError RECORD_TOMBSTONE without a value, RECORD_UNDECODABLE for one that is no command record.
 */
export function readCommandFields(value: Buffer | null): CommandFields {
  if (value === null) {
    throw new StateferryError(
      'RECORD_TOMBSTONE',
      'The record of the command topic has no value. Only Stateferry writes to that topic; keep other producers off it.',
    );
  }
  try {
    const fields = readEnvelope(value);
    if (fields.service === '' || (fields.method === '' && fields.fault === '')) {
      throw new Error('it lacks a service or a method');
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

function readEnvelope(value: Buffer): CommandFields {
  const fields: CommandFields = {
    id: '',
    service: '',
    method: '',
    entityId: '',
    typeUrl: '',
    payload: value.subarray(0, 0),
    metadata: NO_METADATA,
    replyTo: [],
    caller: undefined,
    stream: undefined,
    fault: '',
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
      case CALLER:
        fields.caller = readCaller(Reader.create(reader.bytes()));
        break;
      case STREAM:
        fields.stream = STREAM_CONTROLS[reader.uint32()];
        break;
      case FAULT:
        fields.fault = reader.stringVerify();
        break;
      default:
        reader.skipType(tag & 7, 0, tag >>> 3);
    }
  }
  if (metadata.length > 0) fields.metadata = metadata;
  if (replyTo.length > 0) fields.replyTo = replyTo;
  return fields;
}

function readCaller(reader: Reader): Caller {
  let partition = 0;
  let correlation: Uint8Array = reader.buf.subarray(0, 0);
  let doneOnly = false;
  let awaits = 0;
  let streamed = false;
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === CALLER_PARTITION) partition = reader.uint32();
    else if (tag === CALLER_CORRELATION) correlation = reader.bytes();
    else if (tag === CALLER_DONE_ONLY) doneOnly = reader.bool();
    else if (tag === CALLER_AWAITS) awaits = reader.uint32();
    else if (tag === CALLER_STREAMED) streamed = reader.bool();
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  return { partition, correlation, doneOnly, awaits, ...(streamed && { streamed }) };
}
