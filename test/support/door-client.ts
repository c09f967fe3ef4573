import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { packagePath } from '../../src/package-path.ts';
import { type Descriptors, readDescriptors } from '../../src/protocol/descriptors.ts';
import { FUNCTIONS } from './function-process.ts';
import type { Scope } from './scope.ts';

/** What a caller got: JSON of the output, and the metadata before it. */
export interface DoorAnswer {
  readonly output: JsonValue;
  readonly metadata: grpc.Metadata;
}

export interface CallOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
}

/** A client of the gRPC door, whose messages are JSON to its user. */
export interface DoorClient {
  readonly descriptors: Descriptors;
  /** `method`: `package.Service/Method`. Rejects with the gRPC ServiceError. */
  call(method: string, input: JsonValue, options?: CallOptions): Promise<DoorAnswer>;
  /** The stream of a method that streams in, out or both; its messages are JSON. */
  stream(method: string, options?: CallOptions): grpc.ClientDuplexStream<JsonValue, JsonValue>;
}

/**
 * A client at the door `at`, of one of the test functions in JavaScript, once built, or of what `descriptor`, a
 * FileDescriptorSet, describes. Closed when the scope ends.
 */
export async function createDoorClient(
  t: Scope,
  options: { readonly at: string; readonly channel?: grpc.ChannelOptions } & (
    | { readonly source: keyof typeof FUNCTIONS }
    | { readonly descriptor: Uint8Array }
  ),
): Promise<DoorClient> {
  const descriptors = readDescriptors(
    'descriptor' in options
      ? options.descriptor
      : await readFile(path.join(packagePath(FUNCTIONS[options.source].folder), 'user-function.desc')),
  );
  const client = new grpc.Client(options.at, grpc.credentials.createInsecure(), options.channel);
  t.onTestFinished(async () => client.close());

  const typesOf = (method: string) => {
    const [service = '', name = ''] = method.split('/');
    const found = descriptors.registry.getService(service)?.methods.find((one) => one.name === name);
    if (found === undefined) throw new Error(`there is no ${method}`);
    const { registry } = descriptors;
    return {
      encode: (json: JsonValue) => Buffer.from(toBinary(found.input, fromJson(found.input, json, { registry }))),
      decode: (bytes: Buffer) => toJson(found.output, fromBinary(found.output, bytes), { registry }),
    };
  };
  const metadataOf = ({ metadata = {} }: CallOptions): grpc.Metadata => {
    const sent = new grpc.Metadata();
    for (const [key, value] of Object.entries(metadata)) sent.add(key, value);
    return sent;
  };
  const deadlineOf = ({ deadlineMs = 20_000 }: CallOptions) => ({ deadline: Date.now() + deadlineMs });

  return {
    descriptors,
    call(method, input, given = {}) {
      const { encode, decode } = typesOf(method);
      return new Promise((resolve, reject) => {
        let metadata = new grpc.Metadata();
        const call = client.makeUnaryRequest(
          `/${method}`,
          encode,
          decode,
          input,
          metadataOf(given),
          deadlineOf(given),
          (error, output) => (error === null ? resolve({ output: output as JsonValue, metadata }) : reject(error)),
        );
        call.on('metadata', (received) => {
          metadata = received;
        });
      });
    },
    stream(method, given = {}) {
      const { encode, decode } = typesOf(method);
      return client.makeBidiStreamRequest(`/${method}`, encode, decode, metadataOf(given), deadlineOf(given));
    },
  };
}
