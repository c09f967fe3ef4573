import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import type { Json } from './json-shape.ts';
import { type Target, targetOf, wrappedScalar } from './target.ts';

/**
 * The JSON Schema (draft 7) of the canonical proto3 JSON of messages of these types, as they are written where the
 * registry has none: the title is the type's name; of several types, alternatives. Nothing is required, and nothing more
 * is allowed, so that fields may be added later.
 */
export function deriveJson(types: readonly DescMessage[]): string {
  const definitions: Record<string, Json> = {};
  const roots = types.map((type): Json => ({ title: type.typeName, ...objectOf(type) }));
  const [root] = roots;
  return JSON.stringify({
    $schema: 'http://json-schema.org/draft-07/schema#',
    ...(roots.length === 1 ? (root as object) : { oneOf: roots }),
    ...(Object.keys(definitions).length > 0 && { definitions }),
  });

  function objectOf(type: DescMessage): { readonly [key: string]: Json } {
    const properties = Object.fromEntries(type.fields.map((field) => [field.jsonName, fieldOf(field)]));
    return { type: 'object', properties, additionalProperties: false };
  }

  function fieldOf(field: DescField): Json {
    const value = valueOfTarget(targetOf(field));
    if (field.fieldKind === 'list') return { type: 'array', items: value };
    if (field.fieldKind === 'map') return { type: 'object', additionalProperties: value };
    return value;
  }

  function valueOfTarget(target: Target): Json {
    switch (target.kind) {
      case 'scalar':
        return SCALARS[target.scalar];
      case 'enum':
        return enumOf(target.enum);
      case 'message': {
        const { message } = target;
        const wrapped = wrappedScalar(message);
        if (wrapped !== undefined) return SCALARS[wrapped];
        if (message.typeName.startsWith('google.protobuf.')) return WELL_KNOWN[message.typeName] ?? {};
        if (!(message.typeName in definitions)) {
          // Before its fields: it may contain itself.
          definitions[message.typeName] = {};
          definitions[message.typeName] = objectOf(message);
        }
        return { $ref: `#/definitions/${message.typeName}` };
      }
    }
  }
}

function enumOf(type: DescEnum): Json {
  return { type: 'string', enum: type.values.map(({ name }) => name) };
}

const LARGE = { type: 'string', pattern: '^-?[0-9]+$' };
const SMALL = { type: 'integer', minimum: -(2 ** 31), maximum: 2 ** 31 - 1 };
const NATURAL = { type: 'integer', minimum: 0, maximum: 2 ** 32 - 1 };
/** Numbers that are none have names. */
const REAL = { type: ['number', 'string'] };
const SCALARS: Readonly<Record<ScalarType, Json>> = {
  [ScalarType.BOOL]: { type: 'boolean' },
  [ScalarType.STRING]: { type: 'string' },
  [ScalarType.BYTES]: { type: 'string', contentEncoding: 'base64' },
  [ScalarType.FLOAT]: REAL,
  [ScalarType.DOUBLE]: REAL,
  [ScalarType.INT32]: SMALL,
  [ScalarType.SINT32]: SMALL,
  [ScalarType.SFIXED32]: SMALL,
  [ScalarType.UINT32]: NATURAL,
  [ScalarType.FIXED32]: NATURAL,
  [ScalarType.INT64]: LARGE,
  [ScalarType.SINT64]: LARGE,
  [ScalarType.SFIXED64]: LARGE,
  [ScalarType.UINT64]: LARGE,
  [ScalarType.FIXED64]: LARGE,
};
const WELL_KNOWN: Readonly<Record<string, Json>> = {
  // Without a format, which some validators refuse to know.
  'google.protobuf.Timestamp': { type: 'string' },
  'google.protobuf.Duration': { type: 'string' },
  'google.protobuf.FieldMask': { type: 'string' },
  'google.protobuf.Struct': { type: 'object' },
  'google.protobuf.ListValue': { type: 'array' },
  'google.protobuf.Empty': { type: 'object' },
};
