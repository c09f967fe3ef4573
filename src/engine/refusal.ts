import { encodeAnswer } from '../codec/answer-record.ts';
import { StateferryError } from '../errors.ts';
import type { Caller, Command, CommandId } from '../model/command.ts';
import { statusOf } from '../model/grpc-status.ts';
import type { OutputRecord } from '../model/record.ts';
import type { Decision } from './decide.ts';
import { publishing } from './item.ts';
import { methodKey } from './routes.ts';

/** What a caller at a door is told of a command that did not take effect; nothing where nobody waits for it. */
export function refusal(
  answerTopic: string,
  { id, caller }: { readonly id: CommandId; readonly caller?: Caller },
  error: StateferryError,
): readonly OutputRecord[] {
  if (caller === undefined) return [];
  const outcome = { kind: 'failure', code: statusOf(error), message: error.message } as const;
  return [encodeAnswer({ topic: answerTopic, caller, awaits: 0, outcome, commandId: id })];
}

/** What a command does that took effect before: nothing, and whoever waits for it is told so. */
export function repeated(command: Command, answerTopic: string): Decision {
  const error = new StateferryError(
    'COMMAND_REPEATED',
    `${methodKey(command.method)} has taken effect under this idempotency key before; its first answer is not kept`,
  );
  return publishing(refusal(answerTopic, command, error));
}
