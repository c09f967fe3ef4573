import { status } from '@grpc/grpc-js';
import { asBuffer } from '../bytes.ts';
import { asProtobuf } from '../codec/any.ts';
import { entityIdFromPayload } from '../codec/entity-key.ts';
import { createWellFormed, type WellFormed } from '../codec/well-formed.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { FunctionClient } from '../functions/client.ts';
import { GrpcError } from '../functions/grpc-error.ts';
import type { Method } from '../model/component.ts';
import type { Call, Effect } from '../model/effect.ts';
import { statusOf } from '../model/grpc-status.ts';
import { NO_METADATA, type Payload } from '../model/payload.ts';
import { type Descriptors, messageType } from '../protocol/descriptors.ts';
import type { Dialect } from '../protocol/dialect.ts';
import { CallFailure, type Calls, type DoorCall, type DoorReply } from './calls.ts';
import type { LogCalls, LogCommand } from './log-calls.ts';
import { untilWritable } from './writable.ts';

const EMPTY = new Uint8Array();

/** What the calls of one version of a function need. */
export interface FunctionCallsOptions {
  readonly client: FunctionClient;
  readonly dialect: Dialect;
  readonly descriptors: Descriptors;
  readonly resolve: (service: string, method: string) => Method | undefined;
  readonly isFunctionUp: () => boolean;
  /** A call was lost: the function may be gone. */
  readonly onLost: (reason: string) => void;
  readonly log: LogCalls;
  /** A call without a deadline of its own has so long, in ms. */
  readonly timeoutMs: number;
  /** An action has so long for an answer, in ms (PROTOCOLS 8: some never answer). */
  readonly functionDeadlineMs: number;
  /** Largest payload of an entity's command, in bytes. */
  readonly maxRecordBytes: number;
}

/**
 * The function's methods as the doors call them: entities through the log, actions directly, and what an action asks for
 * in their turn.
 */
export function createFunctionCalls(options: FunctionCallsOptions): Calls {
  const { client, dialect, log } = options;
  const checks = new Map<string, WellFormed>();
  const wellFormed = createWellFormed();

  function checked(method: Method, input: Uint8Array): Payload {
    let check = checks.get(method.inputType);
    if (check === undefined) {
      check = wellFormed(messageType(options.descriptors, method.inputType));
      checks.set(method.inputType, check);
    }
    orInvalid(() => check(input));
    return asProtobuf(method.inputType, input);
  }

  const deadlineOf = ({ deadline }: DoorCall): number => deadline ?? Date.now() + options.timeoutMs;

  function toEntity(method: Method, payload: Payload, metadata: DoorCall['metadata']): LogCommand {
    const entityId = orInvalid(() => entityIdFromPayload(method, payload.value));
    if (entityId === undefined || entityId === '') {
      const fields = method.entityKeyFields.map(({ name }) => name).join(', ');
      throw new CallFailure(
        status.INVALID_ARGUMENT,
        fields === ''
          ? `${method.inputType} marks no field as entity key, so ${nameOf(method)} cannot be called`
          : `the entity key of ${method.inputType} (${fields}) is empty`,
      );
    }
    if (payload.value.length > options.maxRecordBytes) {
      throw new CallFailure(
        status.RESOURCE_EXHAUSTED,
        `the command has ${payload.value.length} bytes, and at most ${options.maxRecordBytes} may go to an entity (engine.maxRecordBytes)`,
      );
    }
    return { method, entityId, payload, metadata };
  }

  async function ask(call: DoorCall, command: LogCommand, doneOnly: boolean): Promise<DoorReply> {
    const outcome = await log.ask(command, { doneOnly, signal: call.signal, deadline: deadlineOf(call) });
    if (outcome.kind === 'reply') return { payload: outcome.payload, metadata: outcome.metadata };
    return emptyReply(command.method);
  }

  /** Calls a method once, whatever it is of; a forward comes here again. */
  async function once(call: DoorCall, payload: Payload): Promise<DoorReply> {
    const { method } = call;
    if (method.clientStreaming || method.serverStreaming) {
      throw new CallFailure(status.UNIMPLEMENTED, `${nameOf(method)} streams, and was called as if it did not`);
    }
    if (method.component.kind !== 'action') return ask(call, toEntity(method, payload, call.metadata), false);
    mustBeUp();
    const bytes = await unary(call, payload);
    return carryOut(call, effectOf(method, bytes));
  }

  function unary(call: DoorCall, payload: Payload): Promise<Buffer> {
    const { method, signal } = call;
    const request = dialect.action.encodeCommand(actionCall(call), payload);
    const withinMs = Math.max(1, Math.min(deadlineOf(call) - Date.now(), options.functionDeadlineMs));
    return new Promise((resolve, reject) => {
      const cancel = client.call(dialect.action.paths.unary, request, withinMs, (error, answer) => {
        signal.removeEventListener('abort', onAbort);
        if (error === null && answer !== undefined) resolve(answer);
        else reject(lost(method, error));
      });
      const onAbort = (): void => {
        cancel();
        reject(new CallFailure(status.CANCELLED, 'the caller is gone'));
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Effects first, in order, then the forward or the reply (PROTOCOLS 12). */
  async function carryOut(call: DoorCall, effect: Effect): Promise<DoorReply> {
    const { answer } = effect;
    if (answer.kind === 'failure') throw new CallFailure(answer.grpcStatus ?? status.UNKNOWN, answer.description);
    for (const { synchronous, ...effectCall } of effect.sideEffects) {
      const target = targetOf(call.method, effectCall);
      const command: LogCommand =
        target.component.kind === 'action'
          ? { method: target, entityId: '', payload: payloadFor(target, effectCall), metadata: effectCall.metadata }
          : toEntity(target, payloadFor(target, effectCall), effectCall.metadata);
      // What fails beside the answer is the dead-letter topic's matter: the caller only waits for it.
      if (synchronous) await ask(call, command, true);
      else await log.tell([command]);
    }
    if (answer.kind === 'reply') return { payload: answer.payload, metadata: answer.metadata };
    if (answer.kind === 'none') return emptyReply(call.method);
    const target = targetOf(call.method, answer.call);
    return once({ ...call, method: target, metadata: answer.call.metadata }, payloadFor(target, answer.call));
  }

  function targetOf(from: Method, { service, method }: Call): Method {
    const target = options.resolve(service, method);
    if (target !== undefined) return target;
    throw new CallFailure(
      status.UNIMPLEMENTED,
      `${nameOf(from)} calls ${service}/${method}, which the function does not have`,
    );
  }

  function effectOf(method: Method, bytes: Buffer): Effect {
    try {
      return dialect.action.decodeResponse(bytes);
    } catch (cause) {
      throw new CallFailure(status.INTERNAL, `${nameOf(method)} sent an answer that is none of the protocol's`, {
        cause,
      });
    }
  }

  function lost(method: Method, error: GrpcError | null): CallFailure {
    const code = error?.code ?? status.UNKNOWN;
    const details = error?.details ?? 'no answer';
    if (code === status.UNAVAILABLE) options.onLost(details);
    if (code === status.DEADLINE_EXCEEDED) {
      return new CallFailure(code, `${nameOf(method)} gave no answer within the deadline`);
    }
    const told = code === status.UNAVAILABLE || code === status.CANCELLED ? status.UNAVAILABLE : status.INTERNAL;
    return new CallFailure(told, `${nameOf(method)} answered with gRPC status ${status[code]}: ${details}`);
  }

  function mustBeUp(): void {
    if (!options.isFunctionUp()) throw new CallFailure(status.UNAVAILABLE, 'the function is away at present');
  }

  /** Replicated entities answer with streams where their protocol has them (PROTOCOLS 7). */
  async function* streamedByEntity(call: DoorCall, input: AsyncIterable<Uint8Array>): AsyncGenerator<DoorReply> {
    const { method, signal } = call;
    const streams = method.component.kind === 'replicated' && dialect.replicated.encodeStreamCancelled !== undefined;
    if (!streams || method.clientStreaming) {
      throw new CallFailure(
        status.UNIMPLEMENTED,
        `${nameOf(method)} is of an entity, which does not stream${streams ? ' in' : ''}`,
      );
    }
    for await (const bytes of input) {
      const command = toEntity(method, checked(method, bytes), call.metadata);
      yield* log.stream(command, { signal, deadline: deadlineOf(call) });
      return;
    }
  }

  async function* streamed(call: DoorCall, input: AsyncIterable<Uint8Array>): AsyncGenerator<DoorReply> {
    const { method, signal } = call;
    if (method.component.kind !== 'action') {
      yield* streamedByEntity(call, input);
      return;
    }
    mustBeUp();
    const { paths } = dialect.action;
    const path = method.clientStreaming
      ? method.serverStreaming
        ? paths.streamed
        : paths.streamedIn
      : paths.streamedOut;
    const stream = client.stream(path);
    let inputFailure: unknown;
    const onAbort = (): void => stream.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    // Without a listener of its own an error between two reads would be nobody's.
    stream.on('error', () => undefined);
    const sent = feed().catch((error: unknown) => {
      inputFailure = error;
      stream.cancel();
    });
    try {
      for await (const bytes of stream) yield await carryOut(call, effectOf(method, bytes as Buffer));
    } catch (error) {
      if (inputFailure instanceof CallFailure) throw inputFailure;
      if (inputFailure !== undefined)
        throw new CallFailure(status.CANCELLED, `the input broke off: ${messageOf(inputFailure)}`);
      if (error instanceof CallFailure) throw error;
      if (signal.aborted) throw new CallFailure(status.CANCELLED, 'the caller is gone');
      throw lost(method, error instanceof GrpcError ? error : null);
    } finally {
      signal.removeEventListener('abort', onAbort);
      stream.cancel();
      await sent;
    }

    async function feed(): Promise<void> {
      if (!method.clientStreaming) {
        for await (const bytes of input) {
          stream.write(asBuffer(dialect.action.encodeCommand(actionCall(call), checked(method, bytes))));
        }
        stream.end();
        return;
      }
      const request = dialect.action.openInput(actionCall(call));
      if (request.first !== undefined) stream.write(asBuffer(request.first));
      for await (const bytes of input) {
        if (stream.destroyed) return;
        if (!stream.write(asBuffer(request.encode(checked(method, bytes))))) await untilWritable(stream);
      }
      stream.end();
    }
  }

  return {
    // Not the functions themselves: whatever else is thrown is a fault of ours, and is told as one.
    async unary(call, input) {
      const bytes = await input();
      try {
        return await once(call, checked(call.method, bytes));
      } catch (error) {
        throw asFailure(error);
      }
    },
    async *streamed(call, input) {
      try {
        yield* streamed(call, input);
      } catch (error) {
        throw asFailure(error);
      }
    },
  };
}

function actionCall({ method, metadata }: DoorCall) {
  return { service: method.component.service, name: method.name, metadata };
}

function payloadFor(target: Method, { payload }: Call): Payload {
  return asProtobuf(target.inputType, payload.value);
}

function emptyReply(method: Method): DoorReply {
  return { payload: asProtobuf(method.outputType, EMPTY), metadata: NO_METADATA };
}

function nameOf(method: Method): string {
  return `${method.component.service}/${method.name}`;
}

function orInvalid<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof StateferryError) throw new CallFailure(statusOf(error), error.message, { cause: error });
    throw error;
  }
}

function asFailure(error: unknown): CallFailure {
  if (error instanceof CallFailure) return error;
  return new CallFailure(status.INTERNAL, `the runtime failed: ${messageOf(error)}`, { cause: error });
}
