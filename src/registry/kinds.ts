import type { DescMessage } from '@bufbuild/protobuf';
import { messageOf } from '../errors.ts';
import type { SchemaFormat } from '../model/framed.ts';
import { planAvroReading, planAvroWriting } from './avro.ts';
import { deriveAvro } from './avro-derive.ts';
import type { ReadPlan, WritePlan } from './formats.ts';
import { planJsonReading, planJsonWriting } from './json.ts';
import { deriveJson } from './json-derive.ts';
import { planProtobufReading, planProtobufWriting } from './protobuf.ts';
import { deriveProtobuf } from './protobuf-derive.ts';
import type { LoadedSchema, Misfit, SchemaReference, SchemaType } from './schema.ts';

/** What there is to do with the schemas of one kind. */
interface Kind {
  /** `types`: those that may be meant, by name; `only`: the one that the values are, whatever the schema's name. */
  planReading(schema: LoadedSchema, types: readonly DescMessage[], only: DescMessage | undefined): ReadPlan;
  planWriting(schema: LoadedSchema, types: readonly DescMessage[]): WritePlan;
  /** The schema that messages of the types are written with. @throws StateferryError FUNCTION_SPEC where there is none */
  derive(types: readonly DescMessage[]): string;
}

const KINDS: Readonly<Partial<Record<string, Kind>>> = {
  AVRO: { planReading: planAvroReading, planWriting: planAvroWriting, derive: deriveAvro },
  JSON: { planReading: planJsonReading, planWriting: planJsonWriting, derive: deriveJson },
  PROTOBUF: { planReading: planProtobufReading, planWriting: planProtobufWriting, derive: deriveProtobuf },
};

/** What the output format of a topic makes of it. */
export const OUTPUT_KINDS = {
  avro: { type: 'AVRO', contentType: 'application/vnd.confluent.avro' },
  'json-schema': { type: 'JSON', contentType: 'application/vnd.confluent.json' },
  'registry-protobuf': { type: 'PROTOBUF', contentType: 'application/vnd.confluent.protobuf' },
} as const satisfies Record<SchemaFormat, { type: SchemaType; contentType: string }>;

/** Never throws: what cannot be read as a schema is a misfit. */
export function planReading(
  schema: LoadedSchema,
  types: readonly DescMessage[],
  only: DescMessage | undefined,
): ReadPlan {
  const kind = KINDS[schema.type];
  if (schema.missing.length > 0) return { misfits: schema.missing.map(absent(schema)), read: neverRead };
  try {
    if (kind !== undefined) return kind.planReading(schema, types, only);
  } catch (error) {
    return { misfits: [unreadable(schema, messageOf(error))], read: neverRead };
  }
  return { misfits: [unreadable(schema, 'its kind is not known')], read: neverRead };
}

/** As `planReading`. */
export function planWriting(schema: LoadedSchema, types: readonly DescMessage[]): WritePlan {
  const kind = KINDS[schema.type];
  if (schema.missing.length > 0) return { misfits: schema.missing.map(absent(schema)), ways: new Map() };
  try {
    if (kind !== undefined) return kind.planWriting(schema, types);
  } catch (error) {
    return { misfits: [unreadable(schema, messageOf(error))], ways: new Map() };
  }
  return { misfits: [unreadable(schema, 'its kind is not known')], ways: new Map() };
}

export function derive(type: SchemaType, types: readonly DescMessage[]): string {
  const kind = KINDS[type];
  if (kind === undefined) throw new TypeError(`there is no kind of schema ${type}`);
  return kind.derive(types);
}

function absent({ id, type }: LoadedSchema) {
  return ({ name, subject, version }: SchemaReference): Misfit => ({
    path: '',
    found: `schema ${id} (${type}) that refers to "${name}", version ${version} of the subject "${subject}", which the registry does not have`,
    expected: 'everything that it refers to in the registry, too',
  });
}

function unreadable({ id, type }: LoadedSchema, why: string) {
  return {
    path: '',
    found: `schema ${id} (${type}) that cannot be read: ${why}`,
    expected: 'an AVRO, JSON or PROTOBUF schema',
  };
}

function neverRead(): never {
  throw new TypeError('a schema that does not fit reads nothing');
}
