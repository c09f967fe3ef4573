import { type DescEnum, type DescField, type DescMessage, type Registry, ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';

/** A field as `message_type.fields` has it, under its number: what the functions of 0007_views.sql decode by. */
export interface FieldRow {
  /** Its name in JSON. */
  readonly json: string;
  /** As a .proto file has it: `sint64`, `enum`, `message`; `group` for a delimited message. Of a map, its values'. */
  readonly type: string;
  /** Wire type of one value; of a map, of an entry. */
  readonly wire: 0 | 1 | 2 | 3 | 5;
  readonly list?: true;
  /** Type of the keys of a map. */
  readonly map?: string;
  /** It is left out of JSON where it holds its type's default. */
  readonly implicit?: true;
  /** Full name of its message type. */
  readonly message?: string;
  /** An enum's values by number, as they are in JSON: names; null for that of google.protobuf.NullValue. */
  readonly names?: Readonly<Record<string, string | null>>;
  /** JSON names of the other members of its oneof. */
  readonly without?: readonly string[];
}

/** A message type as a row of `message_type`. */
export interface MessageTypeRow {
  /** Full name. */
  readonly name: string;
  /** By field number. */
  readonly fields: Readonly<Record<string, FieldRow>>;
}

/** Those that have a JSON of their own are in the journal from its migration on; the others are no payloads. */
const PROTOBUFS_OWN = 'google.protobuf.';
const NULL_VALUE = 'google.protobuf.NullValue';

/** All message types of a function but protobuf's own, in the order of the registry. */
export function messageTypeRows(registry: Registry): MessageTypeRow[] {
  return [...registry].flatMap((type) =>
    type.kind === 'message' && !type.typeName.startsWith(PROTOBUFS_OWN) ? [messageTypeRow(type)] : [],
  );
}

/** One message type, without those of its fields. */
export function messageTypeRow(type: DescMessage): MessageTypeRow {
  return {
    name: type.typeName,
    fields: Object.fromEntries(type.fields.map((field) => [field.number, fieldRow(field)])),
  };
}

function fieldRow(field: DescField): FieldRow {
  const others = field.oneof?.fields.filter((other) => other !== field).map(({ jsonName }) => jsonName) ?? [];
  return {
    json: field.jsonName,
    ...valueFields(field),
    ...(field.presence === FeatureSet_FieldPresence.IMPLICIT && isSingular(field) && { implicit: true }),
    ...(others.length > 0 && { without: others }),
  };
}

function isSingular({ fieldKind }: DescField): boolean {
  return fieldKind === 'scalar' || fieldKind === 'enum';
}

function valueFields(field: DescField): Omit<FieldRow, 'json'> {
  switch (field.fieldKind) {
    case 'scalar':
      return ofScalar(field.scalar);
    case 'enum':
      return ofEnum(field.enum);
    case 'message':
      return ofMessage(field.message, field.delimitedEncoding);
    case 'list':
      switch (field.listKind) {
        case 'scalar':
          return { ...ofScalar(field.scalar), list: true };
        case 'enum':
          return { ...ofEnum(field.enum), list: true };
        case 'message':
          return { ...ofMessage(field.message, field.delimitedEncoding), list: true };
      }
      break;
    case 'map': {
      const entry = { wire: 2, map: nameOf(field.mapKey) } as const;
      switch (field.mapKind) {
        case 'scalar':
          return { ...ofScalar(field.scalar), ...entry };
        case 'enum':
          return { ...ofEnum(field.enum), ...entry };
        case 'message':
          return { ...ofMessage(field.message, false), ...entry };
      }
    }
  }
}

function ofScalar(scalar: ScalarType) {
  return { type: nameOf(scalar), wire: wireTypeOf(scalar) };
}

function ofEnum(type: DescEnum) {
  const names = Object.entries(type.value).map(([number, { jsonName }]) => [
    number,
    type.typeName === NULL_VALUE ? null : jsonName,
  ]);
  return { type: 'enum', wire: 0, names: Object.fromEntries(names) as Record<string, string | null> } as const;
}

function ofMessage(type: DescMessage, delimited: boolean) {
  return { type: delimited ? 'group' : 'message', wire: delimited ? 3 : 2, message: type.typeName } as const;
}

/** `INT32` → `int32`: the word of a .proto file. */
function nameOf(scalar: ScalarType): string {
  return (ScalarType[scalar] as string).toLowerCase();
}

function wireTypeOf(scalar: ScalarType): 0 | 1 | 2 | 5 {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return 2;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return 1;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return 5;
    default:
      return 0;
  }
}
