import {
  createFileRegistry,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonObject,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type protobuf from 'protobufjs';
import { loadWire, type WireDialect } from '../../src/protocol/wire.ts';
import type { Plain, RawPayload } from './raw-function.ts';
import type { Scope } from './scope.ts';

/** What a script has to know of its dialect: where its services are, and how it lists its components. */
interface Names {
  readonly discovery: string;
  readonly types: Readonly<Record<ScriptedKind, string>>;
  readonly version: readonly [number, number];
  specOf(script: Script): Plain;
}

type ScriptedKind = 'event-sourced' | 'value' | 'replicated' | 'action';

const componentsOf = (root: string, version: readonly [number, number]): Names => ({
  discovery: `${root}.protocol.Discovery`,
  types: {
    'event-sourced': `${root}.component.eventsourcedentity.EventSourcedEntities`,
    value: `${root}.component.valueentity.ValueEntities`,
    replicated: `${root}.component.replicatedentity.ReplicatedEntities`,
    action: `${root}.component.action.Actions`,
  },
  version,
  specOf({ components }) {
    return {
      components: components.map(({ kind, type, service, entityType }) => ({
        component_type: type ?? this.types[kind],
        service_name: service,
        ...(kind === 'action' ? { component: {} } : { entity: { entity_type: entityType ?? service } }),
      })),
    };
  },
});

const entitiesOf = (action: string, version: readonly [number, number]): Names => ({
  discovery: 'cloudstate.EntityDiscovery',
  types: {
    'event-sourced': 'cloudstate.eventsourced.EventSourced',
    value: 'cloudstate.valueentity.ValueEntity',
    replicated: 'cloudstate.crdt.Crdt',
    action,
  },
  version,
  specOf({ components }) {
    return {
      entities: components.map(({ kind, type, service, entityType }) => ({
        entity_type: type ?? this.types[kind],
        service_name: service,
        persistence_id: entityType ?? service,
      })),
    };
  },
});

const NAMES: Readonly<Record<WireDialect, Names>> = {
  'cloudstate-first': entitiesOf('cloudstate.function.StatelessFunction', [0, 0]),
  cloudstate: entitiesOf('cloudstate.action.ActionProtocol', [0, 2]),
  akkaserverless: componentsOf('akkaserverless', [0, 7]),
  kalix: componentsOf('kalix', [1, 1]),
};

/** A message of the wire contract, or bytes that go out as they are. */
export type Answer = Plain | Buffer;

/** One command as the function got it. */
export interface ScriptedCommand {
  readonly service: string;
  readonly name: string;
  /** Of entities: 1, 2, 3 in each stream. */
  readonly id: number;
  /** More than one answer is taken. */
  readonly streamed: boolean;
  /** The input message, as JSON. */
  readonly input: JsonObject;
  readonly typeUrl: string;
}

/** The stream of one entity, from init to its end, as the function sees it. */
export interface ScriptedEntity {
  readonly service: string;
  readonly id: string;
  /** The init message as it came: snapshot and state are in here. */
  readonly init: Plain;
  /** What was replayed before the first command, or between commands. */
  readonly events: readonly Plain[];
  readonly commands: readonly ScriptedCommand[];
  /** What else came after init: changes of a replicated value, and streams that were cancelled. */
  readonly others: readonly Plain[];
  /** The runtime has ended the stream. */
  readonly isOver: boolean;
  send(message: Answer): void;
  /** Ends the stream in good order. */
  end(): void;
}

export interface ScriptedFunction {
  /** http://host:port */
  readonly url: string;
  readonly port: number;
  /** Every entity stream that was opened, in order. */
  readonly entities: readonly ScriptedEntity[];
  /** What the runtime reported: the code and the sentence of each error and, where it told that, the place as `file:line`. */
  readonly reports: readonly { readonly code: string; readonly message: string; readonly at?: string }[];
  /** How often it was discovered. */
  readonly discoveries: number;
  /** What the runtimes told of themselves, in order: a ProxyInfo for each discovery. */
  readonly runtimes: readonly Plain[];
  /** A payload: a message of the function's own, given by its proto3 JSON. */
  pack(typeName: string, json: JsonObject): { readonly type_url: string; readonly value: Buffer };
  /** Breaks all connections, as a process that dies does, and listens no more. */
  kill(): void;
  /** Listens again where it was. */
  restart(): Promise<void>;
}

export interface ScriptedComponent {
  readonly kind: ScriptedKind;
  /** What discovery calls the kind; absent: what the protocol does. */
  readonly type?: string;
  readonly service: string;
  readonly entityType?: string;
}

export interface Script {
  /** Absent: Kalix'. */
  readonly dialect?: WireDialect;
  /** A FileDescriptorSet. */
  readonly descriptor: Uint8Array;
  readonly components: readonly ScriptedComponent[];
  /** Fields of ServiceInfo, over what an SDK of protocol 1.1 tells. */
  readonly serviceInfo?: Plain;
  /** The reply to an entity's command, whole; undefined: none, and `entity.send` may do what it likes. */
  onCommand?(command: ScriptedCommand, entity: ScriptedEntity): Answer | undefined;
  /** What else comes on an entity's stream (`others`), as it comes. */
  onOther?(message: Plain, entity: ScriptedEntity): void;
  /** The response to a unary call of an action; a promise may stay open. */
  onAction?(command: ScriptedCommand): Answer | Promise<Answer>;
  /** Port to listen on, where it matters. */
  readonly port?: number;
  /** Of TLS; absent: clear text. */
  readonly credentials?: ServerCredentials;
}

/** A payload of the reply in an answer: `{ client_action: ... }`. */
export function replyWith(payload: RawPayload): Plain {
  return { client_action: { reply: { payload } } };
}

/**
 * A function in the test's own process that speaks its dialect's protocol without an SDK, so that it can break each of its
 * rules. Stopped when the test has finished.
 */
export async function startScriptedFunction(t: Scope, script: Script): Promise<ScriptedFunction> {
  const { dialect = 'kalix' } = script;
  const names = NAMES[dialect];
  const wire = loadWire(dialect);
  let registry: FileRegistry | undefined;
  const entities: ScriptedEntity[] = [];
  const reports: { code: string; message: string; at?: string }[] = [];
  const runtimes: Plain[] = [];
  let port = script.port ?? 0;
  let server: Server | undefined;

  const messageOf = (typeName: string) => {
    // Not before it is needed: a test may tell the runtime a descriptor that is none.
    registry ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, script.descriptor));
    const found = registry.getMessage(typeName);
    if (found === undefined) throw new Error(`the scripted function has no message ${typeName}`);
    return found;
  };
  const toCommand = (command: Plain, service: string): ScriptedCommand => {
    const payload = command.payload as RawPayload;
    const schema = messageOf(payload.type_url.slice(payload.type_url.lastIndexOf('/') + 1));
    return {
      service,
      name: command.name as string,
      id: (command.id as number | undefined) ?? 0,
      streamed: command.streamed === true,
      typeUrl: payload.type_url,
      input: toJson(schema, fromBinary(schema, payload.value), { alwaysEmitImplicit: true }) as JsonObject,
    };
  };

  const handle = (stream: ServerDuplexStream<Plain, Answer>): void => {
    let entity:
      | (ScriptedEntity & { events: Plain[]; commands: ScriptedCommand[]; others: Plain[]; isOver: boolean })
      | undefined;
    stream.on('data', (message: Plain) => {
      const init = message.init as Plain | null;
      if (init !== null) {
        entity = {
          service: init.service_name as string,
          id: init.entity_id as string,
          init,
          events: [],
          commands: [],
          others: [],
          isOver: false,
          send: (answer) => void stream.write(answer),
          end: () => void stream.end(),
        };
        entities.push(entity);
        return;
      }
      if (entity === undefined) throw new Error('the runtime sent something before init');
      if (message.event != null) {
        entity.events.push(message.event as Plain);
        return;
      }
      if (message.command == null) {
        entity.others.push(message);
        script.onOther?.(message, entity);
        return;
      }
      const command = toCommand(message.command as Plain, entity.service);
      entity.commands.push(command);
      const answer = script.onCommand?.(command, entity);
      if (answer !== undefined) stream.write(answer);
    });
    stream.on('end', () => {
      if (entity !== undefined) entity.isOver = true;
      stream.end();
    });
    stream.on('cancelled', () => {
      if (entity !== undefined) entity.isOver = true;
    });
    // The runtime cancels a stream that it gives up.
    stream.on('error', () => undefined);
  };
  const handleUnary = (call: ServerUnaryCall<Plain, Answer>, done: sendUnaryData<Answer>): void => {
    const command = toCommand(call.request, call.request.service_name as string);
    Promise.resolve(script.onAction?.(command) ?? {}).then(
      (answer) => done(null, answer),
      (error) => done(error),
    );
  };

  /** `handlers`: by the names of the methods, which begin with a capital in some dialects; a service may be of others only. */
  function serve(next: Server, service: string, handlers: UntypedServiceImplementation): void {
    if (wire.lookup(service) === null) return;
    const definition = definitionOf(wire, service);
    const capital = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);
    const named = Object.entries(handlers).map(([name, handler]) => [
      name in definition ? name : capital(name),
      handler,
    ]);
    next.addService(definition, Object.fromEntries(named));
  }

  async function listen(): Promise<void> {
    const next = new Server({ 'grpc.max_receive_message_length': -1 });
    serve(next, names.discovery, {
      discover: ({ request }: { request: Plain }, done: sendUnaryData<Answer>) => {
        runtimes.push(request);
        done(null, specOf(script, names));
      },
      reportError: ({ request }: { request: Plain }, done: sendUnaryData<Answer>) => {
        const [place] = (request.source_locations ?? []) as Plain[];
        reports.push({
          code: String(request.code),
          message: String(request.message),
          ...(place !== undefined && { at: `${place.file_name}:${Number(place.start_line) + 1}` }),
        });
        done(null, {});
      },
      proxyTerminated: (_call: unknown, done: sendUnaryData<Answer>) => done(null, {}),
      healthCheck: (_call: unknown, done: sendUnaryData<Answer>) => done(null, {}),
    });
    for (const kind of ['event-sourced', 'value', 'replicated'] as const) serve(next, names.types[kind], { handle });
    serve(next, names.types.action, { handleUnary });
    port = await new Promise<number>((resolve, reject) => {
      next.bindAsync(`127.0.0.1:${port}`, script.credentials ?? ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    server = next;
  }

  await listen();
  t.onTestFinished(async () => server?.forceShutdown());
  return {
    url: `${script.credentials === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    entities,
    reports,
    runtimes,
    get discoveries() {
      return runtimes.length;
    },
    pack(typeName, json) {
      const schema = messageOf(typeName);
      const value = Buffer.from(toBinary(schema, fromJson(schema, json)));
      return { type_url: `type.googleapis.com/${typeName}`, value };
    },
    kill() {
      server?.forceShutdown();
      server = undefined;
    },
    restart: listen,
  };
}

function specOf(script: Script, names: Names): Plain {
  const [major, minor] = names.version;
  return {
    proto: script.descriptor,
    ...names.specOf(script),
    service_info: {
      service_name: 'scripted',
      support_library_name: 'scripted',
      protocol_major_version: major,
      protocol_minor_version: minor,
      ...script.serviceInfo,
    },
  };
}

/** Every method of a service of the contract, for grpc-js. */
function definitionOf(wire: protobuf.Root, service: string): ServiceDefinition {
  const definition: Record<string, ServiceDefinition[string]> = {};
  for (const method of wire.lookupService(service).methodsArray) {
    method.resolve();
    const request = method.resolvedRequestType as protobuf.Type;
    const response = method.resolvedResponseType as protobuf.Type;
    definition[method.name] = {
      path: `/${service}/${method.name}`,
      originalName: method.name,
      requestStream: method.requestStream === true,
      responseStream: method.responseStream === true,
      requestSerialize: (message: Plain) => Buffer.from(request.encode(message).finish()),
      requestDeserialize: (bytes: Buffer) => request.decode(bytes) as unknown as Plain,
      responseSerialize: (answer: Answer) =>
        Buffer.isBuffer(answer) ? answer : Buffer.from(response.encode(answer).finish()),
      responseDeserialize: (bytes: Buffer) => response.decode(bytes) as unknown as Plain,
    };
  }
  return definition;
}
