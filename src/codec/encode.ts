import { asBuffer } from '../bytes.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { CommandId } from '../model/command.ts';
import type { FramedWriter, SchemaFormat } from '../model/framed.ts';
import type { Metadata, Payload } from '../model/payload.ts';
import type { OutputRecord } from '../model/record.ts';
import type { Descriptors } from '../protocol/descriptors.ts';
import { partitionFor } from '../topics/partition.ts';
import { type AnyContent, BYTES_VALUE, readAny, STRING_VALUE, wrappedBytes, wrappedText } from './any.ts';
import { writeAttributes, writeHeaders } from './cloudevents.ts';
import { ID_HEADER, ORIGIN_HEADER, SOURCE_HEADER } from './header-names.ts';
import { payloadToJson } from './json.ts';
import { EVENT_JSON, writeStructuredEvent } from './structured-event.ts';

/** How values are written: see `Encode`. */
export type OutputFormat = 'protobuf' | 'json' | 'text' | 'bytes' | SchemaFormat;

/**
 * Where a record says of itself what CloudEvents 1.0 has an event say: `binary`, in its headers; `structured`, in its value,
 * around the data; `none`: nowhere.
 */
export type EventMode = 'binary' | 'structured' | 'none';

/** A topic that outputs go to. */
export interface Destination {
  readonly topic: string;
  readonly format: OutputFormat;
  /** Absent: `binary`. */
  readonly events?: EventMode;
  readonly partitions: number;
  /** With a format of the schema registry. */
  readonly writer?: FramedWriter;
}

/** One message to publish. */
export interface Output {
  readonly destination: Destination;
  readonly key: Uint8Array | null;
  /** Absent: the one that the key hashes to, or where there is none, `origin`. */
  readonly partition?: number;
  readonly payload: Payload;
  /** What the function gave with it. */
  readonly metadata: Metadata;
  /** Headers of what caused it that go on; one that the function gave too does not. */
  readonly passed?: Metadata;
  /** CloudEvents attributes; `type` absent: the payload's. `subject` is the entity id, empty where there is none. */
  readonly ce: { readonly id: string; readonly type?: string; readonly source: string; readonly subject: string };
  /** The command that caused it. */
  readonly origin: CommandId;
}

const PROTOBUF = ['content-type', 'application/protobuf'] as const;
const JSON_TEXT = ['content-type', 'application/json'] as const;
const PLAIN_TEXT = ['content-type', 'text/plain; charset=utf-8'] as const;
const BYTES = ['content-type', 'application/octet-stream'] as const;
const EVENT = ['content-type', EVENT_JSON] as const;

/**
 * An output as a record; the same output is always the same record. Its data, by the payload:
 * - protobuf: the bytes as they are, or canonical JSON where the destination's format is JSON;
 * - JSON: its text; a number or bool: its JSON text;
 * - a string: its text, as text/plain; bytes: themselves, as application/octet-stream.
 *
 * Of the destination's formats, `text` takes what has one: a string, JSON, a google.protobuf.StringValue. `bytes` takes all,
 * as application/octet-stream: what is in a google.protobuf.BytesValue, else what would have been written as protobuf.
 *
 * What the destination has a writer for, protobuf messages alone, is written as that frames it.
 *
 * The data is the value, but for CloudEvents in structured mode. Where no ce_id header says which output a record is,
 * one of ours does.
 *
 * Throws FUNCTION_BROKEN_REPLY for a payload that is not what its type url says, that cannot be written as JSON or that is
 * no text.
 */
export type Encode = (output: Output) => OutputRecord;

/** Prepares encoding for one function, whose types are written as its descriptors say. */
export function createEncoder({ descriptors }: { readonly descriptors: Descriptors }): Encode {
  return ({ destination, key, partition, payload, metadata, passed, ce, origin }) => {
    const content = readAny(payload);
    const { contentType, data } = written(descriptors, destination, content, payload);
    const attributes = { id: ce.id, type: ce.type ?? eventType(content), source: ce.source, subject: ce.subject };
    const { events = 'binary' } = destination;
    let value = data;
    let headers: (readonly [string, string | Uint8Array])[];
    if (events === 'binary') headers = writeHeaders(attributes, contentType, metadata);
    else {
      const { event, others } = writeAttributes(attributes, metadata);
      const isStructured = events === 'structured';
      if (isStructured) value = writeStructuredEvent(event, contentType[1], embeddable(contentType, data));
      headers = [
        isStructured ? EVENT : contentType,
        ...others,
        [ID_HEADER, attributes.id],
        [SOURCE_HEADER, attributes.source],
      ];
    }
    if (passed !== undefined) {
      const own = new Set(headers.map(([name]) => name));
      for (const { key: name, value: text } of passed) if (!own.has(name)) headers.push([name, text]);
    }
    headers.push([ORIGIN_HEADER, origin]);
    return {
      topic: destination.topic,
      partition: partition ?? partitionFor(key ?? Buffer.from(origin), destination.partitions),
      key,
      value,
      headers,
    };
  };
}

/** JSON of a function's goes into an event as it stands, so it must be some. */
function embeddable(contentType: Written['contentType'], data: Uint8Array): Uint8Array {
  if (contentType !== JSON_TEXT) return data;
  try {
    JSON.parse(asBuffer(data).toString('utf8'));
    return data;
  } catch (cause) {
    throw new StateferryError(
      'FUNCTION_BROKEN_REPLY',
      `The function gave JSON for a CloudEvent in structured mode, and it is none: ${messageOf(cause)}.`,
      { cause },
    );
  }
}

interface Written {
  readonly contentType: readonly ['content-type', string];
  readonly data: Uint8Array;
}

function written(
  descriptors: Descriptors,
  { format, writer }: Destination,
  content: AnyContent,
  payload: Payload,
): Written {
  if (writer !== undefined) return framed(writer, content, payload);
  if (content.kind === 'protobuf') {
    if (format === 'json') return { contentType: JSON_TEXT, data: Buffer.from(payloadToJson(descriptors, payload)) };
    if (format === 'text' || format === 'bytes') return unwrapped(format, content.typeName, payload);
    return { contentType: PROTOBUF, data: payload.value };
  }
  if (format === 'bytes') return { contentType: BYTES, data: bytesOf(content, payload) };
  if (format === 'text') {
    if (content.kind === 'bytes') throw noText('bytes');
    return { contentType: PLAIN_TEXT, data: bytesOf(content, payload) };
  }
  return { contentType: contentTypeOf(content), data: bytesOf(content, payload) };
}

function framed(writer: FramedWriter, content: AnyContent, { value }: Payload): Written {
  if (content.kind === 'protobuf') {
    return { contentType: ['content-type', writer.contentType], data: writer.write(content.typeName, value) };
  }
  throw new StateferryError(
    'FUNCTION_BROKEN_REPLY',
    `A payload of the kind ${content.kind} cannot be written with a schema of the registry, which is for protobuf messages. Give a message, or write the topic in another format.`,
  );
}

/** What is in a message that is nothing but a text or bytes. */
function unwrapped(format: 'text' | 'bytes', typeName: string, { value }: Payload): Written {
  if (format === 'text') {
    if (typeName !== STRING_VALUE) throw noText(`a ${typeName}`);
    return { contentType: PLAIN_TEXT, data: Buffer.from(wrappedText(typeName, value)) };
  }
  return { contentType: BYTES, data: typeName === BYTES_VALUE ? wrappedBytes(typeName, value) : value };
}

function noText(what: string): StateferryError {
  return new StateferryError(
    'FUNCTION_BROKEN_REPLY',
    `The function gave ${what} for a topic whose format is text. Give a google.protobuf.StringValue, a string or JSON, or choose another format.`,
  );
}

function contentTypeOf(content: AnyContent): readonly ['content-type', string] {
  switch (content.kind) {
    case 'protobuf':
      return PROTOBUF;
    case 'json':
    case 'number':
    case 'bool':
      return JSON_TEXT;
    case 'string':
      return PLAIN_TEXT;
    case 'bytes':
      return BYTES;
  }
}

function eventType(content: AnyContent): string {
  switch (content.kind) {
    case 'protobuf':
      return content.typeName;
    case 'json':
    case 'number':
    case 'bool':
      return content.type;
    case 'string':
    case 'bytes':
      return content.kind;
  }
}

function bytesOf(content: AnyContent, payload: Payload): Uint8Array {
  switch (content.kind) {
    case 'protobuf':
      return payload.value;
    case 'json':
    case 'number':
    case 'bool':
      return Buffer.from(content.text);
    case 'string':
      return Buffer.from(content.value);
    case 'bytes':
      return content.value;
  }
}
