import { StateferryError } from '../errors.ts';
import type { CommandId } from '../model/command.ts';
import type { FramedWriter, SchemaFormat } from '../model/framed.ts';
import type { Metadata, Payload } from '../model/payload.ts';
import type { OutputRecord } from '../model/record.ts';
import type { Descriptors } from '../protocol/descriptors.ts';
import { partitionFor } from '../topics/partition.ts';
import { type AnyContent, readAny } from './any.ts';
import { writeHeaders } from './cloudevents.ts';
import { ORIGIN_HEADER } from './header-names.ts';
import { payloadToJson } from './json.ts';

/** A topic that outputs go to. */
export interface Destination {
  readonly topic: string;
  /** How protobuf messages are written; JSON and primitive payloads are written as what they are (`Encode`). */
  readonly format: 'protobuf' | 'json' | SchemaFormat;
  /** With a format of the schema registry. */
  readonly writer?: FramedWriter;
  readonly partitions: number;
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
  /** CloudEvents attributes; `type` absent: the payload's. `subject` is the entity id, empty where there is none. */
  readonly ce: { readonly id: string; readonly type?: string; readonly source: string; readonly subject: string };
  /** The command that caused it. */
  readonly origin: CommandId;
}

const PROTOBUF = ['content-type', 'application/protobuf'] as const;
const JSON_TEXT = ['content-type', 'application/json'] as const;
const PLAIN_TEXT = ['content-type', 'text/plain; charset=utf-8'] as const;
const BYTES = ['content-type', 'application/octet-stream'] as const;

/**
 * An output as a record; the same output is always the same record. Its value, by the payload:
 * - protobuf: the bytes as they are, or canonical JSON where the destination's format is JSON;
 * - JSON: its text; a number or bool: its JSON text;
 * - what the destination has a writer for: as that frames it, protobuf messages alone;
 * - a string: its text, as text/plain; bytes: themselves, as application/octet-stream.
 *
 * Throws FUNCTION_BROKEN_REPLY for a payload that is not what its type url says, or that cannot be written as JSON.
 */
export type Encode = (output: Output) => OutputRecord;

/** Prepares encoding for one function, whose types are written as its descriptors say. */
export function createEncoder({ descriptors }: { readonly descriptors: Descriptors }): Encode {
  return ({ destination, key, partition, payload, metadata, ce, origin }) => {
    const content = readAny(payload);
    const asJson = content.kind === 'protobuf' && destination.format === 'json';
    const { writer } = destination;
    const headers: (readonly [string, string])[] = writeHeaders(
      { id: ce.id, type: ce.type ?? eventType(content), source: ce.source, subject: ce.subject },
      writer !== undefined ? ['content-type', writer.contentType] : asJson ? JSON_TEXT : contentTypeOf(content),
      metadata,
    );
    headers.push([ORIGIN_HEADER, origin]);
    return {
      topic: destination.topic,
      partition: partition ?? partitionFor(key ?? Buffer.from(origin), destination.partitions),
      key,
      value:
        writer !== undefined
          ? framedBytes(writer, content, payload)
          : asJson
            ? Buffer.from(payloadToJson(descriptors, payload))
            : bytesOf(content, payload),
      headers,
    };
  };
}

function framedBytes(writer: FramedWriter, content: AnyContent, { value }: Payload): Uint8Array {
  if (content.kind === 'protobuf') return writer.write(content.typeName, value);
  throw new StateferryError(
    'FUNCTION_BROKEN_REPLY',
    `A payload of the kind ${content.kind} cannot be written with a schema of the registry, which is for protobuf messages. Give a message, or write the topic in another format.`,
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
