import { create, type DescField, type DescMessage, type DescOneof, type Message, ScalarType } from '@bufbuild/protobuf';
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
import { TIMESTAMP_UNITS, toDate, toDecimal, toTimestamp, UnfitValue } from './values.ts';

/** What avsc decoded → what `@bufbuild/protobuf` keeps in a message; undefined: absent. */
type Convert = (value: unknown) => unknown;
type Fields = Record<string, unknown>;
/** Puts what an Avro field holds into a message. */
type Put = (message: Fields, value: unknown) => void;

/**
 * A way from the values of an Avro record to messages of a type, by the names of their fields. Fields that the message
 * type does not have are passed over, as fields of a newer producer. Everything that does not fit is put to `misfits`;
 * then the result is of no use.
 */
export function avroReader(
  schema: AvroSchema,
  record: avro.types.RecordType,
  message: DescMessage,
  misfits: Misfit[],
): (value: unknown) => Message {
  const known = new Map<avro.Type, Map<DescMessage, { convert?: (value: unknown) => Message }>>();
  return recordOf(record, message, '');

  function recordOf(type: avro.types.RecordType, desc: DescMessage, path: string): (value: unknown) => Message {
    const ofType = known.get(type) ?? new Map();
    known.set(type, ofType);
    const before = ofType.get(desc);
    // It contains itself: by the time of a value, the outer one is made.
    if (before !== undefined) return (value) => before.convert(value);
    const made: { convert?: (value: unknown) => Message } = {};
    ofType.set(desc, made);
    const puts: { name: string; put: Put }[] = [];
    const taken = new Map<DescField, string>();
    for (const { name, type: of } of type.fields) {
      const at = path === '' ? name : `${path}.${name}`;
      const oneof = desc.oneofs.find((one) => one.name === name || one.localName === name);
      const field = oneof === undefined ? matching(name, desc.fields, SPELLINGS) : undefined;
      if (oneof !== undefined) {
        puts.push({ name, put: oneofOf(of, oneof, at) });
      } else if (field !== undefined) {
        const other = taken.get(field);
        if (other !== undefined) {
          misfits.push({
            path: at,
            found: `a second field for ${field.name}, beside ${other}`,
            expected: 'one of the two only',
          });
          continue;
        }
        taken.set(field, name);
        puts.push({ name, put: fieldOf(of, field, at) });
      }
    }
    if (puts.length === 0 && type.fields.length > 0 && desc.fields.length > 0) {
      misfits.push({
        path,
        found: `${describeAvro(type, schema)} with the fields ${type.fields.map(({ name }) => name).join(', ')}`,
        expected: `at least one field of ${desc.typeName}, which has ${desc.fields.map(({ name }) => name).join(', ')}`,
      });
    }
    made.convert = (value) => {
      const result = create(desc);
      for (const { name, put } of puts) put(result as Message & Fields, (value as Fields)[name]);
      return result;
    };
    return made.convert;
  }

  function fieldOf(type: avro.Type, field: DescField, path: string): Put {
    const { localName, oneof } = field;
    const convert = convertOf(type, field, path);
    if (oneof !== undefined) {
      return (message, value) => {
        const converted = convert(value);
        if (converted === undefined) return;
        const before = message[oneof.localName] as { case?: string };
        if (before.case !== undefined)
          throw new UnfitValue(`${path} is set, and ${before.case} of the same oneof, too`);
        message[oneof.localName] = { case: localName, value: converted };
      };
    }
    return (message, value) => {
      const converted = convert(value);
      if (converted !== undefined) message[localName] = converted;
    };
  }

  function convertOf(type: avro.Type, field: DescField, path: string): Convert {
    const target = targetOf(field);
    const { branches, isUnion } = branchesOf(type);
    if (field.fieldKind !== 'list' && field.fieldKind !== 'map') {
      const wrapped =
        target.kind === 'message' && field.oneof === undefined ? wrappedScalar(target.message) : undefined;
      return valueWay(type, wrapped === undefined ? target : { kind: 'scalar', scalar: wrapped }, path);
    }
    const [only] = branches;
    if (only === undefined && isUnion) return () => undefined;
    const container = only !== undefined && branches.length === 1 ? only : type;
    const unwrap: Convert = isUnion
      ? (value) => (value === null ? undefined : (value as Fields)[(container as avro.Type).branchName as string])
      : (value) => value;
    if (field.fieldKind === 'list' && isArray(container)) {
      const item = elementOf(container.itemsType, target, `${path}[]`);
      return (value) => (unwrap(value) as unknown[] | undefined)?.map(item);
    }
    if (field.fieldKind === 'map' && isMap(container)) {
      const item = elementOf(container.valuesType, target, `${path}{}`);
      const key = mapKeyOf(field.mapKey, path);
      return (value) => {
        const map = unwrap(value) as Fields | undefined;
        return map === undefined
          ? undefined
          : Object.fromEntries(Object.entries(map).map(([name, held]) => [key(name), item(held)]));
      };
    }
    return unfit(type, describeField(field), path);
  }

  function elementOf(type: avro.Type, target: Target, path: string): Convert {
    const convert = valueWay(type, target, path);
    return (value) => {
      const converted = convert(value);
      if (converted === undefined) throw new UnfitValue(`${path} is null, and elements of protobuf cannot be`);
      return converted;
    };
  }

  function valueWay(type: avro.Type, target: Target, path: string): Convert {
    const { branches, isUnion } = branchesOf(type);
    if (!isUnion) return singleOf(type, target, path);
    const [only] = branches;
    const single =
      target.kind === 'message' && branches.length > 1 && target.message.oneofs.length === 1
        ? target.message
        : undefined;
    if (
      single !== undefined &&
      !branches.every((branch) => isRecord(branch) && simpleName(branch.name ?? '') === simpleName(single.typeName))
    ) {
      // A message that is nothing but its oneof is the union itself.
      const put = oneofOf(type, single.oneofs[0] as DescOneof, path);
      return (value) => {
        if (value === null) return undefined;
        const message = create(single);
        put(message as Message & Fields, value);
        return message;
      };
    }
    if (branches.length === 1 && only !== undefined) {
      const convert = singleOf(only, target, path);
      const name = only.branchName as string;
      return (value) => (value === null ? undefined : convert((value as Fields)[name]));
    }
    const byBranch = new Map(branches.map((branch) => [branch.branchName as string, singleOf(branch, target, path)]));
    return (value) => {
      if (value === null) return undefined;
      for (const name in value as Fields) {
        const convert = byBranch.get(name);
        if (convert !== undefined) return convert((value as Fields)[name]);
      }
      return undefined;
    };
  }

  /** Each branch of a union has its member of the oneof: the one of its name, else the only one that its values fit. */
  function oneofOf(type: avro.Type, oneof: DescOneof, path: string): Put {
    const { branches, isUnion } = branchesOf(type);
    const byBranch = new Map<string, { readonly member: DescField; readonly convert: Convert }>();
    for (const branch of branches) {
      const name = branch.branchName as string;
      const named =
        branch.name === undefined ? undefined : matching(simpleName(branch.name), oneof.fields, memberNames);
      const fits = named === undefined ? oneof.fields.filter((member) => isFit(branch, targetOf(member))) : [named];
      const [member] = fits;
      if (member === undefined || fits.length > 1) {
        const of = oneof.fields.map((field) => `${field.name} (${describeField(field)})`).join(', ');
        misfits.push({
          path,
          found: `the branch ${describeAvro(branch, schema)}${fits.length > 1 ? ', which could be several members' : ''}`,
          expected: `a branch for exactly one of the members of the oneof ${oneof.name}: ${of}`,
        });
        continue;
      }
      byBranch.set(name, { member, convert: singleOf(branch, targetOf(member), `${path}.${member.name}`) });
    }
    const put = (message: Fields, name: string, value: unknown): void => {
      const branch = byBranch.get(name);
      if (branch === undefined) return;
      message[oneof.localName] = { case: branch.member.localName, value: branch.convert(value) };
    };
    if (!isUnion) return (message, value) => put(message, type.branchName as string, value);
    return (message, value) => {
      if (value === null) return;
      for (const name in value as Fields) put(message, name, (value as Fields)[name]);
    };
  }

  /** Whether it fits, without a report. Records count as fitting: their names decided already. */
  function isFit(type: avro.Type, target: Target): boolean {
    if (isRecord(type))
      return target.kind === 'message' && simpleName(type.name ?? '') === simpleName(target.message.typeName);
    const before = misfits.length;
    singleOf(type, target, '');
    return misfits.splice(before).length === 0;
  }

  function singleOf(type: avro.Type, target: Target, path: string): Convert {
    const logical = schema.logicalOf(type);
    switch (target.kind) {
      case 'message': {
        const { message: desc } = target;
        const perSecond = kindOf(type) === 'long' ? TIMESTAMP_UNITS[logical?.logicalType ?? ''] : undefined;
        if (desc.typeName === TIMESTAMP && perSecond !== undefined) {
          return (value) => create(desc, toTimestamp(value as bigint, perSecond) as never);
        }
        if (isRecord(type)) return recordOf(type, desc, path);
        return unfit(type, describeTarget(target), path);
      }
      case 'enum': {
        if (!isEnum(type)) return unfit(type, describeTarget(target), path);
        const { enum: desc } = target;
        const numbers = new Map<string, number>();
        const lacking: string[] = [];
        for (const symbol of type.symbols) {
          const value = matching(symbol, desc.values, ({ name }) => enumSpellings(desc.name, name));
          if (value === undefined) lacking.push(symbol);
          else numbers.set(symbol, value.number);
        }
        if (lacking.length > 0) {
          misfits.push({
            path,
            found: `the symbols ${lacking.join(', ')} of ${describeAvro(type, schema)}`,
            expected: `values of the enum ${desc.typeName}, which has ${desc.values.map(({ name }) => name).join(', ')}`,
          });
        }
        return (value) => numbers.get(value as string);
      }
      case 'scalar':
        return scalarOf(type, logical, target, path);
    }
  }

  function scalarOf(
    type: avro.Type,
    logical: { logicalType: string; scale: number } | undefined,
    target: Target & { kind: 'scalar' },
    path: string,
  ): Convert {
    const { scalar } = target;
    const asIs: Convert = (value) => value;
    switch (kindOf(type)) {
      case 'boolean':
        if (scalar === ScalarType.BOOL) return asIs;
        break;
      case 'int':
        if (scalar === ScalarType.STRING && logical?.logicalType === 'date') return (value) => toDate(value as number);
        if (isSigned32(scalar) || scalar === ScalarType.DOUBLE) return asIs;
        if (isSigned64(scalar)) return (value) => BigInt(value as number);
        if (isUnsigned32(scalar)) return (value) => natural(value as number, path);
        if (isUnsigned64(scalar)) return (value) => BigInt(natural(value as number, path));
        break;
      case 'long':
        if (isSigned64(scalar)) return asIs;
        if (isUnsigned64(scalar)) return (value) => natural(value as bigint, path);
        // The only type of Avro that holds them all.
        if (isUnsigned32(scalar)) {
          return (value) => {
            const number = natural(value as bigint, path);
            if (number < 2n ** 32n) return Number(number);
            throw new UnfitValue(`${path} is ${number}, and the message's field holds 32 bits`);
          };
        }
        break;
      case 'float':
        if (scalar === ScalarType.FLOAT || scalar === ScalarType.DOUBLE) return asIs;
        break;
      case 'double':
        if (scalar === ScalarType.DOUBLE) return asIs;
        break;
      case 'string':
        if (scalar === ScalarType.STRING) return asIs;
        break;
      case 'enum':
        if (scalar === ScalarType.STRING) return asIs;
        break;
      case 'bytes':
      case 'fixed':
        if (scalar === ScalarType.STRING && logical?.logicalType === 'decimal')
          return (value) => toDecimal(value as Buffer, logical.scale);
        if (scalar === ScalarType.BYTES && logical?.logicalType !== 'decimal') return asIs;
        break;
    }
    return unfit(type, describeTarget(target), path);
  }

  function unfit(type: avro.Type, expected: string, path: string): Convert {
    const size = isFixed(type) ? ` of ${type.size} bytes` : '';
    misfits.push({ path, found: `${describeAvro(type, schema)}${size}`, expected: `something that ${expected} takes` });
    return () => undefined;
  }
}

/** A branch may have the name of a member, or of a member's type. */
function memberNames(field: DescField): readonly string[] {
  return field.message === undefined && field.enum === undefined
    ? SPELLINGS(field)
    : [...SPELLINGS(field), (field.message ?? field.enum)?.name ?? ''];
}

function natural<T extends number | bigint>(value: T, path: string): T {
  if (value < 0) throw new UnfitValue(`${path} is ${value}, and the message's field is unsigned`);
  return value;
}

function mapKeyOf(scalar: ScalarType, path: string): (name: string) => string {
  if (scalar === ScalarType.STRING) return (name) => name;
  const pattern = scalar === ScalarType.BOOL ? /^(true|false)$/ : /^-?\d{1,20}$/;
  return (name) => {
    if (!pattern.test(name))
      throw new UnfitValue(
        `${path} has the key ${JSON.stringify(name)}, and the message's keys are ${ScalarType[scalar].toLowerCase()}`,
      );
    return name;
  };
}
