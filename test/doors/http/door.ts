import { createServer } from 'node:http';
import { type ClientHttp2Session, connect, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { CallFailure, type Calls, type DoorCall, type DoorReply } from '../../../src/doors/calls.ts';
import type { CorsOptions } from '../../../src/doors/http/cors.ts';
import { createHttpDoor } from '../../../src/doors/http/http-door.ts';
import type { Services } from '../../../src/doors/services.ts';
import type { Metadata } from '../../../src/model/payload.ts';
import { describeComponent } from '../../../src/protocol/describe-component.ts';
import { type Descriptors, messageType, readDescriptors } from '../../../src/protocol/descriptors.ts';
import { KALIX_OPTIONS } from '../../../src/protocol/options.ts';
import { compileProtos } from '../../support/compile-protos.ts';
import type { Scope } from '../../support/scope.ts';
import { GOOGLE_API, LIBRARY } from './protos.ts';

/** The services of .proto files, as discovery would have made them. */
export function servicesOf(files: Readonly<Record<string, string>>, names: readonly string[]): Services {
  const descriptors = readDescriptors(compileProtos({ ...GOOGLE_API, ...files }));
  return {
    descriptors,
    components: new Map(
      names.map((service) => [
        service,
        describeComponent({ descriptors, kind: 'action', service, entityType: service, options: KALIX_OPTIONS }),
      ]),
    ),
  };
}

/** The library of protos.ts. */
export function library(): Services {
  return servicesOf({ 'library.proto': LIBRARY }, ['library.Library', 'library.Streams']);
}

/** The JSON of a message, and its bytes. */
export function jsonOf(descriptors: Descriptors, type: string, bytes: Uint8Array): JsonValue {
  const desc = messageType(descriptors, type);
  return toJson(desc, fromBinary(desc, bytes), { registry: descriptors.registry });
}

export function bytesOf(descriptors: Descriptors, type: string, json: JsonValue): Uint8Array {
  const desc = messageType(descriptors, type);
  return toBinary(desc, fromJson(desc, json, { registry: descriptors.registry }));
}

/** A call as it came through the door. */
export interface Seen {
  readonly call: DoorCall;
  readonly name: string;
  /** As JSON. */
  readonly inputs: JsonValue[];
}

/** What the test answers: messages as JSON of the output type, or bytes. */
export interface Script {
  unary?(seen: Seen): Reply | Promise<Reply>;
  streamed?(seen: Seen, input: AsyncIterable<Uint8Array>): AsyncIterable<Reply>;
}

export interface Reply {
  readonly json?: JsonValue;
  readonly bytes?: Uint8Array;
  readonly metadata?: Metadata;
}

/** A door that listens on a free port, with a test in the place of the runtime. Without a script, an input is its own reply. */
export async function startDoor(
  t: Scope,
  options: {
    readonly services: Services | undefined;
    readonly script?: Script;
    readonly cors?: CorsOptions;
    readonly maxMessageBytes?: number;
    readonly bodyMs?: number;
    readonly maxJsonDepth?: number;
    readonly http2?: boolean;
  },
) {
  const { services, script = {} } = options;
  const seen: Seen[] = [];
  const faults: { readonly sentence: string; readonly error: unknown }[] = [];

  const replyOf = ({ call }: Seen, { json = {}, bytes, metadata = [] }: Reply): DoorReply => {
    const type = call.method.outputType;
    const value = bytes ?? bytesOf((services as Services).descriptors, type, json);
    return { payload: { typeUrl: `type.googleapis.com/${type}`, value }, metadata };
  };
  const begin = (call: DoorCall): Seen => {
    const entry = { call, name: `${call.method.component.service}.${call.method.name}`, inputs: [] };
    seen.push(entry);
    return entry;
  };
  const inputJson = (call: DoorCall, bytes: Uint8Array): JsonValue =>
    jsonOf((services as Services).descriptors, call.method.inputType, bytes);
  const calls: Calls = {
    async unary(call, input) {
      const bytes = await input();
      const entry = begin(call);
      entry.inputs.push(inputJson(call, bytes));
      if (script.unary !== undefined) return replyOf(entry, await script.unary(entry));
      return replyOf(entry, call.method.inputType === call.method.outputType ? { bytes } : {});
    },
    async *streamed(call, input) {
      const entry = begin(call);
      const recorded = async function* () {
        try {
          for await (const bytes of input) {
            entry.inputs.push(inputJson(call, bytes));
            yield bytes;
          }
        } catch (cause) {
          throw new CallFailure(status.CANCELLED, 'the input ended early', { cause });
        }
      };
      if (script.streamed === undefined) {
        for await (const bytes of recorded()) yield replyOf(entry, { bytes });
      } else {
        for await (const reply of script.streamed(entry, recorded())) yield replyOf(entry, reply);
      }
    },
  };

  const { listener: door } = createHttpDoor({
    calls,
    services: () => services,
    limits: {
      maxMessageBytes: options.maxMessageBytes ?? 100_000,
      bodyMs: options.bodyMs ?? 60_000,
      maxJsonDepth: options.maxJsonDepth ?? 100,
    },
    cors: options.cors ?? { origins: [] },
    onFault: (sentence, error) => faults.push({ sentence, error }),
  });
  const server = options.http2 === true ? createHttp2Server(door) : createServer(door);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const sessions: ClientHttp2Session[] = [];
  t.onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        for (const session of sessions) session.destroy();
        server.close(() => resolve());
        if ('closeAllConnections' in server) server.closeAllConnections();
      }),
  );
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    port,
    seen,
    faults,
    /** The input of the only message of the only call. */
    input: (): JsonValue => {
      if (seen.length !== 1 || seen[0]?.inputs.length !== 1) throw new Error(`there were ${seen.length} calls`);
      return seen[0].inputs[0] as JsonValue;
    },
    get: (path: string, headers: Record<string, string> = {}) => fetch(url + path, { headers }),
    send: (method: string, path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
      fetch(url + path, { method, body, headers: { 'content-type': 'application/json', ...headers } }),
    http2: () => {
      const session = connect(url);
      sessions.push(session);
      return session;
    },
  };
}

export type Door = Awaited<ReturnType<typeof startDoor>>;
