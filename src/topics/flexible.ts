import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** kafkajs' encoder of Kafka's protocol, as far as it is used here. */
export interface Encoder {
  writeInt16(value: number): Encoder;
  writeInt32(value: number): Encoder;
  writeInt64(value: string): Encoder;
  writeBoolean(value: boolean): Encoder;
  writeUVarInt(value: number): Encoder;
  writeUVarIntString(value: string): Encoder;
}

/** kafkajs' decoder of Kafka's protocol, as far as it is used here. */
export interface Decoder {
  readInt16(): number;
  readInt32(): number;
  readInt64(): { toString(): string };
  readUVarInt(): number;
  readUVarIntString(): string | null;
  readTaggedFields(): unknown;
}

const NewEncoder = require('kafkajs/src/protocol/encoder') as new () => Encoder;
const NewDecoder = require('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => Decoder;
const { createErrorFromCode } = require('kafkajs/src/protocol/error') as {
  createErrorFromCode: (code: number) => Error;
};

/** A broker as kafkajs 2.2.4 has it: requests of its own making go through the connections too. */
export interface FlexibleBroker {
  readonly connectionPool: {
    send(exchange: {
      request: { apiKey: number; apiVersion: number; apiName: string; encode(): Promise<Encoder> };
      response: { decode(bytes: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<unknown> };
    }): Promise<unknown>;
  };
}

/**
 * A request that kafkajs has not, or not in this version, and that is of the flexible kind (KIP-482): compact strings and
 * arrays, and tagged fields behind every structure, which `write` and `read` see to but for the outermost ones.
 */
export interface FlexibleRequest<T> {
  readonly name: string;
  readonly key: number;
  readonly version: number;
  write(to: Encoder): void;
  read(from: Decoder): T;
}

/** Sends the request to the broker and resolves to what its answer says. */
export async function ask<T>(broker: FlexibleBroker, request: FlexibleRequest<T>): Promise<T> {
  const { name, key, version } = request;
  const answer = await broker.connectionPool.send({
    request: {
      apiKey: key,
      apiVersion: version,
      apiName: name,
      async encode() {
        const to = new NewEncoder();
        // kafkajs writes the older header; these are the tagged fields of the flexible one.
        writeNoTags(to);
        request.write(to);
        writeNoTags(to);
        return to;
      },
    },
    response: {
      async decode(bytes) {
        const from = new NewDecoder(bytes);
        from.readTaggedFields();
        // What kafkajs looks for in what is decoded: how long to hold back.
        return { clientSideThrottleTime: 0, answer: request.read(from) };
      },
      parse: async (decoded) => (decoded as { answer: unknown }).answer,
    },
  });
  return answer as T;
}

/** The end of a structure without tagged fields. */
export function writeNoTags(to: Encoder): void {
  to.writeUVarInt(0);
}

/** A compact array. */
export function writeArray<T>(to: Encoder, items: Iterable<T>, write: (item: T) => void): void {
  const all = [...items];
  to.writeUVarInt(all.length + 1);
  for (const item of all) write(item);
}

/** A compact array; one that is null is empty. */
export function readArray<T>(from: Decoder, read: () => T): T[] {
  return Array.from({ length: Math.max(0, from.readUVarInt() - 1) }, read);
}

/** Partitions by topic, as many requests name them. */
export function writePartitions(to: Encoder, partitions: ReadonlyMap<string, Iterable<number>>): void {
  writeArray(to, partitions, ([topic, numbers]) => {
    to.writeUVarIntString(topic);
    writeArray(to, numbers, (partition) => to.writeInt32(partition));
    writeNoTags(to);
  });
}

/** What `read` gets of each partition, in an array of topics with an array of partitions each. */
export function readPartitions<T>(from: Decoder, read: (topic: string, partition: number) => T): T[] {
  return readArray(from, () => {
    const topic = from.readUVarIntString() ?? '';
    const partitions = readArray(from, () => {
      const each = read(topic, from.readInt32());
      from.readTaggedFields();
      return each;
    });
    from.readTaggedFields();
    return partitions;
  }).flat();
}

/** Throws what kafkajs throws for an error code of Kafka's protocol; 0 is none. */
export function checkCode(code: number): void {
  if (code !== 0) throw createErrorFromCode(code);
}

/** Whether the broker refused a request for lack of rights. */
export function isUnauthorized(error: unknown): error is Error {
  return error instanceof Error && 'type' in error && String(error.type).endsWith('_AUTHORIZATION_FAILED');
}
