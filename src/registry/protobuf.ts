import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import protobuf from 'protobufjs';
import { createWellFormed } from '../codec/well-formed.ts';
import type { ReadPlan, WritePlan } from './formats.ts';
import { FRAME_BYTES, frame, framed, readIndexes, writeIndexes } from './frame.ts';
import { typeNamed } from './names.ts';
import type { LoadedSchema, Misfit } from './schema.ts';
import { describeField } from './target.ts';
import { UnfitValue } from './values.ts';

/** The messages of one .proto text: by their path, and by name with those that it imports. */
interface Parsed {
  /** Of the text itself, with their places among their siblings. */
  readonly messages: readonly { readonly indexes: readonly number[]; readonly type: protobuf.Type }[];
}

const nameOf = ({ fullName }: protobuf.ReflectionObject): string => fullName.replace(/^\./, '');

function parse({ text, imports }: LoadedSchema): Parsed {
  const root = new protobuf.Root();
  const options = { keepCase: true };
  for (const { text: imported } of imports) protobuf.parse(imported, root, options);
  // By itself first: its messages are counted without those of others in its package.
  const own = messagesOf(protobuf.parse(text, new protobuf.Root(), options).root, []);
  protobuf.parse(text, root, options);
  return { messages: own.map(({ indexes, type }) => ({ indexes, type: root.lookupType(nameOf(type)) })) };
}

function messagesOf(
  space: protobuf.NamespaceBase,
  path: readonly number[],
): { indexes: readonly number[]; type: protobuf.Type }[] {
  const found: { indexes: readonly number[]; type: protobuf.Type }[] = [];
  let index = 0;
  for (const nested of space.nestedArray) {
    if (nested instanceof protobuf.Type) {
      const indexes = [...path, index++];
      found.push({ indexes, type: nested }, ...messagesOf(nested, indexes));
    } else if (nested instanceof protobuf.Namespace && !(space instanceof protobuf.Type))
      found.push(...messagesOf(nested, path));
  }
  return found;
}

/** Types whose bytes mean the same, the narrower one first where it fits into the other. */
const WIDER: Readonly<Record<string, readonly string[]>> = {
  int32: ['int64'],
  uint32: ['uint64'],
  sint32: ['sint64'],
  string: ['bytes'],
};

/**
 * Compares by field numbers, as protobuf does: fields of the same number must be of one type, or `from` of one that is
 * narrower. What `to` does not have is unknown there.
 */
function compare(written: protobuf.Type, desc: DescMessage, isOutput: boolean, misfits: Misfit[]): void {
  const seen = new Set<string>();
  walk(written, desc, '');

  function walk(type: protobuf.Type, message: DescMessage, path: string): void {
    const pair = `${type.fullName} ${message.typeName}`;
    if (seen.has(pair)) return;
    seen.add(pair);
    const byNumber = new Map(message.fields.map((field) => [field.number, field]));
    for (const other of type.fieldsArray) {
      const field = byNumber.get(other.id);
      byNumber.delete(other.id);
      if (field !== undefined) hold(other, field, path === '' ? field.name : `${path}.${field.name}`);
    }
    if (!isOutput) return;
    for (const field of byNumber.values()) {
      misfits.push({
        path: path === '' ? field.name : `${path}.${field.name}`,
        found: `no field ${field.number} of ${nameOf(type)}`,
        expected: `one for ${describeField(field)}`,
      });
    }
  }

  function hold(other: protobuf.Field, field: DescField, path: string): void {
    const found = describe(other);
    const wanted = describeField(field);
    const isSame =
      other.repeated === (field.fieldKind === 'list') &&
      other instanceof protobuf.MapField === (field.fieldKind === 'map');
    const isFit =
      isSame &&
      (field.fieldKind !== 'map' ||
        (other as protobuf.FieldBase as protobuf.MapField).keyType === ScalarType[field.mapKey].toLowerCase()) &&
      holdValue(other, field, path);
    if (!isFit) misfits.push({ path, found: `${found} with the number ${other.id}`, expected: wanted });
  }

  function holdValue(other: protobuf.Field, field: DescField, path: string): boolean {
    const resolved = other.parent?.lookup(other.type, [protobuf.Type, protobuf.Enum]);
    if (field.message !== undefined) {
      // Well-known types are known by their names.
      if (!(resolved instanceof protobuf.Type)) return other.type.replace(/^\./, '') === field.message.typeName;
      walk(resolved, field.message, path);
      return true;
    }
    if (field.enum !== undefined) return resolved instanceof protobuf.Enum;
    const scalar = ScalarType[field.scalar as ScalarType].toLowerCase();
    const [from, to] = isOutput ? [scalar, other.type] : [other.type, scalar];
    return from === to || (WIDER[from]?.includes(to) ?? false);
  }
}

function describe(field: protobuf.Field): string {
  if (field instanceof protobuf.MapField) return `map<${field.keyType}, ${field.type}>`;
  return `${field.repeated ? 'repeated ' : ''}${field.type}`;
}

/** See `ReadPlan`: the bytes are the function's own already. Throws for text that is no .proto. */
export function planProtobufReading(
  loaded: LoadedSchema,
  types: readonly DescMessage[],
  only: DescMessage | undefined,
): ReadPlan {
  const misfits: Misfit[] = [];
  const { messages } = parse(loaded);
  const wellFormedOf = createWellFormed();
  const isAlone = messages.filter(({ indexes }) => indexes.length === 1).length === 1;
  const ways = new Map(
    messages.map(({ indexes, type }) => {
      const name = nameOf(type);
      const desc = typeNamed(name, types) ?? (isAlone && indexes.length === 1 ? only : undefined);
      if (desc !== undefined) compare(type, desc, false, misfits);
      return [indexes.join('/'), { name, desc, wellFormed: desc && wellFormedOf(desc) }];
    }),
  );
  if (ways.size > 0 && ![...ways.values()].some(({ desc }) => desc !== undefined)) {
    misfits.push({
      path: '',
      found: `the messages ${[...ways.values()].map(({ name }) => name).join(', ')}`,
      expected: `one of ${types.map(({ typeName }) => typeName).join(', ')}`,
    });
  }
  return {
    misfits,
    read(value) {
      const { indexes, end } = readIndexes(value, FRAME_BYTES);
      const way = ways.get(indexes.join('/'));
      if (way === undefined)
        throw new UnfitValue(
          `it is of the message with the indexes ${indexes.join(', ')}, and the schema has ${ways.size} messages without that one`,
        );
      if (way.desc === undefined || way.wellFormed === undefined) return { typeName: way.name, value: undefined };
      const bytes = value.subarray(end);
      way.wellFormed(bytes);
      return { typeName: way.desc.typeName, value: bytes };
    },
  };
}

/** See `WritePlan`. Throws for text that is no .proto. */
export function planProtobufWriting(loaded: LoadedSchema, types: readonly DescMessage[]): WritePlan {
  const misfits: Misfit[] = [];
  const { messages } = parse(loaded);
  const ways = new Map<string, (value: Uint8Array) => Uint8Array>();
  for (const desc of types) {
    const found =
      messages.find(({ type }) => nameOf(type) === desc.typeName) ??
      messages.find(({ type }) => typeNamed(nameOf(type), types) === desc);
    if (found === undefined) {
      misfits.push({
        path: '',
        found: `the messages ${messages.map(({ type }) => nameOf(type)).join(', ')}`,
        expected: `one for ${desc.typeName}`,
      });
      continue;
    }
    compare(found.type, desc, true, misfits);
    const head = frame(loaded.id, writeIndexes(found.indexes));
    ways.set(desc.typeName, (value) => framed(head, value));
  }
  return { misfits, ways };
}
