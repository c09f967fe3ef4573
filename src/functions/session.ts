import { status } from '@grpc/grpc-js';
import { asBuffer } from '../bytes.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { Component } from '../model/component.ts';
import type { Effect } from '../model/effect.ts';
import type { Metadata, Payload } from '../model/payload.ts';
import type { ReplicatedDelta } from '../model/replicated.ts';
import type { Dialect, EntityInit, EntityProtocol, StreamedMessage } from '../protocol/dialect.ts';
import { type Cancellations, createCancellations } from './cancellations.ts';
import type { FunctionClient } from './client.ts';
import type { RawStream } from './raw-stream.ts';

/** A function has so long to end its side of a stream that the runtime has ended. */
const ENDED_WITHIN_MS = 1_000;

/** How a command ended that a session was given. */
export type Outcome =
  | { readonly kind: 'effect'; readonly effect: Effect }
  /** The function's answer broke the protocol, or its stream did while it answered: the command is at fault or the code is. */
  | { readonly kind: 'broken'; readonly error: StateferryError }
  /** The function went away with the command unanswered: nothing is known, nothing was journaled, send it again. */
  | { readonly kind: 'lost'; readonly reason: string };

/** One command for a session. */
export interface SessionCommand {
  readonly name: string;
  readonly payload: Payload;
  readonly metadata: Metadata;
  /** Its caller takes a stream of answers. */
  readonly streamed?: boolean;
}

/**
 * An entity (or an action's caller) at the function: one command in flight at a time. After any outcome but a plain
 * effect, and after `onEnd`, the session is over.
 */
export interface Session {
  /** Answers the command's number in the stream; 0: it has none. */
  send(command: SessionCommand, done: (outcome: Outcome) => void): number;
  /** Ends it in good order: nothing may be in flight. */
  close(): void;
  /** Ends it at once; a command in flight gets no outcome. */
  cancel(): void;
}

/** The stream of an entity: events are replayed before the first command. */
export interface EntitySession extends Session {
  replay(seq: number, payload: Payload): void;
  /** Replicated entities, between commands: their value changed by this. */
  change(delta: ReplicatedDelta): void;
  /**
   * Replicated entities, between commands: the caller of this streamed command has gone. `done` with what the function
   * does about it, before the outcome of any later command, and within a second; not at all where the session ends first.
   */
  cancelStream(id: number, done: (effect: Effect) => void): void;
  /** Resolves when the function has taken what was replayed so far, or is gone. */
  drained(): Promise<void>;
}

/**
 * Opens the stream of an entity: init first, then `replay`, then commands. `onEnd`: it ended with nothing in flight.
 * @throws StateferryError ENTITY_UNREADABLE where the dialect has no message for a replicated entity's value.
 */
export function openEntitySession(options: {
  client: FunctionClient;
  dialect: Dialect;
  component: Component;
  init: EntityInit;
  onEnd: (reason: string) => void;
  /** Replicated entities: one more message for the caller of a streamed command. */
  onStreamed?: (message: StreamedMessage) => void;
}): EntitySession {
  const { client, dialect, component, init, onEnd, onStreamed } = options;
  const { entityId } = init;
  const protocol = entityProtocol(dialect, component);
  const first = protocol.encodeInit(init);
  const stream: RawStream = client.stream(protocol.path);
  let lastId = 0;
  let pending: ((outcome: Outcome) => void) | undefined;
  let cancellations: Cancellations | undefined;
  let over = false;

  const finish = (outcome: Outcome) => {
    const done = pending;
    pending = undefined;
    done?.(outcome);
  };
  const stop = () => {
    over = true;
    cancellations?.clear();
  };
  const ended = (reason: string) => {
    if (over) return;
    stop();
    if (pending === undefined) onEnd(reason);
    else finish({ kind: 'lost', reason });
  };
  /** The command in flight, if there is one, is innocent: it is sent again. */
  const abandon = (sentence: string) => {
    ended(`${component.service} ${sentence}`);
    stream.cancel();
  };
  const breakOff = (sentence: string, cause?: unknown) => {
    if (pending === undefined) {
      abandon(sentence);
      return;
    }
    stop();
    stream.cancel();
    finish({
      kind: 'broken',
      error: new StateferryError('FUNCTION_BROKEN_REPLY', `${component.service} ${sentence}`, { cause }),
    });
  };
  const wasAnswered = (commandId: number) => commandId > 0 && commandId < lastId;

  stream.on('data', (bytes: Buffer) => {
    if (over) return;
    let out: ReturnType<EntityProtocol['decodeOut']>;
    try {
      out = protocol.decodeOut(bytes);
    } catch (error) {
      breakOff(`sent a message that is none of the protocol's (${messageOf(error)})`, error);
      return;
    }
    switch (out.kind) {
      case 'reply':
        if (pending === undefined) abandon(`answered command ${out.commandId} with none in flight`);
        else if (wasAnswered(out.commandId)) abandon(`answered command ${out.commandId} twice`);
        else if (out.commandId !== lastId) {
          breakOff(`answered command ${out.commandId}, and the one in flight is ${lastId}`);
        } else {
          cancellations?.passed();
          finish({ kind: 'effect', effect: out.effect });
        }
        return;
      case 'failure':
        if (pending === undefined) abandon(`failed with none in flight: ${out.description}`);
        else if (wasAnswered(out.commandId)) {
          abandon(`failed command ${out.commandId} after it had answered it: ${out.description}`);
        } else if (out.commandId !== 0 && out.commandId !== lastId) {
          breakOff(`failed command ${out.commandId}, and the one in flight is ${lastId}`);
        } else {
          cancellations?.passed();
          // What the entity's state is now cannot be known (PROTOCOLS 5): hence `restart`.
          finish({
            kind: 'effect',
            effect: {
              answer: {
                kind: 'failure',
                description: out.description,
                restart: true,
                ...(out.grpcStatus !== undefined && { grpcStatus: out.grpcStatus }),
              },
              sideEffects: [],
              events: [],
            },
          });
        }
        return;
      case 'streamed':
        onStreamed?.(out.message);
        return;
      case 'cancelled':
        if (cancellations?.answered(out.commandId, out.effect)) return;
        // Nobody waits for it any more. Where it changes something, the function's value is another one than ours.
        if (out.effect.replicated !== undefined || out.effect.sideEffects.length > 0) {
          abandon(`answered the cancellation of command ${out.commandId} when nobody waited for it`);
        }
        return;
      case 'unknown':
        breakOff('sent an empty stream message');
        return;
    }
  });
  stream.on('error', (error) => {
    // An answer that the client itself refuses is the command's doing; sending it again would end the same way.
    if (error.code === status.RESOURCE_EXHAUSTED && pending !== undefined && !over) {
      breakOff(`sent an answer that is too large (${error.details})`, error);
    } else ended(`${status[error.code]}: ${error.details}`);
  });
  stream.on('end', () => ended('the function ended the stream'));

  stream.write(asBuffer(first));
  return {
    change: (delta) => stream.write(asBuffer(dialect.replicated.encodeDelta(delta))),
    replay: (seq, payload) => stream.write(asBuffer(dialect.eventSourced.encodeEvent(seq, payload))),
    drained: () =>
      new Promise((resolve) => {
        if (over || !stream.writableNeedDrain) resolve();
        else {
          stream.once('drain', resolve);
          stream.once('close', resolve);
          stream.once('error', () => resolve());
        }
      }),
    send({ name, payload, metadata, streamed }, done) {
      pending = done;
      lastId++;
      const command = { entityId, id: lastId, name, payload, metadata };
      stream.write(asBuffer(protocol.encodeCommand(streamed === true ? { ...command, streamed } : command)));
      return lastId;
    },
    cancelStream(id, done) {
      cancellations ??= createCancellations();
      cancellations.add(id, done);
      const message = dialect.replicated.encodeStreamCancelled?.({ entityId, id });
      if (message !== undefined) stream.write(asBuffer(message));
    },
    close() {
      stop();
      stream.end();
      // The first Cloudstate SDK in JavaScript never ends the stream of a CRDT.
      const late = setTimeout(() => stream.cancel(), ENDED_WITHIN_MS).unref();
      stream.once('close', () => clearTimeout(late));
    },
    cancel() {
      stop();
      pending = undefined;
      stream.cancel();
    },
  };
}

function entityProtocol(dialect: Dialect, component: Component): EntityProtocol {
  if (component.kind === 'replicated') return dialect.replicated;
  const protocol = component.kind === 'value' ? dialect.value : dialect.eventSourced;
  if (protocol !== undefined) return protocol;
  throw new StateferryError('FUNCTION_SPEC', `${component.service} is a value entity, and ${dialect.name} has none.`);
}

/** A caller of an action's unary methods, in the shape of a session so that order per key is kept in one way. */
export function openActionSession(options: {
  client: FunctionClient;
  dialect: Dialect;
  component: Component;
  deadlineMs: number;
}): Session {
  const { client, dialect, component, deadlineMs } = options;
  let abort: (() => void) | undefined;
  return {
    send({ name, payload, metadata }, done) {
      const request = dialect.action.encodeCommand({ service: component.service, name, metadata }, payload);
      let cancelled = false;
      const cancelCall = client.call(dialect.action.paths.unary, request, deadlineMs, (error, answer) => {
        abort = undefined;
        if (!cancelled) done(actionOutcome(dialect, component, name, error, answer));
      });
      abort = () => {
        cancelled = true;
        cancelCall();
      };
      return 0;
    },
    close() {},
    cancel() {
      abort?.();
      abort = undefined;
    },
  };
}

function actionOutcome(
  dialect: Dialect,
  component: Component,
  name: string,
  error: { code?: number; details?: string; message: string } | null,
  answer: Buffer | undefined,
): Outcome {
  const where = `${component.service}/${name}`;
  if (error !== null || answer === undefined) {
    const code = error?.code ?? status.UNKNOWN;
    const details = error?.details ?? 'no answer';
    if (code === status.UNAVAILABLE || code === status.CANCELLED) return { kind: 'lost', reason: details };
    const fault = code === status.DEADLINE_EXCEEDED ? 'FUNCTION_TIMEOUT' : 'FUNCTION_BROKEN_REPLY';
    return {
      kind: 'broken',
      error: new StateferryError(fault, `${where} answered with gRPC status ${status[code]}: ${details}`),
    };
  }
  try {
    return { kind: 'effect', effect: dialect.action.decodeResponse(answer) };
  } catch (cause) {
    return {
      kind: 'broken',
      error: new StateferryError('FUNCTION_BROKEN_REPLY', `${where} sent an answer that is none of the protocol's`, {
        cause,
      }),
    };
  }
}
