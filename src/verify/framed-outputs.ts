import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { readAny } from '../codec/any.ts';
import type { Destination } from '../codec/encode.ts';
import { StateferryError } from '../errors.ts';
import type { FramedValues, Unframed } from '../model/framed.ts';
import type { Payload } from '../model/payload.ts';
import type { Descriptors } from '../protocol/descriptors.ts';

/** What came of holding a value against a payload; `unread`: it cannot be read by its schema any more. */
export type FramedVerdict = 'same' | 'other' | 'unread';

/** Values on topics with schemas of the registry, and what they are held against. */
export type FramedOutputs = ReturnType<typeof createFramedOutputs>;

/**
 * Events on topics with schemas of the registry. Which version one was written with is not in the journal: so it is the messages that are
 * compared, and where these differ, what the record's own schema makes of the journal's one, since a schema may not hold all of a message.
 */
export function createFramedOutputs(values: FramedValues, descriptors: Descriptors) {
  /** One text of bytes for each message. Throws for what is no message of the type. */
  function plain({ typeName, value = new Uint8Array() }: Unframed): Uint8Array {
    const type = descriptors.registry.getMessage(typeName);
    if (type === undefined) throw new TypeError(`there is no type ${typeName}`);
    const bytes = toBinary(type, fromBinary(type, value), { writeUnknownFields: false });
    return Buffer.concat([Buffer.from(`${typeName}\0`), bytes]);
  }
  const isSame = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

  return {
    /** The same destination, where each message stands for itself. */
    unframed: (destination: Destination): Destination => ({
      ...destination,
      writer: { contentType: '', write: (typeName, value) => plain({ typeName, value }) },
    }),
    /** What a record holds, as `unframed` writes it; undefined: it cannot be read. Rejects where the registry is away. */
    async read(topic: string, value: Buffer): Promise<Uint8Array | undefined> {
      try {
        return plain(await values.read(topic, value));
      } catch (error) {
        if (error instanceof StateferryError && error.fate !== 'reject') throw error;
        return undefined;
      }
    },
    /** Whether the payload, written with the schema of the record, is what is in the record. Rejects as `read`. */
    async holds(topic: string, value: Buffer, payload: Payload): Promise<FramedVerdict> {
      try {
        const content = readAny(payload);
        if (content.kind !== 'protobuf') return 'other';
        const message = { typeName: content.typeName, value: payload.value };
        const again = Buffer.from(await values.write(topic, message, value));
        if (isSame(again, value)) return 'same';
        const [one, other] = [await values.read(topic, again), await values.read(topic, value)];
        return isSame(plain(one), plain(other)) ? 'same' : 'other';
      } catch (error) {
        if (error instanceof StateferryError && error.fate !== 'reject') throw error;
        return 'unread';
      }
    },
  };
}
