import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import { FREE_FORM } from '../../codec/exact-integers.ts';

/** A field by the way to it from a message: the last is the field, the ones before it are single messages. */
export type FieldPath = readonly [DescField, ...DescField[]];

/** Messages that are one string in JSON, and so can be one text in a path or a query. */
const TEXT_MESSAGES: ReadonlySet<string> = new Set([
  'google.protobuf.Timestamp',
  'google.protobuf.Duration',
  'google.protobuf.FieldMask',
]);

/**
 * The field at the end of a dotted path. Either spelling of a name is taken, the one of the .proto file or the one of
 * JSON. Answers with the reason, as the end of a sentence, where there is no such field or a text cannot be its value.
 */
export function resolveFieldPath(
  type: DescMessage,
  names: readonly string[],
): { readonly found: FieldPath } | { readonly fault: string } {
  const path: DescField[] = [];
  let message: DescMessage | undefined = type;
  for (const name of names) {
    if (message === undefined) return { fault: `${last(path).name} has no fields` };
    const field: DescField | undefined = fieldNamed(message, name);
    if (field === undefined) return { fault: `${message.typeName} has no field ${name}` };
    path.push(field);
    const isLast = path.length === names.length;
    if (field.fieldKind === 'map') return { fault: `${field.name} is a map` };
    if (!isLast && field.fieldKind === 'list') return { fault: `${field.name} is repeated` };
    const inner: DescMessage | undefined = field.message;
    if (isLast && inner !== undefined && !isText(inner)) return { fault: `${field.name} is a message` };
    message = inner !== undefined && hasOwnJson(inner) ? undefined : inner;
  }
  return { found: path as unknown as FieldPath };
}

/** The field of a message by either of its names. */
export function fieldNamed(type: DescMessage, name: string): DescField | undefined {
  return type.fields.find((field) => field.name === name || field.jsonName === name);
}

/** The path as a rule writes it. */
export function pathName(path: readonly DescField[]): string {
  return path.map((field) => field.name).join('.');
}

/** `a.b` lies under `a`, and under itself. */
export function isUnder(path: readonly DescField[], upper: readonly DescField[]): boolean {
  return upper.every((field, index) => path[index] === field);
}

/** Types whose JSON is not their fields: to set one of those would be a second way to write them. */
function hasOwnJson(type: DescMessage): boolean {
  return isText(type) || FREE_FORM.has(type.typeName);
}

function isText(type: DescMessage): boolean {
  return TEXT_MESSAGES.has(type.typeName) || isWrapperDesc(type);
}

function last(path: readonly DescField[]): DescField {
  return path.at(-1) as DescField;
}
