import { asBuffer } from '../bytes.ts';
import { decodeAnswer } from '../codec/answer-record.ts';
import { asProtobuf, PROTOBUF_URL } from '../codec/any.ts';
import { type CommandFields, readCommandFields } from '../codec/command-record.ts';
import { contentKind } from '../codec/content-type.ts';
import { DEAD_LETTER_HEADERS, ORIGIN_HEADER, PUT_BACK_HEADER } from '../codec/header-names.ts';
import { utf8Text } from '../codec/utf8.ts';
import type { Payload } from '../model/payload.ts';
import { type AnyRecord, type Identity, identify } from '../verify/identity.ts';
import { compactJson } from './compact-json.ts';
import type { History } from './scope.ts';

/** What bytes say: JSON where they can be read, else the bytes. */
export interface Content {
  /** A message's full name, or a content type; empty: nothing says it. */
  readonly type: string;
  /** Compact. */
  readonly json: string | undefined;
  readonly bytes: Uint8Array;
}

/** A record that the journal still has, explained. */
export interface ExplainedRecord {
  readonly topic: string;
  readonly partition: number;
  /** Undefined: it does not belong to a function's work. */
  readonly kind: Identity['kind'] | 'record';
  /** The command that it is of; the command itself, where it is one. */
  readonly command: string | undefined;
  readonly key: string | undefined;
  /** Service that it is of; empty where the record does not say. */
  readonly service: string;
  readonly content: Content | undefined;
  /** Of a command: whom it is for. */
  readonly target: { readonly service: string; readonly method: string; readonly entityId: string } | undefined;
  /** Of a dead letter, and of an answer that is a failure. */
  readonly failure: string | undefined;
  /** W3C trace id, 32 hexadecimal digits. */
  readonly traceId: string | undefined;
  readonly headers: readonly (readonly [string, string])[];
}

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/;
const NO_TRACE = '0'.repeat(32);

/** The trace id of a W3C traceparent (Trace Context, version 00 and later ones that begin like it); undefined: it is none. */
export function traceIdOf(traceparent: string | undefined): string | undefined {
  const id = traceparent === undefined ? undefined : TRACEPARENT.exec(traceparent.trim())?.[1];
  return id === NO_TRACE ? undefined : id;
}

/** Bytes of a payload, read by the version that wrote it where that can be told. */
export function readContent(history: Pick<History, 'payloads'>, payload: Payload, version?: string | null): Content {
  return {
    type: payload.typeUrl.startsWith(PROTOBUF_URL) ? payload.typeUrl.slice(PROTOBUF_URL.length) : payload.typeUrl,
    json: history.payloads.read(payload, version),
    bytes: payload.value,
  };
}

/** Explains a record of a topic, whoever wrote it. `version`: digest of the function's version that it is of. */
export function explainRecord(
  history: Pick<History, 'payloads' | 'topics' | 'deployment'>,
  record: AnyRecord & { readonly topic: string; readonly partition: number },
  version: string | null,
): ExplainedRecord {
  const { topics, deployment } = history;
  const headers = record.headers.map(([name, value]) => [name, textOf(value)] as const);
  const header = (name: string) => headers.find(([key]) => key.toLowerCase() === name)?.[1];
  const where = { topic: record.topic, commandTopic: topics.commands, answerTopic: topics.answers, deployment };
  const identity = identify(record, where);
  const about = { topic: record.topic, partition: record.partition, headers };
  const base = {
    ...about,
    kind: identity?.kind ?? 'record',
    command: identity?.origin ?? header(ORIGIN_HEADER),
    key: record.key === null ? undefined : textOf(record.key),
    service: identity?.service ?? '',
    content: undefined,
    target: undefined,
    failure: undefined,
    traceId: traceIdOf(header('traceparent')),
  } satisfies ExplainedRecord;

  const command =
    record.topic === topics.commands && header(PUT_BACK_HEADER) === undefined ? commandOf(record.value) : undefined;
  if (command !== undefined) {
    const { service, method, entityId, metadata } = command;
    const given = metadata.find(({ key }) => key.toLowerCase() === 'traceparent')?.value;
    return {
      ...base,
      kind: 'command',
      ...(command.id !== '' && { command: command.id }),
      target: { service, method, entityId },
      content: readContent(history, { typeUrl: command.typeUrl, value: command.payload }, version),
      failure: command.fault === '' ? undefined : command.fault,
      traceId: base.traceId ?? traceIdOf(typeof given === 'string' ? given : undefined),
    };
  }
  if (identity?.kind === 'answer') return { ...base, ...answerOf(history, record, version) };
  const failure =
    identity?.kind === 'dead letter'
      ? `${header(DEAD_LETTER_HEADERS.code)}: ${header(DEAD_LETTER_HEADERS.sentence) ?? ''}`
      : undefined;
  return { ...base, failure, content: contentOf(history, record.value, header, version) };
}

function commandOf(value: Uint8Array | null): CommandFields | undefined {
  try {
    return readCommandFields(value && asBuffer(value));
  } catch {
    // Somebody else's: it is shown as the bytes that it is.
    return undefined;
  }
}

function answerOf(
  history: Pick<History, 'payloads'>,
  { key, value }: AnyRecord,
  version: string | null,
): Pick<ExplainedRecord, 'content' | 'failure' | 'key'> {
  const key16 = key === null ? undefined : asBuffer(key).toString('hex');
  try {
    const { outcome } = decodeAnswer({ key: key && asBuffer(key), value: value && asBuffer(value) });
    return {
      key: key16,
      content: outcome.kind === 'reply' ? readContent(history, outcome.payload, version) : undefined,
      failure: outcome.kind === 'failure' ? `gRPC status ${outcome.code}: ${outcome.message}` : undefined,
    };
  } catch {
    return { key: key16, content: value === null ? undefined : raw('', value), failure: undefined };
  }
}

/** By what the record's headers say of its value. */
function contentOf(
  history: Pick<History, 'payloads'>,
  value: Uint8Array | null,
  header: (name: string) => string | undefined,
  version: string | null,
): Content | undefined {
  if (value === null) return undefined;
  const contentType = header('content-type');
  const type = header('ce_type') ?? header('ce-type');
  const text = () => utf8Text(value);
  const json = (of: string | undefined) => (of === undefined ? undefined : compactJson(of));
  switch (contentKind(contentType)) {
    case 'json':
    case 'structured':
      return { type: type ?? contentType ?? '', json: json(text()), bytes: value };
    case 'text': {
      const read = text();
      return {
        type: type ?? contentType ?? '',
        json: read === undefined ? undefined : JSON.stringify(read),
        bytes: value,
      };
    }
    case 'protobuf':
      if (type !== undefined) {
        const payload = type.includes('/') ? { typeUrl: type, value } : asProtobuf(type, value);
        return { ...readContent(history, payload, version), type };
      }
      return { type: '', json: json(text()), bytes: value };
    default:
      return raw(type ?? contentType ?? '', value);
  }
}

function raw(type: string, bytes: Uint8Array): Content {
  return { type, json: undefined, bytes };
}

/** As text where it is text, else in hexadecimal. */
function textOf(value: string | Uint8Array): string {
  if (typeof value === 'string') return value;
  return utf8Text(value) ?? `0x${asBuffer(value).toString('hex')}`;
}
