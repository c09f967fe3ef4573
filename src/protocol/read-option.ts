import type { Message } from '@bufbuild/protobuf';
import { Reader } from 'protobufjs/minimal.js';
import { messageOf, StateferryError } from '../errors.ts';
import type { ExtensionTable, ExtensionValue } from './option-bytes.ts';

/** Protobuf's wire type of a length-delimited field; options hold nothing else but these and varints. */
const LENGTH_DELIMITED = 2;
const VARINT = 0;

/**
 * The first extension of the table that the options message carries. `where` is what carries it, for the sentence.
 * Throws FUNCTION_SPEC for bytes that cannot be read.
 */
export function readOption<T>(table: ExtensionTable<T>, options: Message | undefined, where: string): T | undefined {
  if (options?.$unknown === undefined) return undefined;
  try {
    for (const [number, decode] of table) {
      const value = extension(options, number);
      const decoded = value === undefined ? undefined : decode(value);
      if (decoded !== undefined) return decoded;
    }
  } catch (error) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `The options of ${where} in the function's descriptor set cannot be read: ${messageOf(error)}. ` +
        "Build the function's .proto files again with its SDK's compiler.",
      { cause: error },
    );
  }
  return undefined;
}

/** The extension `number` as the descriptor set has it: the last bool, or all the occurrences of a message merged. */
function extension(options: Message, number: number): ExtensionValue | undefined {
  let truth: boolean | undefined;
  const parts: Uint8Array[] = [];
  for (const field of options.$unknown ?? []) {
    if (field.no !== number) continue;
    if (field.wireType === VARINT) truth = Reader.create(field.data).bool();
    else if (field.wireType === LENGTH_DELIMITED) parts.push(Reader.create(field.data).bytes());
  }
  return parts.length > 0 ? Buffer.concat(parts) : truth;
}
