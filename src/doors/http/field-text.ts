import { type DescEnum, type DescField, fromJson, type JsonValue, ScalarType } from '@bufbuild/protobuf';
import { type ReflectList, type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import { messageOf } from '../../errors.ts';
import { type FieldPath, pathName } from './field-path.ts';
import { badRequest, quoted } from './http-failure.ts';

const WHOLE = /^-?[0-9]+$/;
const DECIMAL = /^-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;
/** Standard or URL-safe alphabet, padded or not. */
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;
/** Longer than any 64-bit integer with its sign; what is longer is not turned into a number at all. */
const MAX_DIGITS = 40;

interface Range {
  readonly least: bigint;
  readonly most: bigint;
  readonly wide: boolean;
}

const INT32: Range = { least: -(2n ** 31n), most: 2n ** 31n - 1n, wide: false };
const UINT32: Range = { least: 0n, most: 2n ** 32n - 1n, wide: false };
const INT64: Range = { least: -(2n ** 63n), most: 2n ** 63n - 1n, wide: true };
const UINT64: Range = { least: 0n, most: 2n ** 64n - 1n, wide: true };

const RANGES: ReadonlyMap<ScalarType, Range> = new Map([
  [ScalarType.INT32, INT32],
  [ScalarType.SINT32, INT32],
  [ScalarType.SFIXED32, INT32],
  [ScalarType.UINT32, UINT32],
  [ScalarType.FIXED32, UINT32],
  [ScalarType.INT64, INT64],
  [ScalarType.SINT64, INT64],
  [ScalarType.SFIXED64, INT64],
  [ScalarType.UINT64, UINT64],
  [ScalarType.FIXED64, UINT64],
]);

/**
 * Sets the field at the end of `path` to the value that the texts of a path or a query stand for; the messages on the
 * way are made where they are not there. A repeated field gets all of them, any other exactly one.
 *
 * `where` is for the sentence: `path` or `query`. Throws HttpFailure 400 with the field, what was found and what was
 * expected.
 */
export function setFieldText(
  message: ReflectMessage,
  path: FieldPath,
  texts: readonly string[],
  where: 'path' | 'query',
): void {
  const refuse = (reason: string, cause?: unknown) =>
    badRequest(`${pathName(path)} in the ${where}: ${reason}.`, cause);
  const [field, ...below] = path;
  if (field.oneof !== undefined) {
    const other = message.oneofCase(field.oneof);
    if (other !== undefined && other !== field) {
      throw refuse(`${other.name} is set too, and only one of the fields of ${field.oneof.name} can be`);
    }
  }
  if (below.length > 0) {
    const inner = message.get(field) as ReflectMessage;
    setFieldText(inner, below as unknown as FieldPath, texts, where);
    message.set(field, inner);
    return;
  }
  if (field.fieldKind === 'list') {
    const list = message.get(field) as ReflectList;
    for (const text of texts) list.add(fieldValue(field, text, refuse));
    return;
  }
  if (texts.length !== 1) throw refuse(`it is there ${texts.length} times, and takes one value`);
  message.set(field, fieldValue(field, texts[0] as string, refuse));
}

type Refuse = (reason: string, cause?: unknown) => Error;

function fieldValue(field: DescField, text: string, refuse: Refuse): unknown {
  if (field.enum !== undefined) return enumValue(field.enum, text, refuse);
  if (field.message === undefined) return scalarValue(field.scalar as ScalarType, text, refuse);
  const type = field.message;
  const json = isWrapperDesc(type) ? wrapped(type.fields[0]?.scalar as ScalarType, text, refuse) : text;
  try {
    return reflect(type, fromJson(type, json));
  } catch (cause) {
    throw refuse(`${quoted(text)} is not the JSON of a ${type.typeName}: ${messageOf(cause)}`, cause);
  }
}

/** The value of a wrapper as its JSON. */
function wrapped(scalar: ScalarType, text: string, refuse: Refuse): JsonValue {
  const value = scalarValue(scalar, text, refuse);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return typeof value === 'boolean' ? value : String(value);
}

function enumValue(type: DescEnum, text: string, refuse: Refuse): number {
  const named = type.values.find((value) => value.name === text);
  if (named !== undefined) return named.number;
  const number = WHOLE.test(text) && text.length <= MAX_DIGITS ? Number(text) : Number.NaN;
  // An open enum keeps numbers that it has no name for.
  if (type.values.some((value) => value.number === number)) return number;
  if (type.open && number >= Number(INT32.least) && number <= Number(INT32.most)) return number;
  throw refuse(`${quoted(text)} is not one of ${type.values.map((value) => value.name).join(', ')}`);
}

function scalarValue(scalar: ScalarType, text: string, refuse: Refuse): unknown {
  const range = RANGES.get(scalar);
  if (range !== undefined) {
    const value = WHOLE.test(text) && text.length <= MAX_DIGITS ? BigInt(text) : undefined;
    if (value !== undefined && value >= range.least && value <= range.most) return range.wide ? value : Number(value);
    throw refuse(`${quoted(text)} is not a whole number from ${range.least} to ${range.most}`);
  }
  switch (scalar) {
    case ScalarType.BOOL:
      if (text === 'true' || text === 'false') return text === 'true';
      throw refuse(`${quoted(text)} is neither true nor false`);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return floating(scalar, text, refuse);
    case ScalarType.BYTES:
      if (BASE64.test(text) && text.replace(/=+$/, '').length % 4 !== 1)
        return new Uint8Array(Buffer.from(text, 'base64'));
      throw refuse(`${quoted(text)} is not base64`);
    default:
      return text;
  }
}

function floating(scalar: ScalarType, text: string, refuse: Refuse): number {
  if (text === 'NaN' || text === 'Infinity' || text === '-Infinity') return Number(text);
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (Number.isFinite(scalar === ScalarType.FLOAT ? Math.fround(value) : value)) return value;
  throw refuse(
    `${quoted(text)} is not a number that a ${scalar === ScalarType.FLOAT ? 'float' : 'double'} can hold (NaN, Infinity and -Infinity can be written)`,
  );
}
