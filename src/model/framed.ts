/** Output formats whose values are framed for a schema registry. */
export type SchemaFormat = 'avro' | 'json-schema' | 'registry-protobuf';

export function isSchemaFormat(format: string): format is SchemaFormat {
  return format === 'avro' || format === 'json-schema' || format === 'registry-protobuf';
}

/** How the subject of a topic's values is named, by the names of Confluent's strategies. */
export type SubjectStrategy = 'TopicNameStrategy' | 'RecordNameStrategy' | 'TopicRecordNameStrategy';

/** How the schemas of a topic's values are found. */
export interface Subjects {
  readonly strategy: SubjectStrategy;
  /** Of all types, whatever the strategy says. */
  readonly subject: string | undefined;
}

/** What a framed value holds, as the function knows it. */
export interface Unframed {
  /** Full name of the message type, one of the function's; or, where none of them fits, the schema's own name. */
  readonly typeName: string;
  /** The bytes of that message; undefined: the function has no such type. */
  readonly value: Uint8Array | undefined;
}

/** Reads the values of one topic that are framed for a schema registry. */
export interface FramedReader {
  /**
   * Of a schema that is known already (`schemaOf`).
   * @throws StateferryError with fate `reject` for what is not framed, of an unknown schema, or not of its schema
   */
  read(value: Buffer): Unframed;
}

/** Writes the values of one topic, framed for a schema registry. Every schema that it needs is known. */
export interface FramedWriter {
  /** @throws StateferryError FUNCTION_BROKEN_REPLY for a type without a schema, and for what its schema does not take. */
  write(typeName: string, value: Uint8Array): Uint8Array;
  readonly contentType: string;
}

/** Values of topics with schemas of the registry, each by the schema that it names itself. Both reject where the registry is away. */
export interface FramedValues {
  /** Rejects with a StateferryError of the fate `reject`, too: see `FramedReader.read`. */
  read(topic: string, value: Buffer): Promise<Unframed>;
  /** The value of a message as the schema that `like` names has it. Rejects with any Error where it does not take the message. */
  write(topic: string, message: Unframed, like: Buffer): Promise<Uint8Array>;
}
