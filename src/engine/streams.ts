import { encodeAnswer } from '../codec/answer-record.ts';
import { encodeCommandRecord } from '../codec/command-record.ts';
import { asFailureOf, StateferryError } from '../errors.ts';
import type { Caller, Command } from '../model/command.ts';
import { statusOf } from '../model/grpc-status.ts';
import type { OutputRecord } from '../model/record.ts';
import type { StreamedMessage } from '../protocol/dialect.ts';
import { partitionFor } from '../topics/partition.ts';
import { answerRecord, type DecisionContext, derive } from './decide.ts';
import { methodKey } from './routes.ts';

/** google.rpc.Code */
const UNAVAILABLE = 14;

/** A stream of answers that a command of a replicated entity has opened, while the function may add to it. */
export interface OpenStream {
  /** The command that opened it. */
  readonly command: Command & { readonly caller: Caller };
  /** Records of it so far, and commands derived from it. */
  items: number;
  derived: number;
  /** When its caller was last known to be there; performance.now(). */
  renewedAt: number;
  /** Its caller is told nothing more; it is here until the function has been told, too. */
  isOver: boolean;
}

/** What streams of answers put onto topics. Pure, but for the counts of the stream. */
export interface StreamOutputs {
  /** One more message of the function's. What cannot be carried out ends the stream: `isOver`, and its cancellation is among the outputs. */
  message(stream: OpenStream, message: StreamedMessage): readonly OutputRecord[];
  /** Its end, in good order or by the runtime's doing; nothing where it is over. */
  end(stream: OpenStream, reason?: string): readonly OutputRecord[];
  /** The command by which the owner itself learns, in the entity's order, that the caller has gone. */
  cancel(stream: OpenStream): OutputRecord;
  /** What a caller is told who renews a stream that its entity's owner does not have. */
  unknown(renewal: Command): readonly OutputRecord[];
}

export function createStreamOutputs(context: DecisionContext): StreamOutputs {
  const told = (
    stream: OpenStream,
    rest: Pick<Parameters<typeof encodeAnswer>[0], 'outcome' | 'more'>,
  ): OutputRecord => {
    const { command } = stream;
    stream.isOver = rest.more !== true;
    return encodeAnswer({
      topic: context.answerTopic,
      caller: command.caller,
      awaits: 0,
      commandId: command.id,
      item: ++stream.items,
      ...rest,
    });
  };
  const failed = (stream: OpenStream, code: number, message: string) =>
    told(stream, { outcome: { kind: 'failure', code, message } });

  function cancel({ command, command: { method, entityId, caller } }: OpenStream): OutputRecord {
    return encodeCommandRecord({
      // No command that is derived from another has this number.
      id: `${command.id}#0`,
      service: method.component.service,
      method: method.name,
      entityId,
      payload: { typeUrl: '', value: new Uint8Array() },
      metadata: [],
      replyTo: [],
      caller,
      stream: 'cancel',
      key: command.key,
      topic: context.commandTopic,
      partition: partitionOf(command, context),
    });
  }

  function carryOut(stream: OpenStream, { answer: given, sideEffects, isEnd }: StreamedMessage): OutputRecord[] {
    const { command } = stream;
    const outputs = sideEffects.map((call) =>
      derive(command, call, ++stream.derived, { replyTo: [], caller: undefined }, context),
    );
    switch (given.kind) {
      case 'reply': {
        const record = answerRecord(
          command,
          command.caller,
          {
            awaits: 0,
            outcome: given,
            item: stream.items + 1,
            more: !isEnd,
          },
          context,
        );
        stream.items++;
        stream.isOver = isEnd;
        return [...outputs, record];
      }
      case 'failure': {
        const { description, grpcStatus } = given;
        const error = new StateferryError('FUNCTION_FAILED', description, {
          ...(grpcStatus !== undefined && { grpcStatus }),
        });
        const end = failed(stream, statusOf(error), description);
        // Its caller takes nothing more, which the function may not know.
        return isEnd ? [...outputs, end] : [...outputs, end, cancel(stream)];
      }
      case 'forward':
        throw new StateferryError(
          'FUNCTION_BROKEN_REPLY',
          `${methodKey(command.method)} forwards a message of its stream, and only the reply to a command can be forwarded`,
        );
      case 'none':
        return isEnd ? [...outputs, told(stream, { outcome: { kind: 'done' } })] : outputs;
    }
  }

  return {
    message(stream, message) {
      if (stream.isOver) return [];
      try {
        return carryOut(stream, message);
      } catch (cause) {
        const error = asFailureOf('FUNCTION_BROKEN_REPLY', cause);
        return [failed(stream, statusOf(error), error.message), cancel(stream)];
      }
    },
    end(stream, reason) {
      if (stream.isOver) return [];
      return [reason === undefined ? told(stream, { outcome: { kind: 'done' } }) : failed(stream, UNAVAILABLE, reason)];
    },
    cancel,
    unknown({ id, caller, method }) {
      if (caller === undefined) return [];
      const message = `the stream of ${methodKey(method)} is gone, since its entity was closed or has moved: call again`;
      const outcome = { kind: 'failure', code: UNAVAILABLE, message } as const;
      return [encodeAnswer({ topic: context.answerTopic, caller, awaits: 0, outcome, commandId: id })];
    },
  };
}

function partitionOf({ key }: Command, { shards }: DecisionContext): number {
  return key === null ? 0 : partitionFor(key, shards);
}
