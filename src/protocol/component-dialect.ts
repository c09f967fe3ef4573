import type protobuf from 'protobufjs';
import type { ComponentKind } from '../model/component.ts';
import type { Answer, Call, Effect } from '../model/effect.ts';
import type { Metadata, MetadataEntry, Payload } from '../model/payload.ts';
import type { Dialect, EntityOut, EntityProtocol, ProxyInfo, RawSpec } from './dialect.ts';

/** All that differs between the two dialects whose discovery lists components (C and D): see PROTOCOLS 1 to 8. */
export interface ComponentDialectTable {
  readonly name: string;
  readonly version: { readonly major: number; readonly minor: number };
  /** `kalix` or `akkaserverless`: the root of every package name. */
  readonly root: string;
  /** Component kinds (last package segment and service) that exist and are not served. */
  readonly unserved: readonly (readonly [string, string])[];
  /** ProxyInfo has the fields by which a function reaches the runtime. */
  readonly namesProxy: boolean;
  /** An event sourced entity may be asked for its state (`snapshot_request`). */
  readonly tellsState: boolean;
}

interface AnyMessage {
  type_url?: string;
  value?: Uint8Array;
}
interface MetadataMessage {
  entries?: { key?: string; string_value?: string; bytes_value?: Uint8Array; value?: string }[];
}
interface CallMessage {
  service_name?: string;
  command_name?: string;
  payload?: AnyMessage | null;
  metadata?: MetadataMessage | null;
}
interface FailureMessage {
  command_id?: number;
  description?: string;
  grpc_status_code?: number;
  restart?: boolean;
}
interface ReplyMessage {
  payload?: AnyMessage | null;
  metadata?: MetadataMessage | null;
}
interface ClientActionMessage {
  reply?: ReplyMessage | null;
  forward?: CallMessage | null;
  failure?: FailureMessage | null;
}
interface DurationMessage {
  seconds?: number;
  nanos?: number;
}
interface EntityReplyMessage {
  command_id?: number;
  client_action?: ClientActionMessage | null;
  side_effects?: CallMessage[];
  events?: AnyMessage[];
  snapshot?: AnyMessage | null;
  delete?: DurationMessage | null;
  state_action?: {
    update?: { value?: AnyMessage | null } | null;
    delete?: { cleanup_after?: DurationMessage | null } | null;
  } | null;
}
interface StreamOutMessage {
  reply?: EntityReplyMessage | null;
  failure?: FailureMessage | null;
  snapshot_reply?: { request_id?: number; snapshot?: AnyMessage | null } | null;
}
interface ActionResponseMessage extends ClientActionMessage {
  side_effects?: CallMessage[];
}
interface SpecMessage {
  proto?: Uint8Array;
  components?: {
    component_type?: string;
    service_name?: string;
    entity?: {
      entity_type?: string;
      passivation_strategy?: { timeout?: { timeout?: number } | null } | null;
    } | null;
  }[];
  service_info?: {
    service_name?: string;
    service_runtime?: string;
    support_library_name?: string;
    support_library_version?: string;
    protocol_major_version?: number;
    protocol_minor_version?: number;
    env?: Readonly<Record<string, string>>;
  } | null;
}

const NOTHING: readonly never[] = Object.freeze([]);
const NO_ANSWER: Answer = Object.freeze({ kind: 'none' });
const UNKNOWN: EntityOut = Object.freeze({ kind: 'unknown' });

/** Builds dialect C or D from its table and its wire messages (`wire` keeps the field names of the .proto files). */
export function createComponentDialect(table: ComponentDialectTable, wire: protobuf.Root): Dialect {
  const { root } = table;
  const type = (name: string) => wire.lookupType(`${root}.${name}`);
  const kinds = new Map<string, ComponentKind>([
    [`${root}.component.eventsourcedentity.EventSourcedEntities`, 'event-sourced'],
    [`${root}.component.valueentity.ValueEntities`, 'value'],
    [`${root}.component.action.Actions`, 'action'],
  ]);
  const supported = [...kinds.keys()];

  const eventSourcedIn = type('component.eventsourcedentity.EventSourcedStreamIn');
  const eventSourcedOut = type('component.eventsourcedentity.EventSourcedStreamOut');
  const valueIn = type('component.valueentity.ValueEntityStreamIn');
  const valueOut = type('component.valueentity.ValueEntityStreamOut');
  const actionCommand = type('component.action.ActionCommand');
  const actionResponse = type('component.action.ActionResponse');
  const proxyInfo = type('protocol.ProxyInfo');
  const spec = type('protocol.Spec');
  const userFunctionError = type('protocol.UserFunctionError');

  const entity = (
    streamIn: protobuf.Type,
    streamOut: protobuf.Type,
  ): Pick<EntityProtocol, 'encodeCommand' | 'decodeOut'> => ({
    encodeCommand: ({ entityId, id, name, payload, metadata }) =>
      streamIn
        .encode({
          command: { entity_id: entityId, id, name, payload: toAny(payload), metadata: toMetadata(metadata) },
        })
        .finish(),
    decodeOut(bytes) {
      const out = streamOut.decode(bytes) as StreamOutMessage;
      if (out.reply != null)
        return { kind: 'reply', commandId: out.reply.command_id ?? 0, effect: toEffect(out.reply) };
      if (out.failure != null) {
        return {
          kind: 'failure',
          commandId: out.failure.command_id ?? 0,
          description: out.failure.description ?? '',
          grpcStatus: out.failure.grpc_status_code || undefined,
        };
      }
      return UNKNOWN;
    },
  });

  return {
    name: table.name,
    version: table.version,
    discoverPath: `/${root}.protocol.Discovery/Discover`,
    reportErrorPath: `/${root}.protocol.Discovery/ReportError`,
    proxyTerminatedPath: `/${root}.protocol.Discovery/ProxyTerminated`,
    kinds,
    unserved: new Map(table.unserved.map(([name, what]) => [`${root}.component.${name}`, what])),
    eventSourced: {
      path: `/${root}.component.eventsourcedentity.EventSourcedEntities/Handle`,
      ...entity(eventSourcedIn, eventSourcedOut),
      encodeInit: ({ service, entityId, snapshot }) =>
        eventSourcedIn
          .encode({
            init: {
              service_name: service,
              entity_id: entityId,
              ...(snapshot && {
                snapshot: { snapshot_sequence: snapshot.seq, snapshot: toAny(snapshot.payload) },
              }),
            },
          })
          .finish(),
      encodeEvent: (seq, payload) =>
        eventSourcedIn.encode({ event: { sequence: seq, payload: toAny(payload) } }).finish(),
      ...(table.tellsState && {
        state: {
          encodeRequest: (id: number) => eventSourcedIn.encode({ snapshot_request: { request_id: id } }).finish(),
          decodeReply(bytes: Uint8Array) {
            const { snapshot } = (eventSourcedOut.decode(bytes) as StreamOutMessage).snapshot_reply ?? {};
            return snapshot == null ? undefined : toPayload(snapshot);
          },
        },
      }),
    },
    value: {
      path: `/${root}.component.valueentity.ValueEntities/Handle`,
      ...entity(valueIn, valueOut),
      // The state message is always present, with no value for a new entity: Kalix Java fails without it (PROTOCOLS 6).
      encodeInit: ({ service, entityId, state }) =>
        valueIn
          .encode({ init: { service_name: service, entity_id: entityId, state: state ? { value: toAny(state) } : {} } })
          .finish(),
    },
    action: {
      unaryPath: `/${root}.component.action.Actions/HandleUnary`,
      encodeCommand: ({ service, name, payload, metadata }) =>
        actionCommand
          .encode({ service_name: service, name, payload: toAny(payload), metadata: toMetadata(metadata) })
          .finish(),
      decodeResponse(bytes) {
        const response = actionResponse.decode(bytes) as ActionResponseMessage;
        return {
          answer: toAnswer(response),
          sideEffects: toCalls(response.side_effects),
          events: NOTHING,
        };
      },
    },
    encodeProxyInfo: (info) => proxyInfo.encode(toProxyInfo(table, info, supported)).finish(),
    decodeSpec: (bytes) => toRawSpec(spec.decode(bytes) as SpecMessage),
    encodeError: ({ code, message, detail }) => userFunctionError.encode({ code, message, detail }).finish(),
  };
}

function toProxyInfo(table: ComponentDialectTable, info: ProxyInfo, supported: readonly string[]) {
  return {
    protocol_major_version: table.version.major,
    protocol_minor_version: table.version.minor,
    proxy_name: info.name,
    proxy_version: info.version,
    supported_entity_types: supported,
    dev_mode: info.devMode,
    ...(table.namesProxy && {
      proxy_hostname: info.hostname,
      internal_proxy_hostname: info.hostname,
      proxy_port: info.port,
    }),
  };
}

function toRawSpec(message: SpecMessage): RawSpec {
  const info = message.service_info ?? {};
  return {
    fileDescriptorSet: message.proto ?? new Uint8Array(),
    components: (message.components ?? []).map((component) => ({
      type: component.component_type ?? '',
      service: component.service_name ?? '',
      entityType: component.entity?.entity_type ?? '',
      passivationMs: component.entity?.passivation_strategy?.timeout?.timeout || undefined,
    })),
    serviceName: info.service_name ?? '',
    serviceRuntime: info.service_runtime ?? '',
    supportLibrary: info.support_library_name ?? '',
    supportLibraryVersion: info.support_library_version ?? '',
    protocolMajor: info.protocol_major_version ?? 0,
    protocolMinor: info.protocol_minor_version ?? 0,
    variables: new Map(Object.entries(info.env ?? {})),
  };
}

function toEffect(reply: EntityReplyMessage): Effect {
  const effect: { -readonly [K in keyof Effect]: Effect[K] } = {
    answer: reply.client_action == null ? NO_ANSWER : toAnswer(reply.client_action),
    sideEffects: toCalls(reply.side_effects),
    events: reply.events === undefined || reply.events.length === 0 ? NOTHING : reply.events.map(toPayload),
  };
  if (reply.snapshot != null) effect.snapshot = toPayload(reply.snapshot);
  if (reply.delete != null) effect.deletedAfterMs = toMs(reply.delete);
  if (reply.state_action?.update != null) {
    effect.state = { kind: 'update', value: toPayload(reply.state_action.update.value ?? {}) };
  } else if (reply.state_action?.delete != null) {
    effect.state = { kind: 'delete', cleanupAfterMs: toMs(reply.state_action.delete.cleanup_after ?? {}) };
  }
  return effect;
}

function toAnswer(action: ClientActionMessage): Answer {
  if (action.reply != null) {
    return {
      kind: 'reply',
      payload: toPayload(action.reply.payload ?? {}),
      metadata: fromMetadata(action.reply.metadata),
    };
  }
  if (action.forward != null) return { kind: 'forward', call: toCall(action.forward) };
  if (action.failure != null) {
    const { description, grpc_status_code: grpcStatus, restart } = action.failure;
    return {
      kind: 'failure',
      description: description ?? '',
      restart: restart ?? false,
      ...(grpcStatus ? { grpcStatus } : {}),
    };
  }
  return NO_ANSWER;
}

function toCalls(calls: readonly CallMessage[] | undefined): readonly Call[] {
  return calls === undefined || calls.length === 0 ? NOTHING : calls.map(toCall);
}

function toCall(call: CallMessage): Call {
  return {
    service: call.service_name ?? '',
    method: call.command_name ?? '',
    payload: toPayload(call.payload ?? {}),
    metadata: fromMetadata(call.metadata),
  };
}

function toPayload(any: AnyMessage): Payload {
  return { typeUrl: any.type_url ?? '', value: any.value ?? new Uint8Array() };
}

function toAny(payload: Payload): AnyMessage {
  return { type_url: payload.typeUrl, value: payload.value };
}

function toMetadata(metadata: Metadata): MetadataMessage | undefined {
  if (metadata.length === 0) return undefined;
  return {
    entries: metadata.map(({ key, value }) =>
      typeof value === 'string' ? { key, string_value: value } : { key, bytes_value: value },
    ),
  };
}

function fromMetadata(metadata: MetadataMessage | null | undefined): Metadata {
  if (metadata?.entries === undefined || metadata.entries.length === 0) return NOTHING;
  return metadata.entries.map((entry): MetadataEntry => {
    // `value` is the oneof's discriminator that protobufjs puts beside its members.
    if (entry.value === 'bytes_value') return { key: entry.key ?? '', value: entry.bytes_value ?? new Uint8Array() };
    return { key: entry.key ?? '', value: entry.string_value ?? '' };
  });
}

function toMs(duration: DurationMessage): number {
  return (duration.seconds ?? 0) * 1000 + Math.round((duration.nanos ?? 0) / 1e6);
}
