import type protobuf from 'protobufjs';
import type { ActionProtocol, EntityOut, EntityProtocol, EventSourcedProtocol } from './dialect.ts';
import {
  type ActionResponseMessage,
  type AnyMessage,
  type EntityReplyMessage,
  type FailureMessage,
  toActionEffect,
  toAny,
  toEffect,
  toMetadata,
  toPayload,
} from './messages.ts';

interface StreamOutMessage {
  reply?: EntityReplyMessage | null;
  failure?: FailureMessage | null;
  snapshot_reply?: { request_id?: number; snapshot?: AnyMessage | null } | null;
}

/** The two directions of an entity's stream. */
interface StreamTypes {
  /** gRPC path. */
  readonly path: string;
  readonly streamIn: protobuf.Type;
  readonly streamOut: protobuf.Type;
}

const UNKNOWN: EntityOut = Object.freeze({ kind: 'unknown' });

/** The stream of event sourced entities. `tellsState`: it has `snapshot_request`. */
export function eventSourcedProtocol(types: StreamTypes, options: { tellsState: boolean }): EventSourcedProtocol {
  const { streamIn, streamOut } = types;
  return {
    ...commandsOf(types),
    encodeInit: ({ service, entityId, snapshot }) =>
      streamIn
        .encode({
          init: {
            service_name: service,
            entity_id: entityId,
            ...(snapshot && { snapshot: { snapshot_sequence: snapshot.seq, snapshot: toAny(snapshot.payload) } }),
          },
        })
        .finish(),
    encodeEvent: (seq, payload) => streamIn.encode({ event: { sequence: seq, payload: toAny(payload) } }).finish(),
    ...(options.tellsState && {
      state: {
        encodeRequest: (id: number) => streamIn.encode({ snapshot_request: { request_id: id } }).finish(),
        decodeReply(bytes: Uint8Array) {
          const { snapshot } = (streamOut.decode(bytes) as StreamOutMessage).snapshot_reply ?? {};
          return snapshot == null ? undefined : toPayload(snapshot);
        },
      },
    }),
  };
}

/** The stream of value entities. */
export function valueProtocol(types: StreamTypes): EntityProtocol {
  return {
    ...commandsOf(types),
    // The state message is always present, with no value for a new entity: Kalix Java fails without it (PROTOCOLS 6).
    encodeInit: ({ service, entityId, state }) =>
      types.streamIn
        .encode({ init: { service_name: service, entity_id: entityId, state: state ? { value: toAny(state) } : {} } })
        .finish(),
  };
}

function commandsOf({ path, streamIn, streamOut }: StreamTypes): Omit<EntityProtocol, 'encodeInit'> {
  return {
    path,
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
  };
}

/** The calls of actions. */
export function actionProtocol(options: {
  /** The gRPC path of a method: its name is given as Unary, StreamedIn, StreamedOut or Streamed. */
  readonly path: (kind: string) => string;
  readonly command: protobuf.Type;
  readonly response: protobuf.Type;
  /** A stream of commands begins with a message that only says whom it is for; otherwise each message says it. */
  readonly routesFirst: boolean;
}): ActionProtocol {
  const { path, command, response, routesFirst } = options;
  const encodeCommand: ActionProtocol['encodeCommand'] = ({ service, name, metadata }, payload) =>
    command.encode({ service_name: service, name, payload: toAny(payload), metadata: toMetadata(metadata) }).finish();
  return {
    paths: {
      unary: path('Unary'),
      streamedIn: path('StreamedIn'),
      streamedOut: path('StreamedOut'),
      streamed: path('Streamed'),
    },
    encodeCommand,
    openInput(call) {
      if (!routesFirst) return { encode: (payload) => encodeCommand(call, payload) };
      const { service, name, metadata } = call;
      return {
        first: command.encode({ service_name: service, name, metadata: toMetadata(metadata) }).finish(),
        encode: (payload) => command.encode({ payload: toAny(payload) }).finish(),
      };
    },
    decodeResponse: (bytes) => toActionEffect(response.decode(bytes) as ActionResponseMessage),
  };
}
