import avro from 'avsc';

/** What a schema says besides the type: how its values are meant. */
export interface Logical {
  readonly logicalType: string;
  /** Digits after the point, of a decimal. */
  readonly scale: number;
  /** Digits in all, of a decimal. */
  readonly precision: number;
}

/** An Avro schema, compiled. Longs are bigints; a value of a union is null, or an object with its branch's name as its only key. */
export interface AvroSchema {
  readonly type: avro.Type;
  logicalOf(type: avro.Type): Logical | undefined;
}

type Node = Readonly<Record<string, unknown>>;

const bigLong = (): avro.Type =>
  avro.types.LongType.__with({
    fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
    toBuffer(value: bigint) {
      const buffer = Buffer.alloc(8);
      buffer.writeBigInt64LE(value);
      return buffer;
    },
    fromJSON: BigInt,
    toJSON: String,
    isValid: (value: unknown) => typeof value === 'bigint' && BigInt.asIntN(64, value) === value,
    compare: (one: bigint, other: bigint) => (one === other ? 0 : one < other ? -1 : 1),
  });

/** Throws for text that is no Avro schema, as avsc says it. `imports`: the texts of the schemas that it names, in order. */
export function parseAvro(text: string, imports: readonly string[] = []): AvroSchema {
  const logical = new Map<avro.Type, Logical>();
  const options: Partial<avro.ForSchemaOptions> = {
    // Names that one schema defines are known to the next.
    registry: { long: bigLong() },
    omitRecordMethods: true,
    wrapUnions: 'always',
    typeHook(schema, given) {
      if (typeof schema !== 'object' || Array.isArray(schema) || avro.Type.isType(schema)) return undefined;
      const { logicalType, ...plain } = schema as unknown as Node;
      if (typeof logicalType !== 'string') return plain.type === 'long' ? bigLong() : undefined;
      const type = avro.Type.forSchema(plain as unknown as avro.Schema, given);
      logical.set(type, { logicalType, scale: Number(plain.scale ?? 0), precision: Number(plain.precision ?? 0) });
      return type;
    },
  };
  for (const imported of imports) avro.Type.forSchema(JSON.parse(imported), options);
  const type = avro.Type.forSchema(JSON.parse(text), options);
  return { type, logicalOf: (of) => logical.get(of) };
}

/** What the type is, as Avro's specification names it; unions are `union:wrapped`. */
export function kindOf({ typeName }: avro.Type): string {
  return typeName === 'abstract:long' ? 'long' : typeName;
}

export const isRecord = (type: avro.Type): type is avro.types.RecordType => type.typeName === 'record';
export const isEnum = (type: avro.Type): type is avro.types.EnumType => type.typeName === 'enum';
export const isFixed = (type: avro.Type): type is avro.types.FixedType => type.typeName === 'fixed';
export const isArray = (type: avro.Type): type is avro.types.ArrayType => type.typeName === 'array';
export const isMap = (type: avro.Type): type is avro.types.MapType => type.typeName === 'map';

/** The branches of a union, or the type itself as the only one; without null. */
export function branchesOf(type: avro.Type): {
  readonly branches: readonly avro.Type[];
  readonly nullable: boolean;
  readonly isUnion: boolean;
} {
  if (!type.typeName.startsWith('union')) {
    const isNull = type.typeName === 'null';
    return { branches: isNull ? [] : [type], nullable: isNull, isUnion: false };
  }
  const all = (type as avro.Type & { readonly types: readonly avro.Type[] }).types;
  const branches = all.filter(({ typeName }) => typeName !== 'null');
  return { branches, nullable: branches.length < all.length, isUnion: true };
}

/** A type in a few words, for a report. */
export function describeAvro(type: avro.Type, schema: AvroSchema): string {
  const logical = schema.logicalOf(type);
  const { branches, nullable, isUnion } = branchesOf(type);
  if (isUnion)
    return `a union of ${[...(nullable ? ['null'] : []), ...branches.map((b) => describeAvro(b, schema))].join(', ')}`;
  const name = type.name === undefined ? '' : ` ${type.name}`;
  return logical === undefined ? `Avro ${kindOf(type)}${name}` : `Avro ${kindOf(type)}${name} (${logical.logicalType})`;
}
