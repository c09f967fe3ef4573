import { once } from 'node:events';
import {
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonObject,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Client, credentials } from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import { loadWire, type WireDialect } from '../../src/protocol/wire.ts';
import type { Scope } from './scope.ts';
import { WIRE_NAMES, type WireNames } from './wire-names.ts';

const PROTOBUF_URL = 'type.googleapis.com/';
const CALL_WITHIN_MS = 10_000;

/** A message of the wire contract or of the function, as plain JSON-like data; payloads that are messages are unpacked. */
export type Plain = Readonly<Record<string, unknown>>;

/** A function, spoken to with nothing but the wire contract in between: what a test needs to play the runtime. */
export interface RawFunction {
  readonly names: WireNames;
  /** Discovery's answer, with `proto` left out. */
  readonly spec: Plain;
  /** One call of a unary method such as `protocol.Discovery/HealthCheck`, below the dialect's package. */
  call(method: string, request: Plain): Promise<Plain>;
  /** Opens a stream of a bidirectional method such as `component.valueentity.ValueEntities/Handle`. */
  open(method: string): RawStream;
  /** A payload: a message of the function's own, given by its proto3 JSON. */
  pack(typeName: string, json: JsonObject): RawPayload;
}

export interface RawPayload {
  readonly type_url: string;
  readonly value: Uint8Array;
}

export interface RawStream {
  send(message: Plain): void;
  /** The next message; rejects if the function ended the stream instead, or sent nothing within 10 s. */
  next(): Promise<Plain>;
  /** Half-closes and resolves to what came after the last `next` until the function ended the stream with OK. */
  end(): Promise<Plain[]>;
}

/** One entity, with its stream open and its init message sent. */
export interface RawEntity {
  /** A stored event, before any command. */
  replay(sequence: number, payload: RawPayload): void;
  /** Sends a command, numbered from 1, and resolves to the function's next message, whatever it is. */
  command(name: string, payload: RawPayload): Promise<Plain>;
  /** Half-closes and resolves to what came after the last answer; see RawStream. */
  end(): Promise<Plain[]>;
}

/** Plays the runtime to one entity. `init` is what the init message has besides service and id: a snapshot or a state. */
export function openEntity(
  fn: RawFunction,
  options: {
    readonly kind: 'event-sourced' | 'value';
    readonly service: string;
    readonly id: string;
    readonly init?: Plain;
  },
): RawEntity {
  const { kind, service, id: entityId, init = kind === 'value' ? { state: {} } : {} } = options;
  const stream = fn.open(kind === 'value' ? fn.names.value : fn.names.eventSourced);
  stream.send({ init: { service_name: service, entity_id: entityId, ...init } });
  let id = 0;
  return {
    replay: (sequence, payload) => stream.send({ event: { sequence, payload } }),
    command(name, payload) {
      id += 1;
      stream.send({ command: { entity_id: entityId, id, name, payload } });
      return stream.next();
    },
    end: () => stream.end(),
  };
}

/** Connects to a function and discovers it, as a runtime of the version that the dialect's SDKs have. */
export async function discoverRaw(
  t: Scope,
  options: { readonly url: string; readonly dialect: WireDialect; readonly devMode?: boolean },
): Promise<RawFunction> {
  const { url, dialect, devMode = true } = options;
  const wire = loadWire(dialect);
  const names = WIRE_NAMES[dialect];
  const client = new Client(url, credentials.createInsecure());
  t.onTestFinished(async () => client.close());
  let registry: FileRegistry | undefined;

  const messageOf = (typeName: string): DescMessage => {
    const found = registry?.getMessage(typeName);
    if (found === undefined) throw new Error(`the function has no message ${typeName}`);
    return found;
  };

  /** Every Any in it becomes `{ '@type': ..., ...fields }`. */
  const plain = (message: protobuf.Message): Plain => {
    const unpack = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(unpack);
      if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
      if ('type_url' in value && typeof value.type_url === 'string' && value.type_url.startsWith(PROTOBUF_URL)) {
        const typeName = value.type_url.slice(PROTOBUF_URL.length);
        const bytes = 'value' in value && value.value instanceof Uint8Array ? value.value : new Uint8Array();
        const schema = messageOf(typeName);
        const json = toJson(schema, fromBinary(schema, bytes), { alwaysEmitImplicit: true }) as JsonObject;
        return { '@type': typeName, ...json };
      }
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpack(inner)]));
    };
    return unpack(message.$type.toObject(message, { json: false })) as Plain;
  };

  const methodOf = (name: string) => {
    const [service = '', short = ''] = name.split('/');
    const method = wire.lookupService(`${names.root}.${service}`).methods[short]?.resolve();
    if (!isResolved(method)) throw new Error(`${dialect} has no method ${name}`);
    const { resolvedRequestType: request, resolvedResponseType: response } = method;
    return {
      path: `/${names.root}.${name}`,
      encode: (message: Plain) => Buffer.from(request.encode(message).finish()),
      decode: (bytes: Buffer) => response.decode(bytes) as protobuf.Message,
    };
  };

  const unary = (name: string, request: Plain) => {
    const { path, encode, decode } = methodOf(name);
    return new Promise<protobuf.Message>((resolve, reject) => {
      const deadline = Date.now() + CALL_WITHIN_MS;
      client.makeUnaryRequest(path, encode, decode, request, { deadline }, (error, answer) =>
        error === null && answer !== undefined ? resolve(answer) : reject(error),
      );
    });
  };

  const [major, minor] = names.version;
  const answer = await unary(names.discover, {
    protocol_major_version: major,
    protocol_minor_version: minor,
    proxy_name: 'test',
    dev_mode: devMode,
    ...(dialect === 'kalix' ? { internal_proxy_hostname: '127.0.0.1', proxy_port: 9 } : {}),
  });
  const { proto, ...spec } = plain(answer);
  registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, proto as Uint8Array));

  return {
    names,
    spec,
    call: async (method, request) => plain(await unary(method, request)),
    open(name) {
      const { path, encode, decode } = methodOf(name);
      const stream = client.makeBidiStreamRequest(path, encode, decode);
      const ended = once(stream, 'status').then(([status]) => {
        if (status.code !== 0) throw new Error(`the stream ended with ${status.code} ${status.details}`);
      });
      // Told by `next` and `end`.
      ended.catch(() => undefined);
      stream.on('error', () => undefined);
      const messages = stream[Symbol.asyncIterator]() as AsyncIterator<protobuf.Message>;
      return {
        send: (message) => void stream.write(message),
        async next() {
          const late = AbortSignal.timeout(CALL_WITHIN_MS);
          const silence = once(late, 'abort').then(() => Promise.reject(new Error('the function sent nothing')));
          const { value, done } = await Promise.race([messages.next(), silence]);
          if (done === true) throw new Error('the function ended the stream');
          return plain(value);
        },
        async end() {
          stream.end();
          const rest: Plain[] = [];
          for (let message = await messages.next(); message.done !== true; message = await messages.next()) {
            rest.push(plain(message.value));
          }
          await ended;
          return rest;
        },
      };
    },
    pack(typeName, json) {
      const schema = messageOf(typeName);
      return { type_url: PROTOBUF_URL + typeName, value: toBinary(schema, fromJson(schema, json)) };
    },
  };
}

type ResolvedMethod = protobuf.Method & { resolvedRequestType: protobuf.Type; resolvedResponseType: protobuf.Type };

function isResolved(method: protobuf.ReflectionObject | undefined): method is ResolvedMethod {
  return method !== undefined && 'resolvedRequestType' in method && method.resolvedRequestType !== null;
}
