import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import type { Declaration } from '../../protocol/declarations.ts';

/** A JSON Schema, as OpenAPI 3.1 has it. */
export type Schema = Readonly<Record<string, unknown>>;

/** The schemas of one document. */
export interface Schemas {
  /** The JSON of a message: a reference to its schema, or what a well-known type is in JSON. */
  message(type: DescMessage): Schema;
  /** The JSON of a field. */
  field(field: DescField): Schema;
  /** All the schemas that were referred to, and those that they refer to, by full type name, sorted. */
  all(): Readonly<Record<string, Schema>>;
}

const FLOATING: Schema = {
  oneOf: [{ type: 'number' }, { type: 'string', enum: ['NaN', 'Infinity', '-Infinity'] }],
};

const SCALARS: Readonly<Record<ScalarType, Schema>> = {
  [ScalarType.DOUBLE]: FLOATING,
  [ScalarType.FLOAT]: FLOATING,
  [ScalarType.INT64]: { type: 'string', format: 'int64' },
  [ScalarType.SINT64]: { type: 'string', format: 'int64' },
  [ScalarType.SFIXED64]: { type: 'string', format: 'int64' },
  [ScalarType.UINT64]: { type: 'string', format: 'uint64' },
  [ScalarType.FIXED64]: { type: 'string', format: 'uint64' },
  [ScalarType.INT32]: { type: 'integer', format: 'int32' },
  [ScalarType.SINT32]: { type: 'integer', format: 'int32' },
  [ScalarType.SFIXED32]: { type: 'integer', format: 'int32' },
  [ScalarType.UINT32]: { type: 'integer', minimum: 0, maximum: 2 ** 32 - 1 },
  [ScalarType.FIXED32]: { type: 'integer', minimum: 0, maximum: 2 ** 32 - 1 },
  [ScalarType.BOOL]: { type: 'boolean' },
  [ScalarType.STRING]: { type: 'string' },
  [ScalarType.BYTES]: { type: 'string', contentEncoding: 'base64' },
};

/** Types that are something else in JSON than an object with their fields; wrappers besides. */
const WELL_KNOWN: ReadonlyMap<string, Schema> = new Map<string, Schema>([
  [
    'google.protobuf.Any',
    {
      type: 'object',
      properties: { '@type': { type: 'string', description: 'type.googleapis.com/ and the full name of the type.' } },
      required: ['@type'],
      description:
        'The fields of the type that @type names are beside it; what is no object in JSON is in the property value.',
    },
  ],
  ['google.protobuf.Timestamp', { type: 'string', format: 'date-time' }],
  ['google.protobuf.Duration', { type: 'string', pattern: '^-?[0-9]+(\\.[0-9]{1,9})?s$' }],
  ['google.protobuf.FieldMask', { type: 'string', description: 'Names of fields with commas between.' }],
  ['google.protobuf.Struct', { type: 'object' }],
  ['google.protobuf.ListValue', { type: 'array', items: {} }],
  ['google.protobuf.Value', { description: 'Any JSON value.' }],
  ['google.protobuf.Empty', { type: 'object' }],
]);

/** Collects the schemas of a document; `comment` gives the descriptions. */
export function createSchemas(comment: (about: Declaration) => string | undefined): Schemas {
  const schemas = new Map<string, Schema>();

  const described = (schema: Schema, ...texts: readonly (string | undefined)[]): Schema => {
    const description = texts.filter((text) => text !== undefined && text !== '').join('\n\n');
    return description === '' ? schema : { ...schema, description };
  };
  const refer = (name: string, make: () => Schema): Schema => {
    if (!schemas.has(name)) {
      // Before it is made: a message may contain itself.
      schemas.set(name, {});
      schemas.set(name, make());
    }
    return { $ref: `#/components/schemas/${name}` };
  };
  const enumeration = (type: DescEnum): Schema => {
    if (type.typeName === 'google.protobuf.NullValue') return { type: 'null' };
    return refer(type.typeName, () =>
      described({ type: 'string', enum: type.values.map((value) => value.name) }, comment(type)),
    );
  };
  const message = (type: DescMessage): Schema => {
    const known = WELL_KNOWN.get(type.typeName);
    if (known !== undefined) return known;
    if (isWrapperDesc(type)) return { oneOf: [field(type.fields[0] as DescField), { type: 'null' }] };
    return refer(type.typeName, () =>
      described(
        {
          type: 'object',
          ...(type.fields.length === 0
            ? {}
            : { properties: Object.fromEntries(type.fields.map((inner) => [inner.jsonName, property(inner)])) }),
        },
        comment(type),
        ...type.oneofs.map(
          (oneof) => `At most one of ${oneof.fields.map((inner) => inner.jsonName).join(', ')} is set.`,
        ),
      ),
    );
  };
  const element = (of: DescField): Schema => {
    if (of.message !== undefined) return message(of.message);
    if (of.enum !== undefined) return enumeration(of.enum);
    return SCALARS[of.scalar as ScalarType];
  };
  const field = (of: DescField): Schema => {
    if (of.fieldKind === 'list') return { type: 'array', items: element(of) };
    if (of.fieldKind === 'map') return { type: 'object', additionalProperties: element(of) };
    return element(of);
  };
  const property = (of: DescField): Schema => {
    const schema: Schema = { ...field(of), ...(of.deprecated ? { deprecated: true } : {}) };
    return described(schema, comment(of), schema.description as string | undefined);
  };

  return {
    message,
    field,
    all: () => Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}
