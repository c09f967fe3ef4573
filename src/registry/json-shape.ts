import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { enumSpellings, matching } from './names.ts';
import type { Misfit } from './schema.ts';
import {
  describeField,
  describeTarget,
  isSigned64,
  isUnsigned64,
  SPELLINGS,
  type Target,
  TIMESTAMP,
  targetOf,
  wrappedScalar,
} from './target.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type Members = { readonly [key: string]: Json };
/** A JSON value of one side → of the other. */
export type Convert = (value: Json) => Json;

/** An integer that is written with all of its digits. */
export class Digits {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Finds what `$ref` names; undefined: nothing. */
export type Resolve = (reference: string) => Json | undefined;

const isMembers = (value: Json | undefined): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * The ways between values of a JSON Schema and canonical proto3 JSON of a message type, by the names of their members:
 * they differ in spellings, in integers that the schema has as numbers, and in the symbols of enums. What the schema says
 * of values besides (formats, ranges, alternatives) is for its validator. What cannot fit is put to `misfits`;
 * of an output, that is a field without a place in an object that is closed (`additionalProperties: false`), too.
 */
export function jsonShape(
  schema: Json,
  type: DescMessage,
  resolve: Resolve,
  misfits: Misfit[],
  isOutput: boolean,
): { readonly read: Convert; readonly write: Convert } {
  const known = new Map<Json, Map<DescMessage, { read: Convert; write: Convert }>>();
  return messageOf(schema, type, '');

  /** Through references, and past null. */
  function plain(given: Json | undefined, depth = 0): Members | undefined {
    if (!isMembers(given) || depth > 20) return undefined;
    if (typeof given.$ref === 'string') return plain(resolve(given.$ref), depth + 1);
    const alternatives = given.oneOf ?? given.anyOf;
    if (Array.isArray(alternatives)) {
      const others = alternatives.filter((one) => !(isMembers(one) && one.type === 'null'));
      return others.length === 1 ? plain(others[0], depth + 1) : undefined;
    }
    return given;
  }

  function messageOf(given: Json, desc: DescMessage, path: string): { read: Convert; write: Convert } {
    const found = plain(given);
    const asIs = { read: (value: Json) => value, write: (value: Json) => value };
    // Several alternatives: which one a value is, is not known before.
    if (found === undefined) return asIs;
    if (!admits(found, ['object'])) {
      unfit(found, desc.typeName, path);
      return asIs;
    }
    const ofSchema = known.get(found) ?? new Map();
    known.set(found, ofSchema);
    const before = ofSchema.get(desc);
    if (before !== undefined) return { read: (value) => before.read(value), write: (value) => before.write(value) };
    const made = { ...asIs };
    ofSchema.set(desc, made);
    const properties = isMembers(found.properties) ? found.properties : {};
    const reads = new Map<string, { readonly to: string; readonly convert: Convert }>();
    const writes = new Map<string, { readonly to: string; readonly convert: Convert }>();
    const names = Object.keys(properties);
    for (const name of names) {
      const field = matching(name, desc.fields, SPELLINGS);
      if (field === undefined) continue;
      const way = fieldOf(properties[name] as Json, field, path === '' ? name : `${path}.${name}`);
      reads.set(name, { to: field.jsonName, convert: way.read });
      writes.set(field.jsonName, { to: name, convert: way.write });
    }
    if (names.length > 0 && reads.size === 0 && desc.fields.length > 0) {
      misfits.push({
        path,
        found: `the properties ${names.join(', ')}`,
        expected: `at least one field of ${desc.typeName}, which has ${desc.fields.map(({ name }) => name).join(', ')}`,
      });
    }
    if (isOutput && found.additionalProperties === false && found.patternProperties === undefined) {
      for (const { name, jsonName } of desc.fields) {
        if (writes.has(jsonName)) continue;
        misfits.push({
          path: path === '' ? name : `${path}.${name}`,
          found: 'no such property, and no further ones allowed',
          expected: `a place for the field of ${desc.typeName}`,
        });
      }
    }
    made.read = renaming(reads);
    made.write = renaming(writes);
    return made;
  }

  function fieldOf(given: Json, field: DescField, path: string): { read: Convert; write: Convert } {
    const found = plain(given);
    const target = targetOf(field);
    if (field.fieldKind === 'list') {
      if (found !== undefined && !admits(found, ['array'])) unfit(found, describeField(field), path);
      const items = isMembers(found?.items) ? found.items : true;
      const { read, write } = valueWay(items, target, `${path}[]`);
      const each =
        (convert: Convert): Convert =>
        (value) =>
          Array.isArray(value) ? value.map(convert) : value;
      return { read: each(read), write: each(write) };
    }
    if (field.fieldKind === 'map') {
      if (found !== undefined && !admits(found, ['object'])) unfit(found, describeField(field), path);
      const values = isMembers(found?.additionalProperties) ? found.additionalProperties : true;
      const { read, write } = valueWay(values, target, `${path}{}`);
      const each =
        (convert: Convert): Convert =>
        (value) =>
          isMembers(value)
            ? Object.fromEntries(Object.entries(value).map(([key, held]) => [key, convert(held)]))
            : value;
      return { read: each(read), write: each(write) };
    }
    return valueWay(given, target, path);
  }

  function valueWay(given: Json, target: Target, path: string): { read: Convert; write: Convert } {
    const asIs = { read: (value: Json) => value, write: (value: Json) => value };
    const found = plain(given);
    if (found === undefined) return asIs;
    switch (target.kind) {
      case 'message': {
        const { typeName } = target.message;
        if (
          typeName === TIMESTAMP ||
          typeName === 'google.protobuf.Duration' ||
          typeName === 'google.protobuf.FieldMask'
        ) {
          if (!admits(found, ['string'])) unfit(found, typeName, path);
          return asIs;
        }
        const wrapped = wrappedScalar(target.message);
        if (wrapped !== undefined) return valueWay(found, { kind: 'scalar', scalar: wrapped }, path);
        if (typeName.startsWith('google.protobuf.')) return asIs;
        return messageOf(found, target.message, path);
      }
      case 'enum': {
        const { enum: desc } = target;
        if (!admits(found, ['string', 'integer', 'number'])) {
          unfit(found, describeTarget(target), path);
          return asIs;
        }
        const symbols = Array.isArray(found.enum) ? found.enum.filter((one) => typeof one === 'string') : [];
        const reads = new Map<string, string>();
        const writes = new Map<string, string>();
        const lacking: string[] = [];
        for (const symbol of symbols) {
          const value = matching(symbol, desc.values, ({ name }) => enumSpellings(desc.name, name));
          if (value === undefined) lacking.push(symbol);
          else {
            reads.set(symbol, value.name);
            writes.set(value.name, symbol);
          }
        }
        if (lacking.length > 0) {
          misfits.push({
            path,
            found: `the values ${lacking.join(', ')}`,
            expected: `values of the enum ${desc.typeName}, which has ${desc.values.map(({ name }) => name).join(', ')}`,
          });
        }
        const through =
          (names: ReadonlyMap<string, string>): Convert =>
          (value) =>
            typeof value === 'string' ? (names.get(value) ?? value) : value;
        return { read: through(reads), write: through(writes) };
      }
      case 'scalar':
        return scalarOf(found, target.scalar, path);
    }
  }

  function scalarOf(found: Members, scalar: ScalarType, path: string): { read: Convert; write: Convert } {
    const asIs = { read: (value: Json) => value, write: (value: Json) => value };
    const fits = admits(found, JSON_TYPES[scalar]);
    if (!fits) unfit(found, describeTarget({ kind: 'scalar', scalar }), path);
    const isLarge = isSigned64(scalar) || isUnsigned64(scalar);
    // Canonical JSON has integers of 64 bits in quotes; where the schema has numbers, they are written as such, with all digits.
    if (isLarge && !admits(found, ['string'])) {
      return {
        ...asIs,
        write: (value) => (typeof value === 'string' ? (new Digits(value) as unknown as Json) : value),
      };
    }
    return asIs;
  }

  function unfit(found: Members, expected: string, path: string): void {
    misfits.push({
      path,
      found: `the type ${JSON.stringify(found.type)}`,
      expected: `something that ${expected} can be`,
    });
  }
}

function renaming(names: ReadonlyMap<string, { readonly to: string; readonly convert: Convert }>): Convert {
  return (value) => {
    if (!isMembers(value)) return value;
    const result: Record<string, Json> = {};
    for (const [key, held] of Object.entries(value)) {
      const way = names.get(key);
      result[way?.to ?? key] = way === undefined || held === null ? held : way.convert(held);
    }
    return result;
  };
}

/** Whether the schema lets a value be of one of the types; it says nothing of types: yes. */
function admits({ type }: Members, types: readonly string[]): boolean {
  if (type === undefined) return true;
  return (Array.isArray(type) ? type : [type]).some((one) => types.includes(String(one)));
}

const LARGE = ['integer', 'string'];
const REAL = ['number', 'integer', 'string'];
const SMALL = ['integer'];
const JSON_TYPES: Readonly<Record<ScalarType, readonly string[]>> = {
  [ScalarType.BOOL]: ['boolean'],
  [ScalarType.STRING]: ['string'],
  [ScalarType.BYTES]: ['string'],
  [ScalarType.FLOAT]: REAL,
  [ScalarType.DOUBLE]: REAL,
  [ScalarType.INT32]: SMALL,
  [ScalarType.SINT32]: SMALL,
  [ScalarType.SFIXED32]: SMALL,
  [ScalarType.UINT32]: SMALL,
  [ScalarType.FIXED32]: SMALL,
  [ScalarType.INT64]: LARGE,
  [ScalarType.SINT64]: LARGE,
  [ScalarType.SFIXED64]: LARGE,
  [ScalarType.UINT64]: LARGE,
  [ScalarType.FIXED64]: LARGE,
};

/** JSON text, with the digits of a `Digits` as they are. */
export function jsonText(value: Json): string {
  if (value instanceof Digits) return value.text;
  if (Array.isArray(value)) return `[${value.map(jsonText).join(',')}]`;
  if (isMembers(value)) {
    return `{${Object.entries(value)
      .map(([key, held]) => `${JSON.stringify(key)}:${jsonText(held)}`)
      .join(',')}}`;
  }
  return JSON.stringify(value);
}
