import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { StateferryError } from '../errors.ts';
import { type Target, TIMESTAMP, targetOf, wrappedScalar } from './target.ts';

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/**
 * The Avro schema that messages of these types are written with where the registry has none: a record each, named and
 * with fields as in the descriptor; of several types, a union. What may be absent is a union with null; everything has a
 * default, so that fields may be added later. A google.protobuf.Timestamp counts microseconds.
 * @throws StateferryError FUNCTION_SPEC for a type that Avro has nothing for
 */
export function deriveAvro(types: readonly DescMessage[]): string {
  const defined = new Set<string>();
  const records = types.map((type) => recordOf(type, type.typeName));
  return JSON.stringify(records.length === 1 ? records[0] : records);

  function recordOf(type: DescMessage, path: string): Json {
    if (defined.has(type.typeName)) return type.typeName;
    defined.add(type.typeName);
    const dot = type.typeName.lastIndexOf('.');
    return {
      type: 'record',
      name: type.name,
      ...(dot > 0 && { namespace: type.typeName.slice(0, dot) }),
      fields: type.fields.map((field) => fieldOf(field, `${path}.${field.name}`)),
    };
  }

  function fieldOf(field: DescField, path: string): Json {
    const target = targetOf(field);
    const { name } = field;
    if (field.fieldKind === 'list') return { name, type: { type: 'array', items: typeOf(target, path) }, default: [] };
    if (field.fieldKind === 'map') return { name, type: { type: 'map', values: typeOf(target, path) }, default: {} };
    const wrapped = target.kind === 'message' && field.oneof === undefined ? wrappedScalar(target.message) : undefined;
    const type = typeOf(wrapped === undefined ? target : { kind: 'scalar', scalar: wrapped }, path);
    if (field.presence === FeatureSet_FieldPresence.IMPLICIT && target.kind !== 'message')
      return { name, type, default: zeroOf(target) };
    return { name, type: ['null', type], default: null };
  }

  function typeOf(target: Target, path: string): Json {
    switch (target.kind) {
      case 'message': {
        const { typeName } = target.message;
        if (typeName === TIMESTAMP) return { type: 'long', logicalType: 'timestamp-micros' };
        if (typeName === 'google.protobuf.Struct') {
          throw new StateferryError(
            'FUNCTION_SPEC',
            `${path} is a ${typeName}, which Avro has no type for. Write the topic in another format.`,
          );
        }
        return recordOf(target.message, path);
      }
      case 'enum':
        return enumOf(target.enum);
      case 'scalar':
        return PRIMITIVES[target.scalar];
    }
  }

  function enumOf(type: DescEnum): Json {
    if (defined.has(type.typeName)) return type.typeName;
    defined.add(type.typeName);
    const dot = type.typeName.lastIndexOf('.');
    const symbols = symbolsOf(type);
    return {
      type: 'enum',
      name: type.name,
      ...(dot > 0 && { namespace: type.typeName.slice(0, dot) }),
      symbols,
      default: symbols[0] as string,
    };
  }
}

/** One symbol a number, the first that has it. */
function symbolsOf(type: DescEnum): string[] {
  const byNumber = new Map<number, string>();
  for (const { number, name } of type.values) if (!byNumber.has(number)) byNumber.set(number, name);
  return [...byNumber.values()];
}

function zeroOf(target: Target): Json {
  if (target.kind === 'enum') return symbolsOf(target.enum)[0] as string;
  if (target.kind === 'message') return null;
  switch (target.scalar) {
    case ScalarType.BOOL:
      return false;
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return '';
    default:
      return 0;
  }
}

const PRIMITIVES: Readonly<Record<ScalarType, Json>> = {
  [ScalarType.BOOL]: 'boolean',
  [ScalarType.STRING]: 'string',
  [ScalarType.BYTES]: 'bytes',
  [ScalarType.FLOAT]: 'float',
  [ScalarType.DOUBLE]: 'double',
  [ScalarType.INT32]: 'int',
  [ScalarType.SINT32]: 'int',
  [ScalarType.SFIXED32]: 'int',
  [ScalarType.UINT32]: 'long',
  [ScalarType.FIXED32]: 'long',
  [ScalarType.INT64]: 'long',
  [ScalarType.SINT64]: 'long',
  [ScalarType.SFIXED64]: 'long',
  // What is 2^63 or more is refused when it comes.
  [ScalarType.UINT64]: 'long',
  [ScalarType.FIXED64]: 'long',
};
