import { create, type DescField, type DescMessage, type Message, ScalarType, toBinary } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { Random } from './random.ts';

const INT32 = [0, 1, -1, 127, 128, 300, 2 ** 31 - 1, -(2 ** 31)];
const UINT32 = [0, 1, 127, 128, 2 ** 32 - 1];
const INT64 = [0n, 1n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
const UINT64 = [0n, 1n, 2n ** 53n + 1n, 2n ** 64n - 1n];
const DOUBLES = [0, 1, -1.5, 0.1, 1e300, -1e-300, 5e-324, 2.2250738585072014e-308, Number.MAX_VALUE, Math.PI];
const FLOATS = [0, 1, -1.5, 0.1, 3.4028234663852886e38, 1e-45, 1.1754943508222875e-38].map(Math.fround);
const NO_NUMBERS = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
/** How deep messages are filled in. */
const DEPTH = 4;

/** Any message of the type that has a JSON: each field is there or not, with edges of its type more often than not. */
export function randomMessage(random: Random, type: DescMessage, anyOf: readonly DescMessage[], depth = 0): Message {
  const message = create(type);
  const made = reflect(type, message);
  const ofType = (inner: DescMessage): ReflectMessage =>
    reflect(inner, randomMessage(random, inner, anyOf, depth + 1)) as ReflectMessage;
  const set = (name: string, value: unknown): void => {
    made.set(type.fields.find((field) => field.name === name) as DescField, value as never);
  };
  switch (type.typeName) {
    case 'google.protobuf.Timestamp':
      set('seconds', random.pick([0n, -62135596800n, 253402300799n, -1n, 1_700_000_000n]));
      set('nanos', random.pick([0, 1, 1_000, 120_000_000, 999_999_999]));
      return message;
    case 'google.protobuf.Duration': {
      const sign = random.pick([1, -1]);
      set('seconds', BigInt(sign) * random.pick([0n, 1n, 315_576_000_000n]));
      set('nanos', sign * random.pick([0, 1, 1_000, 120_000_000, 999_999_999]));
      return message;
    }
    case 'google.protobuf.FieldMask':
      (message as unknown as { paths: string[] }).paths = random.pick([[], ['a'], ['some_field', 'other.inner_field']]);
      return message;
    case 'google.protobuf.Any':
      if (depth < DEPTH && random.int(4) > 0) {
        const inner = random.pick(anyOf);
        set('type_url', `type.googleapis.com/${inner.typeName}`);
        set('value', toBinary(inner, randomMessage(random, inner, anyOf, depth + 1)));
      }
      return message;
    case 'google.protobuf.Value':
      return randomValue(random, type, depth, anyOf);
  }
  if (depth > DEPTH) return message;
  for (const field of type.fields) {
    if (random.int(3) === 0) continue;
    switch (field.fieldKind) {
      case 'scalar':
        made.set(field, scalar(random, field.scalar));
        break;
      case 'enum':
        made.set(field, random.pick([...field.enum.values.map(({ number }) => number), 7]));
        break;
      case 'message':
        made.set(field, ofType(field.message));
        break;
      case 'list': {
        const list = made.get(field);
        for (let n = random.int(4); n > 0; n--) {
          if (field.listKind === 'scalar') list.add(scalar(random, field.scalar));
          else if (field.listKind === 'enum') list.add(random.pick(field.enum.values).number);
          else list.add(ofType(field.message));
        }
        break;
      }
      case 'map': {
        const map = made.get(field);
        for (let n = random.int(3); n > 0; n--) {
          const key = scalar(random, field.mapKey) as string | number | bigint | boolean;
          if (field.mapKind === 'scalar') map.set(key, scalar(random, field.scalar));
          else if (field.mapKind === 'enum') map.set(key, random.pick(field.enum.values).number);
          else map.set(key, ofType(field.message));
        }
      }
    }
  }
  return message;
}

/** One kind is always there, and a number is one. */
function randomValue(random: Random, type: DescMessage, depth: number, anyOf: readonly DescMessage[]): Message {
  const message = create(type);
  const made = reflect(type, message);
  const field = random.pick(type.fields.slice(0, depth < DEPTH ? undefined : 4));
  if (field.fieldKind === 'message') {
    made.set(field, reflect(field.message, randomMessage(random, field.message, anyOf, depth + 1)) as ReflectMessage);
  } else if (field.fieldKind === 'enum') made.set(field, 0);
  else
    made.set(
      field,
      field.fieldKind === 'scalar' && field.scalar === ScalarType.DOUBLE
        ? random.pick(DOUBLES)
        : scalar(random, (field as DescField & { fieldKind: 'scalar' }).scalar),
    );
  return message;
}

function scalar(random: Random, type: ScalarType): string | number | bigint | boolean | Uint8Array {
  switch (type) {
    case ScalarType.STRING:
      return random.text(8);
    case ScalarType.BYTES:
      return random.bytes(random.int(80));
    case ScalarType.BOOL:
      return random.int(2) === 1;
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return random.pick([...INT32, random.bytes(4).readInt32LE()]);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return random.pick([...UINT32, random.bytes(4).readUInt32LE()]);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return random.pick([...INT64, random.bytes(8).readBigInt64LE()]);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return random.pick([...UINT64, random.bytes(8).readBigUInt64LE()]);
    case ScalarType.DOUBLE:
      return random.pick([...DOUBLES, ...NO_NUMBERS, random.bytes(8).readDoubleLE()]);
    case ScalarType.FLOAT:
      return random.pick([...FLOATS, ...NO_NUMBERS, random.bytes(4).readFloatLE()]);
  }
}
