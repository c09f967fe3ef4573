import { type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf';
import type avro from 'avsc';
import { avroReader } from './avro-read.ts';
import { type AvroSchema, branchesOf, describeAvro, isRecord, parseAvro } from './avro-type.ts';
import { avroWellFormed } from './avro-well-formed.ts';
import { avroWriter } from './avro-write.ts';
import type { ReadPlan, WritePlan } from './formats.ts';
import { FRAME_BYTES, frame, framed } from './frame.ts';
import { typeNamed } from './names.ts';
import type { LoadedSchema, Misfit } from './schema.ts';

/** The records that values of a schema are. */
function recordsOf(schema: AvroSchema, misfits: Misfit[]): avro.types.RecordType[] {
  const { branches } = branchesOf(schema.type);
  const records = branches.filter(isRecord);
  if (records.length === 0 || records.length < branches.length) {
    misfits.push({ path: '', found: describeAvro(schema.type, schema), expected: 'a record, or a union of records' });
  }
  return records;
}

/** See `ReadPlan`. Throws for text that is no Avro schema. */
export function planAvroReading(
  loaded: LoadedSchema,
  types: readonly DescMessage[],
  only: DescMessage | undefined,
): ReadPlan {
  const misfits: Misfit[] = [];
  const schema = parseAvro(
    loaded.text,
    loaded.imports.map(({ text }) => text),
  );
  const records = recordsOf(schema, misfits);
  const { isUnion } = branchesOf(schema.type);
  const wellFormed = avroWellFormed(schema.type);
  const ways = new Map<string, { readonly desc: DescMessage; readonly convert: ReturnType<typeof avroReader> }>();
  for (const record of records) {
    const desc = typeNamed(record.name ?? '', types) ?? (records.length === 1 ? only : undefined);
    if (desc !== undefined)
      ways.set(record.branchName as string, { desc, convert: avroReader(schema, record, desc, misfits) });
  }
  return {
    misfits,
    read(value) {
      wellFormed(value, FRAME_BYTES);
      const decoded: unknown = schema.type.fromBuffer(value.subarray(FRAME_BYTES));
      const name = isUnion ? Object.keys((decoded ?? {}) as object)[0] : schema.type.branchName;
      const way = name === undefined ? undefined : ways.get(name);
      if (way === undefined) return { typeName: name ?? 'null', value: undefined };
      const held = isUnion ? (decoded as Record<string, unknown>)[name as string] : decoded;
      return { typeName: way.desc.typeName, value: toBinary(way.desc, way.convert(held)) };
    },
  };
}

/** See `WritePlan`. Throws for text that is no Avro schema. */
export function planAvroWriting(loaded: LoadedSchema, types: readonly DescMessage[]): WritePlan {
  const misfits: Misfit[] = [];
  const schema = parseAvro(
    loaded.text,
    loaded.imports.map(({ text }) => text),
  );
  const records = recordsOf(schema, misfits);
  const { isUnion } = branchesOf(schema.type);
  const head = frame(loaded.id);
  const ways = new Map<string, (value: Uint8Array) => Uint8Array>();
  for (const desc of types) {
    const named = records.find((record) => typeNamed(record.name ?? '', types) === desc);
    const record = named ?? (records.length === 1 && types.length === 1 ? records[0] : undefined);
    if (record === undefined) {
      if (records.length > 0) {
        misfits.push({
          path: '',
          found: `the records ${records.map(({ name }) => name).join(', ')}`,
          expected: `one for ${desc.typeName}`,
        });
      }
      continue;
    }
    const convert = avroWriter(schema, record, desc, misfits);
    const branch = record.branchName as string;
    ways.set(desc.typeName, (value) => {
      const held = convert(fromBinary(desc, value));
      return framed(head, schema.type.toBuffer(isUnion ? { [branch]: held } : held));
    });
  }
  return { misfits, ways };
}
