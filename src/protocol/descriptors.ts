import {
  create,
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  toBinary,
} from '@bufbuild/protobuf';
import { protoCamelCase } from '@bufbuild/protobuf/reflect';
import {
  type DescriptorProto,
  type FileDescriptorProto,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import { messageOf, StateferryError } from '../errors.ts';
import { WELL_KNOWN_FILES } from './well-known-files.ts';

/** The message types and services of one function, as its descriptor set declares them. */
export interface Descriptors {
  /** Every type and service, by full name. JSON of an Any is resolved here. */
  readonly registry: FileRegistry;
  /** Every file, after the files that it imports; well-known files that the set lacked are among them. */
  readonly files: readonly FileDescriptorProto[];
}

/**
 * Reads a serialized `google.protobuf.FileDescriptorSet`, in whatever order its files are: protoc sorts them after
 * their imports, the Java, Go and Python SDKs do not. An imported `google/protobuf/*.proto` that is not in the set is
 * added, and so are the fields' names in JSON, which the code that protoc generates for Java and Python has left out.
 *
 * Throws FUNCTION_SPEC for bytes that are not a descriptor set, a file that is there twice, an import that is missing
 * or circular, and types that do not resolve.
 */
export function readDescriptors(fileDescriptorSet: Uint8Array): Descriptors {
  const files = inDependencyOrder(parse(fileDescriptorSet).file);
  for (const file of files) file.messageType.forEach(addJsonNames);
  try {
    return { registry: createFileRegistry(create(FileDescriptorSetSchema, { file: files })), files };
  } catch (error) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `The function's descriptor set does not hold together: ${messageOf(error)}. Build the function's .proto files again and restart it.`,
      { cause: error },
    );
  }
}

/** The message type with this full name. Throws FUNCTION_SPEC when the descriptor set does not have it. */
export function messageType(descriptors: Descriptors, typeName: string): DescMessage {
  const found = descriptors.registry.getMessage(typeName);
  if (found !== undefined) return found;
  throw new StateferryError(
    'FUNCTION_SPEC',
    `There is no message type ${typeName} in the function's descriptor set. Import the .proto file that defines it.`,
  );
}

function parse(bytes: Uint8Array): FileDescriptorSet {
  try {
    return fromBinary(FileDescriptorSetSchema, bytes);
  } catch (error) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `The function's descriptor set (${bytes.length} bytes) is not a google.protobuf.FileDescriptorSet: ${messageOf(error)}. ` +
        'Build it with protoc or buf, with imports included.',
      { cause: error },
    );
  }
}

function addJsonNames(message: DescriptorProto): void {
  for (const field of message.field) if (field.jsonName === '') field.jsonName = protoCamelCase(field.name);
  message.nestedType.forEach(addJsonNames);
}

/** Each file after its imports; otherwise the order is the given one, so that the result is stable. */
function inDependencyOrder(given: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const byName = new Map<string, FileDescriptorProto>();
  for (const file of given) {
    if (byName.has(file.name)) {
      throw new StateferryError(
        'FUNCTION_SPEC',
        `The function's descriptor set has the file ${file.name} twice. Build it so that each file is in it once.`,
      );
    }
    byName.set(file.name, file);
  }

  const sorted: FileDescriptorProto[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const visit = (file: FileDescriptorProto, importer: string): void => {
    const was = state.get(file.name);
    if (was === 'done') return;
    if (was === 'open') {
      throw new StateferryError(
        'FUNCTION_SPEC',
        `The function's descriptor set has a circle of imports through ${file.name} and ${importer}. Break the circle.`,
      );
    }
    state.set(file.name, 'open');
    for (const name of file.dependency) {
      const imported = byName.get(name) ?? WELL_KNOWN_FILES.get(name);
      if (imported === undefined) {
        throw new StateferryError(
          'FUNCTION_SPEC',
          `The function's descriptor set lacks ${name}, which ${file.name} imports. Build it with imports included.`,
        );
      }
      visit(imported, file.name);
    }
    state.set(file.name, 'done');
    sorted.push(file);
  };
  for (const file of given) visit(file, file.name);
  return sorted;
}

/** The files as a serialized `google.protobuf.FileDescriptorSet`, which `readDescriptors` reads again. */
export function descriptorSetOf({ files }: Descriptors): Uint8Array {
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files] }));
}
