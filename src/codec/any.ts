import { Reader, Writer } from 'protobufjs/minimal.js';
import { messageOf, StateferryError } from '../errors.ts';
import { type Payload, typeNameOf } from '../model/payload.ts';
import { ANY_URLS, type AnyUrls } from '../protocol/any-urls.ts';
import { utf8Text } from './utf8.ts';
import { readVarint } from './varint.ts';

/** The prefix of the type urls of protobuf messages, in every dialect. */
export const PROTOBUF_URL = 'type.googleapis.com/';

/** The messages that a text and bytes are given as, which need no schema of the function's. */
export const STRING_VALUE = 'google.protobuf.StringValue';
export const BYTES_VALUE = 'google.protobuf.BytesValue';

/** What a payload holds. A protobuf message is not looked into. */
export type AnyContent =
  | { readonly kind: 'protobuf'; readonly typeName: string }
  /** `type` is the last part of the url; `text` is JSON as the function wrote it, not parsed. */
  | { readonly kind: 'json'; readonly type: string; readonly text: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  /** An integer, float or bool as its JSON text. */
  | { readonly kind: 'number' | 'bool'; readonly type: string; readonly text: string };

/** A protobuf message as a payload; `typeName` without a leading dot. */
export function asProtobuf(typeName: string, value: Uint8Array): Payload {
  return { typeUrl: PROTOBUF_URL + typeName, value };
}

/** JSON text as a payload of the dialect. `text` must be UTF-8; `type` is the name after the prefix. */
export function wrapJson(urls: AnyUrls, type: string, text: Uint8Array): Payload {
  return { typeUrl: urls.json + type, value: oneField(text) };
}

/** Text (UTF-8) as the dialect's primitive string. */
export function wrapString(urls: AnyUrls, text: Uint8Array): Payload {
  return { typeUrl: `${urls.primitive}string`, value: oneField(text) };
}

/** Bytes as the dialect's primitive bytes. */
export function wrapBytes(urls: AnyUrls, bytes: Uint8Array): Payload {
  return { typeUrl: `${urls.primitive}bytes`, value: oneField(bytes) };
}

/**
 * What a payload holds, of whichever dialect its type url is. JSON and primitives are messages with one field, number 1;
 * where that is missing the value is its type's default, and of several the last one counts.
 *
 * Throws FUNCTION_BROKEN_REPLY for a primitive that is not there in any dialect, and for bytes that are not what the
 * url says.
 */
export function readAny(payload: Payload): AnyContent {
  const { typeUrl, value } = payload;
  if (typeUrl.startsWith(PROTOBUF_URL)) return { kind: 'protobuf', typeName: typeNameOf(typeUrl) };
  for (const urls of Object.values(ANY_URLS)) {
    if (typeUrl.startsWith(urls.json)) {
      return { kind: 'json', type: typeUrl.slice(urls.json.length), text: decoded(typeUrl, () => textField(value)) };
    }
    if (typeUrl.startsWith(urls.primitive)) {
      return decoded(typeUrl, () => readPrimitive(typeUrl.slice(urls.primitive.length), value));
    }
  }
  return { kind: 'protobuf', typeName: typeNameOf(typeUrl) };
}

/** The text in a message that is `typeName` and has one field. @throws StateferryError FUNCTION_BROKEN_REPLY where it is not. */
export function wrappedText(typeName: string, value: Uint8Array): string {
  return decoded(PROTOBUF_URL + typeName, () => textField(value));
}

/** As `wrappedText`, of bytes. */
export function wrappedBytes(typeName: string, value: Uint8Array): Uint8Array {
  return decoded(PROTOBUF_URL + typeName, () => bytesField(value));
}

/** What a type url is of, and its last part, without a look at the bytes; a url of no dialect is taken as protobuf. */
export function typeOf(typeUrl: string): { readonly kind: 'protobuf' | 'json' | 'primitive'; readonly type: string } {
  if (!typeUrl.startsWith(PROTOBUF_URL)) {
    for (const urls of Object.values(ANY_URLS)) {
      if (typeUrl.startsWith(urls.json)) return { kind: 'json', type: typeUrl.slice(urls.json.length) };
      if (typeUrl.startsWith(urls.primitive)) return { kind: 'primitive', type: typeUrl.slice(urls.primitive.length) };
    }
  }
  return { kind: 'protobuf', type: typeNameOf(typeUrl) };
}

function readPrimitive(type: string, value: Uint8Array): AnyContent {
  switch (type) {
    case 'string':
      return { kind: 'string', value: textField(value) };
    case 'bytes':
      return { kind: 'bytes', value: bytesField(value) };
    case 'bool':
      return { kind: 'bool', type, text: String(lastField(value, 0, (reader) => reader.bool()) ?? false) };
    case 'int32':
      return { kind: 'number', type, text: String(lastField(value, 0, (reader) => reader.int32()) ?? 0) };
    case 'int64':
      return { kind: 'number', type, text: String(BigInt.asIntN(64, lastField(value, 0, readVarint) ?? 0n)) };
    case 'float':
      return { kind: 'number', type, text: jsonNumber(lastField(value, 5, (reader) => reader.float()) ?? 0) };
    case 'double':
      return { kind: 'number', type, text: jsonNumber(lastField(value, 1, (reader) => reader.double()) ?? 0) };
    default:
      throw new Error(`there is no primitive '${type}'`);
  }
}

/** NaN and the infinities are strings, as in protobuf's own JSON. */
function jsonNumber(value: number): string {
  return Number.isFinite(value) ? String(value) : JSON.stringify(String(value));
}

function decoded<T>(typeUrl: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new StateferryError(
      'FUNCTION_BROKEN_REPLY',
      `A payload with the type url ${typeUrl} does not hold what that says: ${messageOf(error)}. ` +
        'Such a payload is a protobuf message with one field, number 1.',
      { cause: error },
    );
  }
}

/** A message with `content` as its field 1, and no other: a primitive, JSON, or one of the wrappers of text and bytes. */
export function oneField(content: Uint8Array): Uint8Array {
  return content.length === 0 ? new Uint8Array(0) : Writer.create().uint32(0x0a).bytes(content).finish();
}

function textField(value: Uint8Array): string {
  const text = utf8Text(bytesField(value));
  if (text === undefined) throw new Error('its text is not valid UTF-8');
  return text;
}

function bytesField(value: Uint8Array): Uint8Array {
  return lastField(value, 2, (reader) => reader.bytes()) ?? new Uint8Array(0);
}

function lastField<T>(value: Uint8Array, wireType: number, read: (reader: Reader) => T): T | undefined {
  const reader = Reader.create(value);
  let last: T | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === ((1 << 3) | wireType)) last = read(reader);
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  return last;
}
