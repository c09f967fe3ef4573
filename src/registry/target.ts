import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';

/** The type of one value of a message: of a field, of an element of a list, of a value of a map. */
export type Target =
  | { readonly kind: 'scalar'; readonly scalar: ScalarType }
  | { readonly kind: 'enum'; readonly enum: DescEnum }
  | { readonly kind: 'message'; readonly message: DescMessage };

/** Of a field that is neither a list nor a map, or of the elements or values of one that is. */
export function targetOf(field: DescField): Target {
  if (field.message !== undefined) return { kind: 'message', message: field.message };
  if (field.enum !== undefined) return { kind: 'enum', enum: field.enum };
  return { kind: 'scalar', scalar: field.scalar as ScalarType };
}

export function describeTarget(target: Target): string {
  switch (target.kind) {
    case 'scalar':
      return ScalarType[target.scalar].toLowerCase();
    case 'enum':
      return `enum ${target.enum.typeName}`;
    case 'message':
      return target.message.typeName;
  }
}

export function describeField(field: DescField): string {
  const one = describeTarget(targetOf(field));
  if (field.fieldKind === 'list') return `repeated ${one}`;
  if (field.fieldKind === 'map') return `map<${ScalarType[field.mapKey].toLowerCase()}, ${one}>`;
  return one;
}

export const TIMESTAMP = 'google.protobuf.Timestamp';

/** The scalar that a message of `google/protobuf/wrappers.proto` wraps; undefined: it is none of them. */
export function wrappedScalar(message: DescMessage): ScalarType | undefined {
  const { typeName, fields } = message;
  return typeName.startsWith('google.protobuf.') &&
    typeName.endsWith('Value') &&
    fields.length === 1 &&
    typeName !== 'google.protobuf.ListValue'
    ? (fields[0] as DescField).scalar
    : undefined;
}

export const SPELLINGS = (field: DescField): readonly string[] => [field.name, field.jsonName, field.localName];

/** Whether a field of 64 bits is unsigned, and so may be more than a signed long holds. */
export function isUnsigned64(scalar: ScalarType): boolean {
  return scalar === ScalarType.UINT64 || scalar === ScalarType.FIXED64;
}

export function isSigned64(scalar: ScalarType): boolean {
  return scalar === ScalarType.INT64 || scalar === ScalarType.SINT64 || scalar === ScalarType.SFIXED64;
}

export function isSigned32(scalar: ScalarType): boolean {
  return scalar === ScalarType.INT32 || scalar === ScalarType.SINT32 || scalar === ScalarType.SFIXED32;
}

export function isUnsigned32(scalar: ScalarType): boolean {
  return scalar === ScalarType.UINT32 || scalar === ScalarType.FIXED32;
}
