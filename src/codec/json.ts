import { fromBinary, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf';
import { asBuffer } from '../bytes.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { Payload } from '../model/payload.ts';
import { type Descriptors, messageType } from '../protocol/descriptors.ts';
import { readAny } from './any.ts';
import { exactIntegers } from './exact-integers.ts';

/**
 * Canonical proto3 JSON → the bytes of a message of that type. Both spellings of a field name are read, numbers and
 * their strings, an Any by its `@type` among the function's own types.
 *
 * Integers beyond 2^53 are exact, as numbers too, but for types that hold free-form JSON, where they are refused.
 *
 * Fields that the type does not have, and enum values that it does not have, are passed over unless `ignoreUnknown` is
 * false: what is on a topic evolves before its readers do. A strict reader of proto3 JSON would refuse them.
 *
 * Throws RECORD_UNDECODABLE with the parser's reason, FUNCTION_SPEC for a type that the function does not have.
 */
export function jsonToPayload(
  descriptors: Descriptors,
  typeName: string,
  text: string,
  { ignoreUnknown = true }: { readonly ignoreUnknown?: boolean } = {},
): Uint8Array {
  const type = messageType(descriptors, typeName);
  try {
    const exact = exactIntegers(
      text,
      type,
      (integer) =>
        new Error(`it has the number ${integer}, which JSON numbers do not hold exactly; write it in quotes`),
    );
    const message = fromJsonString(type, exact, {
      registry: descriptors.registry,
      ignoreUnknownFields: ignoreUnknown,
    });
    return toBinary(type, message);
  } catch (error) {
    throw new StateferryError(
      'RECORD_UNDECODABLE',
      `The value (${text.length} characters) is not the JSON of a ${typeName}: ${messageOf(error)}. ` +
        'Send canonical proto3 JSON of the schema that the function was built with.',
      { cause: error },
    );
  }
}

/**
 * The JSON of a payload: canonical proto3 JSON of a protobuf message, compact; JSON payloads are given as they are;
 * primitives as the JSON of their value (bytes in base64).
 *
 * With `emitDefaults`, fields that hold their type's default are written too; unset messages and oneofs never are.
 * Throws FUNCTION_BROKEN_REPLY for bytes that are not of their type and for a type (also one inside an Any) that the
 * function's descriptor set does not have.
 */
export function payloadToJson(
  descriptors: Descriptors,
  payload: Payload,
  { emitDefaults = false }: { readonly emitDefaults?: boolean } = {},
): string {
  const content = readAny(payload);
  switch (content.kind) {
    case 'protobuf':
      return messageToJson(descriptors, content.typeName, payload.value, emitDefaults);
    case 'json':
    case 'number':
    case 'bool':
      return content.text;
    case 'string':
      return JSON.stringify(content.value);
    case 'bytes':
      return JSON.stringify(asBuffer(content.value).toString('base64'));
  }
}

function messageToJson(descriptors: Descriptors, typeName: string, value: Uint8Array, emitDefaults: boolean): string {
  const type = descriptors.registry.getMessage(typeName);
  if (type === undefined) {
    throw new StateferryError(
      'FUNCTION_BROKEN_REPLY',
      `A payload of type ${typeName} cannot be written as JSON: the function's descriptor set does not have that type. ` +
        'Import the .proto file that defines it, or publish it as protobuf.',
    );
  }
  try {
    return toJsonString(type, fromBinary(type, value), {
      registry: descriptors.registry,
      alwaysEmitImplicit: emitDefaults,
    });
  } catch (error) {
    throw new StateferryError(
      'FUNCTION_BROKEN_REPLY',
      `A payload of type ${typeName} (${value.length} bytes) cannot be written as JSON: ${messageOf(error)}. ` +
        'Build the function with the same .proto files that its descriptor set has.',
      { cause: error },
    );
  }
}
