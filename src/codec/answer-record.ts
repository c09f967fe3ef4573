import { Reader, Writer } from 'protobufjs/minimal.js';
import { messageOf, StateferryError } from '../errors.ts';
import type { Caller, CommandId } from '../model/command.ts';
import type { Metadata, MetadataEntry, Payload } from '../model/payload.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import { ORIGIN_HEADER } from './header-names.ts';
import { readEntry, writeEntries } from './metadata-entries.ts';

// stateferry.internal.AnswerRecord, Reply and Failure, as tags.
const AWAITS = 0x08;
const REPLY = 0x12;
const FAILURE = 0x1a;
const DONE = 0x20;
const ITEM = 0x28;
const MORE = 0x30;
const REPLY_TYPE_URL = 0x0a;
const REPLY_PAYLOAD = 0x12;
const REPLY_METADATA = 0x1a;
const FAILURE_CODE = 0x08;
const FAILURE_MESSAGE = 0x12;

/** Bytes of a correlation: a random UUID. */
export const CORRELATION_BYTES = 16;

/** What a caller at a door is told of one command. */
export type AnswerOutcome =
  | { readonly kind: 'reply'; readonly payload: Payload; readonly metadata: Metadata }
  /** `code`: a gRPC status. */
  | { readonly kind: 'failure'; readonly code: number; readonly message: string }
  | { readonly kind: 'done' };

/** One record of the answer topic. */
export interface Answer {
  /** In hexadecimal. */
  readonly correlation: string;
  /** Records that follow because of this command's side effects, in any order. */
  readonly awaits: number;
  readonly outcome: AnswerOutcome;
  /** Of a stream: which record of it this is, from 1; 0: of none. `done` as outcome: it says nothing to the caller. */
  readonly item: number;
  /** More records of the stream follow. */
  readonly more: boolean;
}

/** What becomes of a command, for the door where its caller waits. */
export function encodeAnswer(given: {
  readonly topic: string;
  readonly caller: Caller;
  /** Of the command's own. */
  readonly awaits: number;
  readonly outcome: AnswerOutcome;
  readonly commandId: CommandId;
  /** Of a stream of answers. */
  readonly item?: number;
  readonly more?: boolean;
}): OutputRecord {
  const { caller } = given;
  const outcome: AnswerOutcome = caller.doneOnly ? { kind: 'done' } : given.outcome;
  const awaits = given.awaits + caller.awaits;
  const writer = Writer.create();
  if (awaits > 0) writer.uint32(AWAITS).uint32(awaits);
  switch (outcome.kind) {
    case 'reply':
      writer.uint32(REPLY).fork().uint32(REPLY_TYPE_URL).string(outcome.payload.typeUrl);
      if (outcome.payload.value.length > 0) writer.uint32(REPLY_PAYLOAD).bytes(outcome.payload.value);
      writeEntries(writer, REPLY_METADATA, outcome.metadata);
      writer.ldelim();
      break;
    case 'failure':
      writer.uint32(FAILURE).fork();
      writer.uint32(FAILURE_CODE).uint32(outcome.code).uint32(FAILURE_MESSAGE).string(outcome.message).ldelim();
      break;
    case 'done':
      writer.uint32(DONE).bool(true);
      break;
  }
  if (given.item !== undefined) writer.uint32(ITEM).uint32(given.item);
  if (given.more === true) writer.uint32(MORE).bool(true);
  return {
    topic: given.topic,
    partition: caller.partition,
    key: caller.correlation,
    value: writer.finish(),
    headers: [[ORIGIN_HEADER, given.commandId]],
  };
}

/** @throws StateferryError RECORD_UNDECODABLE for a record that is no answer. */
export function decodeAnswer({ key, value }: Pick<InputRecord, 'key' | 'value'>): Answer {
  if (key?.length !== CORRELATION_BYTES || value === null) throw undecodable('it has no correlation, or no value');
  let awaits = 0;
  let item = 0;
  let more = false;
  let outcome: AnswerOutcome | undefined;
  try {
    const reader = Reader.create(value);
    while (reader.pos < reader.len) {
      const tag = reader.tag();
      if (tag === AWAITS) awaits = reader.uint32();
      else if (tag === REPLY) outcome = readReply(Reader.create(reader.bytes()));
      else if (tag === FAILURE) outcome = readFailure(Reader.create(reader.bytes()));
      else if (tag === ITEM) item = reader.uint32();
      else if (tag === MORE) more = reader.bool();
      else if (tag === DONE && reader.bool()) outcome = { kind: 'done' };
      else if (tag !== DONE) reader.skipType(tag & 7, 0, tag >>> 3);
    }
  } catch (error) {
    throw undecodable(messageOf(error));
  }
  if (outcome === undefined) throw undecodable('it has no outcome');
  return { correlation: key.toString('hex'), awaits, outcome, item, more };
}

/** Which record of a stream of answers this one is; 0: of none, or it is no answer. */
export function itemOf(record: Parameters<typeof decodeAnswer>[0]): number {
  try {
    return decodeAnswer(record).item;
  } catch {
    return 0;
  }
}

function readReply(reader: Reader): AnswerOutcome {
  let typeUrl = '';
  let value: Uint8Array = reader.buf.subarray(0, 0);
  const metadata: MetadataEntry[] = [];
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === REPLY_TYPE_URL) typeUrl = reader.stringVerify();
    else if (tag === REPLY_PAYLOAD) value = reader.bytes();
    else if (tag === REPLY_METADATA) metadata.push(readEntry(reader));
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  return { kind: 'reply', payload: { typeUrl, value }, metadata };
}

function readFailure(reader: Reader): AnswerOutcome {
  let code = 0;
  let message = '';
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === FAILURE_CODE) code = reader.uint32();
    else if (tag === FAILURE_MESSAGE) message = reader.stringVerify();
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  return { kind: 'failure', code, message };
}

function undecodable(why: string): StateferryError {
  return new StateferryError(
    'RECORD_UNDECODABLE',
    `The record is not a stateferry.internal.AnswerRecord: ${why}. Only Stateferry writes to the answer topic; keep other producers off it.`,
  );
}
