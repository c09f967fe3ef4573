import type { Answer, Call, Effect, SideEffect } from '../model/effect.ts';
import type { Metadata, MetadataEntry, Payload } from '../model/payload.ts';
import type { ProxyInfo, RawSpec } from './dialect.ts';

// The messages that all dialects have in common, as `loadWire` decodes them, and the model's words for them. A field that
// a dialect does not have is absent in what its functions send, and is not encoded in what they are sent.

export interface AnyMessage {
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
export interface SideEffectMessage extends CallMessage {
  synchronous?: boolean;
}
export interface FailureMessage {
  command_id?: number;
  description?: string;
  grpc_status_code?: number;
  restart?: boolean;
}
interface ReplyMessage {
  payload?: AnyMessage | null;
  metadata?: MetadataMessage | null;
}
export interface ClientActionMessage {
  reply?: ReplyMessage | null;
  forward?: CallMessage | null;
  failure?: FailureMessage | null;
}
interface DurationMessage {
  seconds?: number;
  nanos?: number;
}
export interface EntityReplyMessage {
  command_id?: number;
  client_action?: ClientActionMessage | null;
  side_effects?: SideEffectMessage[];
  events?: AnyMessage[];
  snapshot?: AnyMessage | null;
  delete?: DurationMessage | null;
  state_action?: {
    update?: { value?: AnyMessage | null } | null;
    delete?: { cleanup_after?: DurationMessage | null } | null;
  } | null;
}
export interface ActionResponseMessage extends ClientActionMessage {
  side_effects?: SideEffectMessage[];
}
export interface ServiceInfoMessage {
  service_name?: string;
  service_runtime?: string;
  support_library_name?: string;
  support_library_version?: string;
  protocol_major_version?: number;
  protocol_minor_version?: number;
  env?: Readonly<Record<string, string>>;
}
export interface PassivationMessage {
  timeout?: { timeout?: number } | null;
}

/** For what an effect does not have. */
export const NOTHING: readonly never[] = Object.freeze([]);
const NO_ANSWER: Answer = Object.freeze({ kind: 'none' });

/** The fields of ProxyInfo that every dialect has. */
export function toProxyInfo(
  info: ProxyInfo,
  version: { readonly major: number; readonly minor: number },
  supported: readonly string[],
) {
  return {
    protocol_major_version: version.major,
    protocol_minor_version: version.minor,
    proxy_name: info.name,
    proxy_version: info.version,
    supported_entity_types: supported,
  };
}

/** What a spec tells of the function itself. */
export function toService(
  info: ServiceInfoMessage | null | undefined,
): Omit<RawSpec, 'fileDescriptorSet' | 'components'> {
  return {
    serviceName: info?.service_name ?? '',
    serviceRuntime: info?.service_runtime ?? '',
    supportLibrary: info?.support_library_name ?? '',
    supportLibraryVersion: info?.support_library_version ?? '',
    protocolMajor: info?.protocol_major_version ?? 0,
    protocolMinor: info?.protocol_minor_version ?? 0,
    variables: new Map(Object.entries(info?.env ?? {})),
  };
}

/** Milliseconds; undefined where the function leaves it to the runtime. */
export function toPassivationMs(strategy: PassivationMessage | null | undefined): number | undefined {
  return strategy?.timeout?.timeout || undefined;
}

/** Everything that the reply of an entity asks for. */
export function toEffect(reply: EntityReplyMessage): Effect {
  const effect: { -readonly [K in keyof Effect]: Effect[K] } = {
    answer: toAnswer(reply.client_action),
    sideEffects: toSideEffects(reply.side_effects),
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

/** Everything that the response of an action asks for. */
export function toActionEffect(response: ActionResponseMessage): Effect {
  return { answer: toAnswer(response), sideEffects: toSideEffects(response.side_effects), events: NOTHING };
}

/** What the caller is told; a message that is not there tells nothing. */
export function toAnswer(action: ClientActionMessage | null | undefined): Answer {
  if (action == null) return NO_ANSWER;
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

/** The calls beside an answer. */
export function toSideEffects(calls: readonly SideEffectMessage[] | undefined): readonly SideEffect[] {
  if (calls === undefined || calls.length === 0) return NOTHING;
  return calls.map((call) => ({ ...toCall(call), synchronous: call.synchronous ?? false }));
}

function toCall(call: CallMessage): Call {
  return {
    service: call.service_name ?? '',
    method: call.command_name ?? '',
    payload: toPayload(call.payload ?? {}),
    metadata: fromMetadata(call.metadata),
  };
}

export function toPayload(any: AnyMessage): Payload {
  return { typeUrl: any.type_url ?? '', value: any.value ?? new Uint8Array() };
}

export function toAny(payload: Payload): AnyMessage {
  return { type_url: payload.typeUrl, value: payload.value };
}

/** Undefined where there is none: an empty message is left out. */
export function toMetadata(metadata: Metadata): MetadataMessage | undefined {
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
