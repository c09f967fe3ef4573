import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createFileRegistry, type DescMessage, fromBinary, fromJsonString, type Message } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { packagePath } from '../package-path.ts';
import type { Fields } from './expected.ts';
import { EXAMPLE } from './flights.ts';

/** Reads the example's messages as its own descriptor describes them. */
export interface Decode {
  /** A value of the topics of statuses and alerts. */
  output(typeName: string, value: Buffer): Fields;
  /** A value of the topic of events. */
  event(typeName: string, value: Buffer): Fields;
  /** Throws for bytes that are not of that type. */
  protobuf(typeName: string, bytes: Uint8Array): Fields;
  /** Throws for text that is not the JSON of that type. */
  json(typeName: string, text: string): Fields;
}

/** `framed`: reads the values of all topics, where they have schemas of a registry; else they are protobuf and JSON. */
export function createDecode(framed?: (value: Buffer) => Fields): Decode {
  const descriptor = readFileSync(packagePath(path.join(EXAMPLE, 'user-function.desc')));
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptor));
  const typeOf = (name: string): DescMessage => {
    const type = registry.getMessage(name);
    if (type === undefined) throw new TypeError(`there is no message type ${name} in ${EXAMPLE}`);
    return type;
  };
  const fieldsOf = (type: DescMessage, message: Message): Fields => {
    const values = message as Message & Fields;
    return Object.fromEntries(type.fields.map(({ localName }) => [localName, values[localName]]));
  };
  const decode: Decode = {
    output: (typeName, value) => framed?.(value) ?? decode.protobuf(typeName, value),
    event: (typeName, value) => framed?.(value) ?? decode.json(typeName, value.toString()),
    protobuf(typeName, bytes) {
      const type = typeOf(typeName);
      return fieldsOf(type, fromBinary(type, bytes));
    },
    json(typeName, text) {
      const type = typeOf(typeName);
      return fieldsOf(type, fromJsonString(type, text));
    },
  };
  return decode;
}
