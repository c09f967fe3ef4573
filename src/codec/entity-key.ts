import { Reader } from 'protobufjs/minimal.js';
import { messageOf, StateferryError } from '../errors.ts';
import type { KeyField, Method } from '../model/component.ts';
import { checkedEntityId } from './entity-id.ts';
import { utf8Text } from './utf8.ts';
import { readVarint } from './varint.ts';

const WIRE_TYPE = {
  varint: 0,
  sint: 0,
  bool: 0,
  fixed64: 1,
  sfixed64: 1,
  string: 2,
  fixed32: 5,
  sfixed32: 5,
} as const satisfies Record<KeyField['scalar'], number>;

/**
 * The entity id in a serialized message of the method's input type: the text of its entity key fields, in order of
 * declaration, joined by `-`. The last occurrence of a field wins. A number or bool that is missing is 0 or false; an
 * empty or missing string is no key.
 *
 * Returns undefined where the method has no key field or a string part is empty. Throws RECORD_UNDECODABLE for bytes
 * that are not protobuf, RECORD_NO_ENTITY_ID for an id that the journal cannot hold (`checkedEntityId`).
 *
 * An unsigned number of 2^63 and more is written as the negative number with the same bits, as the SDKs of the JVM do.
 */
export function entityIdFromPayload(method: Method, bytes: Uint8Array): string | undefined {
  const fields = method.entityKeyFields;
  const only = fields[0];
  if (only === undefined) return undefined;
  let id: string;
  try {
    if (fields.length === 1) {
      id = scanOne(only, bytes);
    } else {
      const parts = scanAll(fields, bytes);
      if (parts.includes('')) return undefined;
      id = parts.join('-');
    }
  } catch (error) {
    throw new StateferryError(
      'RECORD_UNDECODABLE',
      `The entity key of a ${method.inputType} (${bytes.length} bytes) cannot be read: ${messageOf(error)}. ` +
        'Send it as protobuf of the schema that the function was built with.',
      { cause: error },
    );
  }
  if (id === '') return undefined;
  return checkedEntityId(id, `The entity key in a ${method.inputType}`);
}

function scanOne(field: KeyField, bytes: Uint8Array): string {
  const reader = Reader.create(bytes);
  const wanted = field.number * 8 + WIRE_TYPE[field.scalar];
  let text = missing(field);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === wanted) text = readText(field, reader);
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  return text;
}

function scanAll(fields: readonly KeyField[], bytes: Uint8Array): string[] {
  const reader = Reader.create(bytes);
  const texts = fields.map(missing);
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    const index = fields.findIndex((field) => field.number === tag >>> 3 && WIRE_TYPE[field.scalar] === (tag & 7));
    const field = fields[index];
    if (field === undefined) reader.skipType(tag & 7, 0, tag >>> 3);
    else texts[index] = readText(field, reader);
  }
  return texts;
}

/** The text of the default that proto3 gives a field that is not there. */
function missing(field: KeyField): string {
  if (field.scalar === 'string') return '';
  return field.scalar === 'bool' ? 'false' : '0';
}

function readText(field: KeyField, reader: Reader): string {
  switch (field.scalar) {
    case 'string': {
      const text = utf8Text(reader.bytes());
      if (text === undefined) throw new Error(`the string field ${field.name} is not valid UTF-8`);
      return text;
    }
    case 'bool':
      return String(reader.bool());
    case 'varint':
      return BigInt.asIntN(64, readVarint(reader)).toString();
    case 'sint': {
      const zigzag = readVarint(reader);
      return ((zigzag >> 1n) ^ -(zigzag & 1n)).toString();
    }
    case 'fixed32':
      return String(reader.fixed32());
    case 'sfixed32':
      return String(reader.sfixed32());
    case 'fixed64':
      return readFixed64(reader).toString();
    case 'sfixed64':
      return BigInt.asIntN(64, readFixed64(reader)).toString();
  }
}

function readFixed64(reader: Reader): bigint {
  const low = reader.fixed32();
  return (BigInt(reader.fixed32()) << 32n) | BigInt(low);
}
