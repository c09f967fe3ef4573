import type protobuf from 'protobufjs';
import type { Effect } from '../model/effect.ts';
import type { ReplicatedAction } from '../model/replicated.ts';
import type { ReplicatedProtocol } from './dialect.ts';
import {
  type ClientActionMessage,
  type FailureMessage,
  NOTHING,
  type SideEffectMessage,
  toAnswer,
  toAny,
  toMetadata,
  toSideEffects,
} from './messages.ts';
import type { DeltaFormat, DeltaMessage } from './replicated-deltas.ts';

interface ActionMessage {
  readonly create?: DeltaMessage | null;
  readonly update?: DeltaMessage | null;
  readonly delete?: object | null;
}
interface AnsweredMessage {
  readonly command_id?: number;
  readonly client_action?: ClientActionMessage | null;
  readonly side_effects?: SideEffectMessage[];
  readonly state_action?: ActionMessage | null;
}
interface StreamOutMessage {
  readonly reply?: (AnsweredMessage & { readonly streamed?: boolean }) | null;
  readonly streamed_message?: (AnsweredMessage & { readonly end_stream?: boolean }) | null;
  readonly stream_cancelled_response?: AnsweredMessage | null;
  readonly failure?: FailureMessage | null;
}

/** The stream of replicated entities (PROTOCOLS 7). */
export function replicatedProtocol(options: {
  /** gRPC path. */
  readonly path: string;
  readonly streamIn: protobuf.Type;
  readonly streamOut: protobuf.Type;
  readonly format: DeltaFormat;
  /** The member of the stream by which a function is told of a change. */
  readonly change: string;
  /** Commands may have more than one answer. */
  readonly streams: boolean;
}): ReplicatedProtocol {
  const { path, streamIn, streamOut, format, change, streams } = options;

  function toAction(action: ActionMessage | null | undefined): ReplicatedAction | undefined {
    if (action?.delete != null) return { kind: 'delete' };
    const delta =
      action?.create != null
        ? format.whole?.decode(action.create)
        : action?.update != null
          ? format.decode(action.update)
          : undefined;
    return delta && { kind: 'update', delta };
  }

  function toEffect(message: AnsweredMessage, streamed = false): Effect {
    const replicated = toAction(message.state_action);
    return {
      answer: toAnswer(message.client_action),
      sideEffects: toSideEffects(message.side_effects),
      events: NOTHING,
      ...(replicated && { replicated }),
      ...(streamed && { streamed }),
    };
  }

  return {
    path,
    encodeInit({ service, entityId, delta }) {
      const init = { service_name: service, entity_id: entityId };
      if (delta === undefined) return streamIn.encode({ init }).finish();
      const value =
        format.whole === undefined ? { delta: format.encode(delta) } : { state: format.whole.encode(delta) };
      return streamIn.encode({ init: { ...init, ...value } }).finish();
    },
    encodeCommand: ({ entityId, id, name, payload, metadata, streamed }) =>
      streamIn
        .encode({
          command: {
            entity_id: entityId,
            id,
            name,
            payload: toAny(payload),
            metadata: toMetadata(metadata),
            ...(streamed && { streamed }),
          },
        })
        .finish(),
    encodeDelta: (delta) => streamIn.encode({ [change]: format.encode(delta) }).finish(),
    ...(streams && {
      encodeStreamCancelled: ({ entityId, id }: { readonly entityId: string; readonly id: number }) =>
        streamIn.encode({ stream_cancelled: { entity_id: entityId, id } }).finish(),
    }),
    decodeOut(bytes) {
      const out = streamOut.decode(bytes) as StreamOutMessage;
      if (out.reply != null) {
        return { kind: 'reply', commandId: out.reply.command_id ?? 0, effect: toEffect(out.reply, out.reply.streamed) };
      }
      if (out.streamed_message != null) {
        const { command_id, client_action, side_effects, end_stream } = out.streamed_message;
        return {
          kind: 'streamed',
          message: {
            commandId: command_id ?? 0,
            answer: toAnswer(client_action),
            sideEffects: toSideEffects(side_effects),
            isEnd: end_stream ?? false,
          },
        };
      }
      if (out.stream_cancelled_response != null) {
        const { command_id, ...rest } = out.stream_cancelled_response;
        return { kind: 'cancelled', commandId: command_id ?? 0, effect: toEffect(rest) };
      }
      if (out.failure != null) {
        return {
          kind: 'failure',
          commandId: out.failure.command_id ?? 0,
          description: out.failure.description ?? '',
          grpcStatus: out.failure.grpc_status_code || undefined,
        };
      }
      return { kind: 'unknown' };
    },
  };
}
