import { isUtf8 } from 'node:buffer';
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { StateferryError } from '../errors.ts';

/** How deep messages may nest: what the protobuf libraries of Java, C++ and JavaScript accept. */
const MAX_DEPTH = 100;
/** Field numbers below this are looked up in an array. */
const DENSE = 128;

type WireType = 0 | 1 | 2 | 3 | 5;

/** What may come under one field number. */
interface Rule {
  readonly number: number;
  readonly name: string;
  readonly wire: WireType;
  /** Wire type of the elements where the field may also come packed. */
  readonly packed: 0 | 1 | 5 | undefined;
  readonly utf8: boolean;
  readonly message: Shape | undefined;
}

interface Shape {
  readonly typeName: string;
  readonly dense: (Rule | undefined)[];
  readonly sparse: Map<number, Rule>;
  readonly required: Rule[];
}

const UNKNOWN_GROUP: Shape = { typeName: 'an unknown group', dense: [], sparse: new Map(), required: [] };

/** Says whether bytes are a message of a type; throws RECORD_UNDECODABLE where they are not. */
export type WellFormed = (bytes: Uint8Array) => void;

/**
 * For a message type, a check that a protobuf library would decode the bytes: tags, lengths and varints are whole, a
 * known field has a wire type of its declaration (packed or not), strings are UTF-8 where the schema asks for it,
 * messages nest at most 100 deep, groups are closed, required fields of proto2 are there. Unknown fields may be anything
 * that is well formed. No object is built: the cost is one walk over the bytes.
 *
 * The tables are made once a type; keep the factory for as long as the descriptors live.
 */
export function createWellFormed(): (type: DescMessage) => WellFormed {
  const shapes = new Map<string, Shape>();

  function shapeOf(type: DescMessage): Shape {
    const known = shapes.get(type.typeName);
    if (known !== undefined) return known;
    const shape: Shape = { typeName: type.typeName, dense: [], sparse: new Map(), required: [] };
    // Before its fields: a type may contain itself.
    shapes.set(type.typeName, shape);
    for (const field of type.fields) {
      const rule = ruleOf(field);
      add(shape, rule);
      if (field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED) shape.required.push(rule);
    }
    return shape;
  }

  function ruleOf(field: DescField): Rule {
    const { number, name } = field;
    const rule = (wire: WireType, packed: Rule['packed'], utf8: boolean, message?: Shape): Rule => ({
      number,
      name,
      wire,
      packed,
      utf8,
      message,
    });
    switch (field.fieldKind) {
      case 'scalar':
        return rule(wireTypeOf(field.scalar), undefined, isVerified(field, field.scalar));
      case 'enum':
        return rule(0, undefined, false);
      case 'message':
        return rule(field.delimitedEncoding ? 3 : 2, undefined, false, shapeOf(field.message));
      case 'list': {
        if (field.listKind === 'message') {
          return rule(field.delimitedEncoding ? 3 : 2, undefined, false, shapeOf(field.message));
        }
        if (field.listKind === 'enum') return rule(0, 0, false);
        const wire = wireTypeOf(field.scalar);
        return rule(wire, wire === 2 ? undefined : wire, isVerified(field, field.scalar));
      }
      case 'map':
        return rule(2, undefined, false, entryOf(field));
    }
  }

  function entryOf(field: DescField & { fieldKind: 'map' }): Shape {
    const entry: Shape = { typeName: `an entry of ${field.name}`, dense: [], sparse: new Map(), required: [] };
    const part = (number: number, name: string, wire: WireType, utf8: boolean, message?: Shape): Rule => ({
      number,
      name,
      wire,
      packed: undefined,
      utf8,
      message,
    });
    add(entry, part(1, 'key', wireTypeOf(field.mapKey), isVerified(field, field.mapKey)));
    if (field.mapKind === 'message') add(entry, part(2, 'value', 2, false, shapeOf(field.message)));
    else if (field.mapKind === 'enum') add(entry, part(2, 'value', 0, false));
    else add(entry, part(2, 'value', wireTypeOf(field.scalar), isVerified(field, field.scalar)));
    return entry;
  }

  return (type) => {
    const shape = shapeOf(type);
    return (bytes) => check(shape, bytes);
  };
}

function add(shape: Shape, rule: Rule): void {
  if (rule.number < DENSE) {
    while (shape.dense.length <= rule.number) shape.dense.push(undefined);
    shape.dense[rule.number] = rule;
  } else {
    shape.sparse.set(rule.number, rule);
  }
}

function isVerified(field: DescField, scalar: ScalarType): boolean {
  return scalar === ScalarType.STRING && field.utf8Validation;
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

/** What is wrong, and at which byte; `check` makes the sentence of it. */
class Malformed extends Error {}

function check(shape: Shape, bytes: Uint8Array): void {
  try {
    walk(shape, bytes, 0, bytes.length, 0, 0);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    const hint =
      bytes[0] === 0
        ? 'The leading zero byte looks like the framing of a schema registry, which is not read here; send the bare message.'
        : 'Send protobuf of the schema that the function was built with.';
    throw new StateferryError(
      'RECORD_UNDECODABLE',
      `The value (${bytes.length} bytes) is not a ${shape.typeName}: ${error.message}. ${hint}`,
    );
  }
}

/**
 * Walks the fields of one message from `start` to `end` (or, of a group, to its end tag) and returns where it stopped.
 * `group` is the field number of the group that is open, 0 in a message with a length.
 */
function walk(shape: Shape, bytes: Uint8Array, start: number, end: number, depth: number, group: number): number {
  if (depth > MAX_DEPTH) throw new Malformed(`messages nest deeper than ${MAX_DEPTH} at byte ${start}`);
  const seen = shape.required.length > 0 ? new Set<Rule>() : undefined;
  let pos = start;
  while (pos < end) {
    const at = pos;
    let tag = bytes[pos++] as number;
    if (tag > 0x7f) {
      pos = varintEnd(bytes, at, end, 5);
      tag = varintValue(bytes, at, pos);
      if (tag > 0xffffffff) throw new Malformed(`the tag at byte ${at} is not one`);
    }
    const number = tag >>> 3;
    const wire = tag & 7;
    if (number === 0) throw new Malformed(`the tag at byte ${at} has field number 0`);
    const rule = number < DENSE ? shape.dense[number] : shape.sparse.get(number);
    if (rule !== undefined) {
      if (rule.wire !== wire && !(wire === 2 && rule.packed !== undefined)) {
        throw new Malformed(
          `field ${number} (${rule.name}) of ${shape.typeName} comes at byte ${at} with wire type ${wire}, where ${rule.wire} is right`,
        );
      }
      seen?.add(rule);
    }
    switch (wire) {
      case 0:
        pos = (bytes[pos] as number) < 0x80 && pos < end ? pos + 1 : varintEnd(bytes, pos, end, 10);
        break;
      case 1:
        pos += 8;
        break;
      case 5:
        pos += 4;
        break;
      case 2: {
        let length = bytes[pos] as number;
        if (pos < end && length < 0x80) {
          pos += 1;
        } else {
          const from = pos;
          pos = varintEnd(bytes, from, end, 5);
          length = varintValue(bytes, from, pos);
        }
        const stop = pos + length;
        if (stop > end) throw ended(at, number);
        if (rule !== undefined) {
          if (rule.message !== undefined) walk(rule.message, bytes, pos, stop, depth + 1, 0);
          else if (rule.utf8) checkText(rule, bytes, pos, stop);
          else if (rule.packed !== undefined) checkPacked(rule, rule.packed, bytes, pos, stop);
        }
        pos = stop;
        break;
      }
      case 3:
        pos = walk(rule?.message ?? UNKNOWN_GROUP, bytes, pos, end, depth + 1, number);
        break;
      case 4:
        if (number !== group) throw new Malformed(`the end of a group at byte ${at} ends nothing`);
        checkRequired(shape, seen);
        return pos;
      default:
        throw new Malformed(`the tag at byte ${at} has wire type ${wire}, which does not exist`);
    }
    if (pos > end) throw ended(at, number);
  }
  if (group !== 0) throw new Malformed(`the group of field ${group} that starts before byte ${start} has no end`);
  checkRequired(shape, seen);
  return pos;
}

function ended(at: number, number: number): Malformed {
  return new Malformed(`field ${number} at byte ${at} is longer than what is left`);
}

function checkRequired(shape: Shape, seen: Set<Rule> | undefined): void {
  if (seen === undefined) return;
  for (const rule of shape.required) {
    if (!seen.has(rule))
      throw new Malformed(`the required field ${rule.number} (${rule.name}) of ${shape.typeName} is missing`);
  }
}

/** Position after the varint at `at`. */
function varintEnd(bytes: Uint8Array, at: number, end: number, most: number): number {
  const limit = at + most;
  for (let pos = at; pos < end; pos += 1) {
    if (pos === limit) throw new Malformed(`the varint at byte ${at} is longer than ${most} bytes`);
    if ((bytes[pos] as number) < 0x80) {
      // The tenth byte holds the last of 64 bits.
      if (pos === at + 9 && (bytes[pos] as number) > 1)
        throw new Malformed(`the varint at byte ${at} has more than 64 bits`);
      return pos + 1;
    }
  }
  throw new Malformed(`the bytes end inside the varint at byte ${at}`);
}

/** Value of a varint of at most five bytes. */
function varintValue(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let pos = to - 1; pos >= from; pos -= 1) value = value * 128 + ((bytes[pos] as number) & 0x7f);
  return value;
}

/** Short ASCII, which most text is, needs no view and no native call. */
function checkText(rule: Rule, bytes: Uint8Array, start: number, stop: number): void {
  if (stop - start < 48) {
    let pos = start;
    while (pos < stop && (bytes[pos] as number) < 0x80) pos += 1;
    if (pos === stop) return;
  }
  if (!isUtf8(bytes.subarray(start, stop))) {
    throw new Malformed(`the string field ${rule.number} (${rule.name}) at byte ${start} is not valid UTF-8`);
  }
}

function checkPacked(rule: Rule, element: 0 | 1 | 5, bytes: Uint8Array, start: number, stop: number): void {
  if (element === 0) {
    for (let pos = start; pos < stop; ) pos = varintEnd(bytes, pos, stop, 10);
    return;
  }
  const size = element === 1 ? 8 : 4;
  if ((stop - start) % size !== 0) {
    throw new Malformed(
      `the packed field ${rule.number} (${rule.name}) at byte ${start} has ${stop - start} bytes, which is no multiple of ${size}`,
    );
  }
}
