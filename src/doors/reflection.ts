import { create, createFileRegistry, type FileRegistry, toBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import { Reader, Writer } from 'protobufjs/minimal.js';
import { messageOf } from '../errors.ts';
import { asker, type OwnMethod, toStatus } from './grpc-door.ts';
import type { Services } from './services.ts';

const VERSIONS = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'] as const;

// ServerReflectionRequest and ServerReflectionResponse, the same in both versions, as tags: number << 3 | 2.
const HOST = 0x0a;
const FILE_BY_FILENAME = 0x1a;
const FILE_CONTAINING_SYMBOL = 0x22;
const FILE_CONTAINING_EXTENSION = 0x2a;
const ALL_EXTENSION_NUMBERS = 0x32;
const LIST_SERVICES = 0x3a;
const VALID_HOST = 0x0a;
const ORIGINAL_REQUEST = 0x12;
const FILE_DESCRIPTOR_RESPONSE = 0x22;
const ALL_EXTENSION_NUMBERS_RESPONSE = 0x2a;
const LIST_SERVICES_RESPONSE = 0x32;
const ERROR_RESPONSE = 0x3a;
/** The first field of each of the messages below is a string, bytes or message. */
const FIRST = 0x0a;
const ERROR_CODE = 0x08;
const ERROR_MESSAGE = 0x12;
const EXTENSION_NUMBER = 0x10;

/** What is described. */
interface Known {
  readonly files: readonly FileDescriptorProto[];
  readonly registries: readonly FileRegistry[];
  /** Of the services, sorted. */
  readonly services: readonly string[];
}

/**
 * gRPC server reflection, v1 and v1alpha, over the descriptors that the function gave in discovery, and over the `own`
 * services of the doors: a file for each.
 */
export function createReflection(
  services: () => Services | undefined,
  own: readonly FileDescriptorProto[],
): readonly OwnMethod[] {
  const ownRegistry = createFileRegistry(create(FileDescriptorSetSchema, { file: [...own] }));
  const ownNames = own.flatMap((file) => file.service.map(({ name }) => `${file.package}.${name}`));
  const known = (): Known => {
    const now = services();
    return {
      files: [...(now?.descriptors.files ?? []), ...own],
      registries: [...(now === undefined ? [] : [now.descriptors.registry]), ownRegistry],
      services: [...new Set([...(now?.components.keys() ?? []), ...ownNames])].sort(),
    };
  };
  return VERSIONS.map((name): OwnMethod => {
    const handler: grpc.handleBidiStreamingCall<Buffer, Buffer> = (call) => {
      try {
        services()?.mustBeTold?.(asker(call));
      } catch (error) {
        call.emit('error', toStatus(error));
        return;
      }
      call.on('data', (request: Buffer) => {
        try {
          call.write(Buffer.from(respond(request, name, known())));
        } catch (error) {
          call.emit('error', {
            code: grpc.status.INVALID_ARGUMENT,
            details: `no ServerReflectionRequest: ${messageOf(error)}`,
          });
        }
      });
      call.on('end', () => call.end());
    };
    return { path: `/${name}/ServerReflectionInfo`, type: 'bidi', handler };
  });
}

function respond(request: Buffer, self: string, known: Known): Uint8Array {
  const reader = Reader.create(request);
  const writer = Writer.create();
  let host = '';
  let answer: (() => void) | undefined;
  const files = (name: string, found: readonly FileDescriptorProto[]) => () => {
    if (found.length === 0) return error(grpc.status.NOT_FOUND, `${name} is not known here`);
    writeFiles(found);
  };
  const writeFiles = (found: readonly FileDescriptorProto[]): void => {
    writer.uint32(FILE_DESCRIPTOR_RESPONSE).fork();
    for (const file of found) writer.uint32(FIRST).bytes(toBinary(FileDescriptorProtoSchema, file));
    writer.ldelim();
  };
  const error = (code: number, message: string): void => {
    writer.uint32(ERROR_RESPONSE).fork();
    writer.uint32(ERROR_CODE).int32(code).uint32(ERROR_MESSAGE).string(message).ldelim();
  };
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === HOST) host = reader.string();
    else if (tag === FILE_BY_FILENAME) {
      const name = reader.string();
      answer = files(
        name,
        withImports(
          known,
          known.files.find((file) => file.name === name),
        ),
      );
    } else if (tag === FILE_CONTAINING_SYMBOL) {
      const found = withImports(known, fileOf(known, reader.string()));
      // No files for a symbol that is not known, and no error either (PROTOCOLS 12).
      answer = () => writeFiles(found);
    } else if (tag === FILE_CONTAINING_EXTENSION) {
      const { type, number } = readExtension(Reader.create(reader.bytes()));
      const found = extensionsOf(known, type).find((extension) => extension.number === number);
      answer = files(`extension ${number} of ${type}`, withImports(known, found?.file));
    } else if (tag === ALL_EXTENSION_NUMBERS) {
      const type = reader.string();
      answer = () => {
        if (known.registries.every((registry) => registry.getMessage(type) === undefined)) {
          return error(grpc.status.NOT_FOUND, `${type} is not known here`);
        }
        writer.uint32(ALL_EXTENSION_NUMBERS_RESPONSE).fork().uint32(FIRST).string(type);
        for (const { number } of extensionsOf(known, type)) writer.uint32(EXTENSION_NUMBER).int32(number);
        writer.ldelim();
      };
    } else if (tag === LIST_SERVICES) {
      reader.string();
      answer = () => {
        writer.uint32(LIST_SERVICES_RESPONSE).fork();
        // The reflection service's own name comes first (PROTOCOLS 12).
        for (const name of [self, ...known.services]) {
          writer.uint32(FIRST).fork().uint32(FIRST).string(name).ldelim();
        }
        writer.ldelim();
      };
    } else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  if (host !== '') writer.uint32(VALID_HOST).string(host);
  writer.uint32(ORIGINAL_REQUEST).bytes(request);
  if (answer === undefined) error(grpc.status.INVALID_ARGUMENT, 'the request asks for nothing that is known');
  else answer();
  return writer.finish();
}

/** The file first, then everything that it imports: clients ask for no more. */
function withImports({ files }: Known, file: FileDescriptorProto | undefined): FileDescriptorProto[] {
  if (file === undefined) return [];
  const byName = new Map(files.map((one) => [one.name, one]));
  const found = new Set([file]);
  for (const one of found) {
    for (const name of one.dependency) {
      const imported = byName.get(name);
      if (imported !== undefined) found.add(imported);
    }
  }
  return [...found];
}

function fileOf({ registries }: Known, symbol: string): FileDescriptorProto | undefined {
  for (const registry of registries) {
    const type = registry.get(symbol);
    if (type !== undefined) return type.file.proto;
    // A method, a field or a value of an enum is in the file of what it is in.
    const parent = registry.get(symbol.slice(0, symbol.lastIndexOf('.')));
    const name = symbol.slice(symbol.lastIndexOf('.') + 1);
    const has =
      parent?.kind === 'service'
        ? parent.methods.some((method) => method.name === name)
        : parent?.kind === 'message' && parent.fields.some((field) => field.name === name);
    if (has) return parent?.file.proto;
  }
  return undefined;
}

function extensionsOf({ registries }: Known, type: string): { number: number; file: FileDescriptorProto }[] {
  const found: { number: number; file: FileDescriptorProto }[] = [];
  for (const registry of registries) {
    for (const one of registry) {
      if (one.kind === 'extension' && one.extendee.typeName === type) {
        found.push({ number: one.number, file: one.file.proto });
      }
    }
  }
  return found;
}

function readExtension(reader: Reader): { type: string; number: number } {
  let type = '';
  let number = 0;
  while (reader.pos < reader.len) {
    const tag = reader.tag();
    if (tag === FIRST) type = reader.string();
    else if (tag === EXTENSION_NUMBER) number = reader.int32();
    else reader.skipType(tag & 7, 0, tag >>> 3);
  }
  return { type, number };
}
