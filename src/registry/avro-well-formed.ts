import { isUtf8 } from 'node:buffer';
import type avro from 'avsc';
import { isArray, isEnum, isFixed, isMap, isRecord, kindOf } from './avro-type.ts';
import { UnfitValue } from './values.ts';

/** How deep values may nest, as for protobuf (codec/well-formed.ts). */
const MAX_DEPTH = 100;
/** Elements that take no bytes, such as nulls, in one value: a count of them is bounded by nothing else. */
const MAX_EMPTY = 10_000;

interface Walk {
  readonly bytes: Buffer;
  pos: number;
  depth: number;
  empty: number;
}

type Step = (walk: Walk) => void;

/**
 * A check that bytes from `start` to their end are one value of the type: avsc itself reads past the end of what is cut
 * off, believes any count of elements, and puts U+FFFD for what is no UTF-8. Throws UnfitValue with the byte.
 */
export function avroWellFormed(type: avro.Type): (bytes: Buffer, start: number) => void {
  const steps = new Map<avro.Type, Step>();
  const step = stepOf(type);
  return (bytes, start) => {
    const walk = { bytes, pos: start, depth: 0, empty: 0 };
    step(walk);
    if (walk.pos < bytes.length) throw new UnfitValue(`${bytes.length - walk.pos} bytes follow the end of the value`);
  };

  function stepOf(of: avro.Type): Step {
    const before = steps.get(of);
    if (before !== undefined) return before;
    // A type may contain itself.
    let made: Step = () => undefined;
    steps.set(of, (walk) => made(walk));
    made = makeStep(of);
    steps.set(of, made);
    return made;
  }

  function makeStep(of: avro.Type): Step {
    if (isRecord(of)) {
      const fields = of.fields.map((field) => stepOf(field.type));
      return (walk) => {
        if (++walk.depth > MAX_DEPTH) throw new UnfitValue(`values nest deeper than ${MAX_DEPTH} at byte ${walk.pos}`);
        for (const field of fields) field(walk);
        walk.depth -= 1;
      };
    }
    if (isEnum(of)) {
      const { length } = of.symbols;
      return (walk) => {
        const at = walk.pos;
        const index = varint(walk, 5);
        if (index < 0 || index >= length)
          throw new UnfitValue(`the enum at byte ${at} has index ${index}, and ${of.name} has ${length} symbols`);
      };
    }
    if (isFixed(of)) return (walk) => skip(walk, of.size);
    if (isArray(of)) return blocks(stepOf(of.itemsType));
    if (isMap(of)) {
      const value = stepOf(of.valuesType as avro.Type);
      return blocks((walk) => {
        text(walk);
        value(walk);
      });
    }
    switch (kindOf(of)) {
      case 'null':
        return () => undefined;
      case 'boolean':
        return (walk) => {
          const byte = walk.bytes[walk.pos];
          if (byte !== 0 && byte !== 1) throw new UnfitValue(`the boolean at byte ${walk.pos} is ${byte ?? 'cut off'}`);
          walk.pos += 1;
        };
      case 'int':
        return (walk) => void varint(walk, 5);
      case 'long':
        return (walk) => void varint(walk, 10);
      case 'float':
        return (walk) => skip(walk, 4);
      case 'double':
        return (walk) => skip(walk, 8);
      case 'bytes':
        return (walk) => skip(walk, varint(walk, 10));
      case 'string':
        return text;
    }
    const branches = (of as avro.Type & { readonly types: readonly avro.Type[] }).types.map(stepOf);
    return (walk) => {
      const at = walk.pos;
      const branch = branches[varint(walk, 10)];
      if (branch === undefined)
        throw new UnfitValue(`the union at byte ${at} has a branch that its schema does not have`);
      if (++walk.depth > MAX_DEPTH) throw new UnfitValue(`values nest deeper than ${MAX_DEPTH} at byte ${at}`);
      branch(walk);
      walk.depth -= 1;
    };
  }
}

/** Blocks of elements, each with its count; a negative one has the block's size in bytes behind it. */
function blocks(element: Step): Step {
  return (walk) => {
    if (++walk.depth > MAX_DEPTH) throw new UnfitValue(`values nest deeper than ${MAX_DEPTH} at byte ${walk.pos}`);
    for (;;) {
      const given = varint(walk, 10);
      if (given === 0) break;
      if (given < 0) varint(walk, 10);
      for (let left = Math.abs(given); left > 0; left -= 1) {
        const at = walk.pos;
        element(walk);
        if (walk.pos === at && ++walk.empty > MAX_EMPTY)
          throw new UnfitValue(`more than ${MAX_EMPTY} elements take no bytes`);
      }
    }
    walk.depth -= 1;
  };
}

function text(walk: Walk): void {
  const length = varint(walk, 10);
  const start = walk.pos;
  skip(walk, length);
  if (!isUtf8(walk.bytes.subarray(start, walk.pos)))
    throw new UnfitValue(`the string at byte ${start} is not valid UTF-8`);
}

function skip(walk: Walk, bytes: number): void {
  if (bytes < 0 || walk.pos + bytes > walk.bytes.length) {
    throw new UnfitValue(
      `${bytes} bytes are to follow byte ${walk.pos}, and there are ${walk.bytes.length - walk.pos}`,
    );
  }
  walk.pos += bytes;
}

/** A zigzag varint; exact up to 2^53, which is all that a count, a length or an index may be. */
function varint(walk: Walk, most: number): number {
  const { bytes, pos } = walk;
  let value = 0;
  let scale = 1;
  for (let count = 1; count <= most; count += 1) {
    const byte = bytes[walk.pos];
    if (byte === undefined) throw new UnfitValue(`the value ends inside the number at byte ${pos}`);
    walk.pos += 1;
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) {
      if ((most === 5 && value > 0xffff_ffff) || (count === 10 && byte > 1)) {
        throw new UnfitValue(`the number at byte ${pos} has more than ${most === 5 ? 32 : 64} bits`);
      }
      return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
  }
  throw new UnfitValue(`the number at byte ${pos} is longer than ${most} bytes`);
}
