import {
  type DescField,
  type DescMessage,
  type DescOneof,
  isFieldSet,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import type avro from 'avsc';
import {
  type AvroSchema,
  branchesOf,
  describeAvro,
  isArray,
  isEnum,
  isFixed,
  isMap,
  isRecord,
  kindOf,
} from './avro-type.ts';
import { enumSpellings, matching, simpleName } from './names.ts';
import type { Misfit } from './schema.ts';
import {
  describeField,
  describeTarget,
  isSigned32,
  isSigned64,
  isUnsigned32,
  isUnsigned64,
  SPELLINGS,
  type Target,
  TIMESTAMP,
  targetOf,
  wrappedScalar,
} from './target.ts';
import { checkUuid, fromDate, fromDecimal, fromTimestamp, TIMESTAMP_UNITS, UnfitValue } from './values.ts';

/** What a message of `@bufbuild/protobuf` keeps → what avsc encodes. Never given undefined. */
type Convert = (value: unknown) => unknown;
type Fields = Record<string, unknown>;
/** What an Avro field is written with. */
type Take = (message: Message & Fields) => unknown;

/**
 * A way from messages of a type to values of an Avro record, by the names of their fields. The record must have a place
 * for every field of the message, and a field of its own that the message does not have must have a default or take
 * null. Everything that does not fit is put to `misfits`; then the result is of no use.
 */
export function avroWriter(
  schema: AvroSchema,
  record: avro.types.RecordType,
  message: DescMessage,
  misfits: Misfit[],
): (message: Message) => unknown {
  const known = new Map<avro.Type, Map<DescMessage, { convert?: (message: Message) => unknown }>>();
  return recordOf(record, message, '');

  function recordOf(type: avro.types.RecordType, desc: DescMessage, path: string): (message: Message) => unknown {
    const ofType = known.get(type) ?? new Map();
    known.set(type, ofType);
    const before = ofType.get(desc);
    if (before !== undefined) return (value) => before.convert(value);
    const made: { convert?: (message: Message) => unknown } = {};
    ofType.set(desc, made);
    const takes: { name: string; take: Take }[] = [];
    const written = new Set<DescField>();
    for (const avroField of type.fields) {
      const { name } = avroField;
      const at = path === '' ? name : `${path}.${name}`;
      const oneof = desc.oneofs.find((one) => one.name === name || one.localName === name);
      const field = oneof === undefined ? matching(name, desc.fields, SPELLINGS) : undefined;
      if (oneof !== undefined) {
        for (const member of oneof.fields) written.add(member);
        takes.push({ name, take: oneofOf(avroField, oneof, at) });
      } else if (field !== undefined && !written.has(field)) {
        written.add(field);
        takes.push({ name, take: fieldOf(avroField, field, at) });
      } else {
        const absent = absentOf(avroField);
        if (absent === undefined) {
          misfits.push({
            path: at,
            found: `${describeAvro(avroField.type, schema)} without a default`,
            expected: `a field of ${desc.typeName}, or a default`,
          });
        } else takes.push({ name, take: absent });
      }
    }
    for (const field of desc.fields) {
      if (written.has(field)) continue;
      misfits.push({
        path: path === '' ? field.name : `${path}.${field.name}`,
        found: `no field of ${describeAvro(type, schema)}`,
        expected: `one for ${describeField(field)}, which would be lost`,
      });
    }
    made.convert = (value) => {
      const result: Fields = {};
      for (const { name, take } of takes) result[name] = take(value as Message & Fields);
      return result;
    };
    return made.convert;
  }

  /** What stands for nothing: null, or the field's default. Undefined: it has to be something. */
  function absentOf(field: avro.types.Field): (() => unknown) | undefined {
    // avsc answers undefined where there is no default.
    if (field.defaultValue() !== undefined) return () => field.defaultValue();
    return branchesOf(field.type).nullable ? () => null : undefined;
  }

  function fieldOf(avroField: avro.types.Field, field: DescField, path: string): Take {
    const { localName, oneof } = field;
    const convert = convertOf(avroField.type, field, path);
    const nothing = branchesOf(avroField.type).nullable ? () => null : absentOf(avroField);
    const mayBeAbsent =
      field.fieldKind !== 'list' &&
      field.fieldKind !== 'map' &&
      (field.presence !== FeatureSet_FieldPresence.IMPLICIT || oneof !== undefined);
    if (mayBeAbsent && nothing === undefined && field.fieldKind !== 'message') {
      misfits.push({
        path,
        found: `${describeAvro(avroField.type, schema)} without a default`,
        expected: `a union with null, or a default, as ${field.name} may be absent`,
      });
    }
    const orNothing = (): unknown => {
      if (nothing !== undefined) return nothing();
      throw new UnfitValue(`${path} is not set, and the schema wants it`);
    };
    if (oneof !== undefined) {
      return (message) => {
        const held = message[oneof.localName] as { case?: string; value?: unknown };
        return held.case === localName ? convert(held.value) : orNothing();
      };
    }
    if (!mayBeAbsent) return (message) => convert(message[localName]);
    return (message) => (isFieldSet(message, field) ? convert(message[localName]) : orNothing());
  }

  function convertOf(type: avro.Type, field: DescField, path: string): Convert {
    const target = targetOf(field);
    const { branches } = branchesOf(type);
    if (field.fieldKind === 'list') {
      const container = branches.find(isArray);
      if (container === undefined) return unfit(type, describeField(field), path);
      const item = valueWay(container.itemsType, target, `${path}[]`);
      return wrap(type, container, (value) => (value as unknown[]).map(item));
    }
    if (field.fieldKind === 'map') {
      const container = branches.find(isMap);
      if (container === undefined) return unfit(type, describeField(field), path);
      const item = valueWay(container.valuesType, target, `${path}{}`);
      return wrap(type, container, (value) =>
        Object.fromEntries(Object.entries(value as Fields).map(([key, held]) => [key, item(held)])),
      );
    }
    const wrapped = target.kind === 'message' && field.oneof === undefined ? wrappedScalar(target.message) : undefined;
    return valueWay(type, wrapped === undefined ? target : { kind: 'scalar', scalar: wrapped }, path);
  }

  /** Where the type is a union, the first of its branches that fits. */
  function valueWay(type: avro.Type, target: Target, path: string): Convert {
    const { branches, isUnion } = branchesOf(type);
    if (!isUnion) return singleOf(type, target, path);
    const message = target.kind === 'message' ? target.message : undefined;
    const [oneof] = message?.oneofs ?? [];
    if (
      branches.length > 1 &&
      oneof !== undefined &&
      message?.oneofs.length === 1 &&
      oneof.fields.length === message.fields.length
    ) {
      const take = oneofOf({ type, defaultValue: () => undefined }, oneof, path);
      return (value) => take(value as Message & Fields);
    }
    const named =
      message === undefined ? [] : branches.filter((branch) => simpleName(branch.name ?? '') === message.name);
    const fit =
      named[0] ?? branches.find((branch) => isFit(branch, target)) ?? (branches.length === 1 ? branches[0] : undefined);
    if (fit === undefined) return unfit(type, describeTarget(target), path);
    return wrap(type, fit, singleOf(fit, target, path));
  }

  function wrap(type: avro.Type, branch: avro.Type, convert: Convert): Convert {
    if (type === branch) return convert;
    const name = branch.branchName as string;
    return (value) => ({ [name]: convert(value) });
  }

  function oneofOf(field: Pick<avro.types.Field, 'type' | 'defaultValue'>, oneof: DescOneof, path: string): Take {
    const { type } = field;
    const { branches, nullable, isUnion } = branchesOf(type);
    const byCase = new Map<string, Convert>();
    const used = new Map<avro.Type, string>();
    for (const member of oneof.fields) {
      const target = targetOf(member);
      const names = [
        ...SPELLINGS(member),
        ...(member.message === undefined ? [] : [member.message.name]),
        ...(member.enum === undefined ? [] : [member.enum.name]),
      ];
      const branch =
        branches.find((one) => one.name !== undefined && names.includes(simpleName(one.name))) ??
        branches.find((one) => one.name === undefined && isFit(one, target));
      const other = branch && used.get(branch);
      if (branch === undefined || other !== undefined) {
        misfits.push({
          path: `${path}.${member.name}`,
          found:
            branch === undefined
              ? `no branch of ${describeAvro(type, schema)}`
              : `the branch ${describeAvro(branch, schema)}, which is that of ${other}`,
          expected: `a branch of its own for ${describeField(member)}`,
        });
        continue;
      }
      used.set(branch, member.name);
      const convert = singleOf(branch, target, `${path}.${member.name}`);
      byCase.set(member.localName, isUnion ? wrap(type, branch, convert) : convert);
    }
    return (message) => {
      const held = message[oneof.localName] as { case?: string; value?: unknown };
      const convert = held.case === undefined ? undefined : byCase.get(held.case);
      if (convert !== undefined) return convert(held.value);
      if (nullable) return null;
      const absent = field.defaultValue();
      if (absent !== undefined) return absent;
      throw new UnfitValue(`none of ${path} is set, and the schema wants one`);
    };
  }

  function isFit(type: avro.Type, target: Target): boolean {
    if (isRecord(type)) return target.kind === 'message' && simpleName(type.name ?? '') === target.message.name;
    const before = misfits.length;
    singleOf(type, target, '');
    return misfits.splice(before).length === 0;
  }

  function singleOf(type: avro.Type, target: Target, path: string): Convert {
    const logical = schema.logicalOf(type);
    switch (target.kind) {
      case 'message': {
        const perSecond = kindOf(type) === 'long' ? TIMESTAMP_UNITS[logical?.logicalType ?? ''] : undefined;
        if (target.message.typeName === TIMESTAMP && perSecond !== undefined) {
          return (value) => fromTimestamp(value as { seconds: bigint; nanos: number }, perSecond);
        }
        if (isRecord(type)) return recordOf(type, target.message, path) as Convert;
        return unfit(type, describeTarget(target), path);
      }
      case 'enum': {
        const { enum: desc } = target;
        if (type.typeName === 'string') {
          const names = new Map(desc.values.map(({ number, name }) => [number, name]));
          return (value) => names.get(value as number) ?? noName(value, path);
        }
        if (!isEnum(type)) return unfit(type, describeTarget(target), path);
        const symbols = new Map<number, string>();
        const lacking: string[] = [];
        for (const { name, number } of desc.values) {
          const spellings = enumSpellings(desc.name, name);
          const symbol =
            type.symbols.find((one) => spellings.includes(one)) ?? matching(name, type.symbols, (one) => [one]);
          if (symbol === undefined) lacking.push(name);
          else symbols.set(number, symbols.get(number) ?? symbol);
        }
        if (lacking.length > 0) {
          misfits.push({
            path,
            found: `${describeAvro(type, schema)} with the symbols ${type.symbols.join(', ')}`,
            expected: `symbols for ${lacking.join(', ')} of the enum ${desc.typeName}, too`,
          });
        }
        return (value) => symbols.get(value as number) ?? noName(value, path);
      }
      case 'scalar':
        return scalarOf(type, target, path);
    }
  }

  function scalarOf(type: avro.Type, target: Target & { kind: 'scalar' }, path: string): Convert {
    const { scalar } = target;
    const logical = schema.logicalOf(type);
    const asIs: Convert = (value) => value;
    const isText = scalar === ScalarType.STRING;
    const at =
      (convert: (text: string) => unknown): Convert =>
      (value) => {
        try {
          return convert(value as string);
        } catch (error) {
          if (error instanceof UnfitValue) throw new UnfitValue(`${path}: ${error.message}`);
          throw error;
        }
      };
    switch (kindOf(type)) {
      case 'boolean':
        if (scalar === ScalarType.BOOL) return asIs;
        break;
      case 'int':
        if (isText && logical?.logicalType === 'date') return at(fromDate);
        if (isSigned32(scalar)) return asIs;
        break;
      case 'long':
        if (isSigned32(scalar) || isUnsigned32(scalar)) return (value) => BigInt(value as number);
        if (isSigned64(scalar)) return asIs;
        if (isUnsigned64(scalar)) {
          return (value) => {
            if ((value as bigint) < 2n ** 63n) return value;
            throw new UnfitValue(`${path} is ${value}, and a long holds at most 2^63 - 1`);
          };
        }
        break;
      case 'float':
        if (scalar === ScalarType.FLOAT) return asIs;
        break;
      case 'double':
        if (scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT || isSigned32(scalar) || isUnsigned32(scalar))
          return asIs;
        break;
      case 'string':
        if (isText) return logical?.logicalType === 'uuid' ? at(checkUuid) : asIs;
        break;
      case 'enum':
        if (isText && isEnum(type)) {
          return (value) => (type.symbols.includes(value as string) ? value : noName(value, path));
        }
        break;
      case 'bytes':
        if (isText && logical?.logicalType === 'decimal') return at((text) => fromDecimal(text, logical));
        if (scalar === ScalarType.BYTES && logical?.logicalType !== 'decimal')
          return (value) => asNodeBuffer(value as Uint8Array);
        break;
      case 'fixed':
        if (!isFixed(type)) break;
        if (isText && logical?.logicalType === 'decimal') return at((text) => fromDecimal(text, logical, type.size));
        if (scalar === ScalarType.BYTES && logical?.logicalType !== 'decimal') {
          return (value) => {
            const { length } = value as Uint8Array;
            if (length !== type.size)
              throw new UnfitValue(`${path} has ${length} bytes, and the schema wants ${type.size}`);
            return asNodeBuffer(value as Uint8Array);
          };
        }
        break;
    }
    return unfit(type, describeTarget(target), path);
  }

  function unfit(type: avro.Type, what: string, path: string): Convert {
    misfits.push({ path, found: describeAvro(type, schema), expected: `something that takes ${what}` });
    return () => undefined;
  }
}

function asNodeBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function noName(value: unknown, path: string): never {
  throw new UnfitValue(`${path} is ${JSON.stringify(value)}, which the schema has no name for`);
}
