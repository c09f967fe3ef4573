import { status } from '@grpc/grpc-js';
import type { Answer } from '../codec/answer-record.ts';
import { CallFailure, type DoorReply } from './calls.ts';

/** A caller tells the owner of its entity so often that it is still there; the owner's patience is three times that (engine/entities.ts). */
const RENEW_MS = 10_000;
/** Answers that wait until the caller takes them; one that is further behind loses its stream. */
const MAX_WAITING = 10_000;

/** Whoever waits for records of the answer topic. */
export interface Waiting {
  answered(answer: Answer): void;
  /** Nothing more can be heard. */
  end(failure: CallFailure): void;
}

/** The answers to one command, as they are committed, until its function ends them or its caller goes. */
export interface AnswerStream extends Waiting {
  /** Once. Throws what the stream ended with; what has come before that is told first. */
  read(): AsyncGenerator<DoorReply>;
  /** The owner has it and did not end it: it is to be told when nobody takes the answers any more. */
  readonly isOpen: boolean;
}

/** `firstWithinMs`: for the first record, which tells whether there is a stream at all. `renew` is called while it is open. */
export function createAnswerStream(options: { readonly firstWithinMs: number; renew(): void }): AnswerStream {
  const waiting: DoorReply[] = [];
  let next = 1;
  let isOpen = true;
  let outcome: { readonly failure?: CallFailure } | undefined;
  let renewing: NodeJS.Timeout | undefined;
  let wake: (() => void) | undefined;
  const first = setTimeout(
    () =>
      end(
        new CallFailure(
          status.DEADLINE_EXCEEDED,
          'no answer within the deadline: whether the command takes effect is not known, and if so, it does once',
        ),
      ),
    options.firstWithinMs,
  );

  function end(failure?: CallFailure): void {
    if (outcome !== undefined) return;
    outcome = failure === undefined ? {} : { failure };
    clearTimeout(first);
    clearInterval(renewing);
    wake?.();
  }

  return {
    get isOpen() {
      return isOpen;
    },
    answered({ outcome: told, item, more }) {
      if (outcome !== undefined) return;
      if (item > 0 && item !== next) {
        end(new CallFailure(status.UNAVAILABLE, `answer ${next} of the stream is missing: call again`));
        return;
      }
      next++;
      clearTimeout(first);
      if (told.kind === 'reply') waiting.push({ payload: told.payload, metadata: told.metadata });
      if (!more) {
        isOpen = false;
        end(told.kind === 'failure' ? new CallFailure(told.code, told.message) : undefined);
      } else if (waiting.length > MAX_WAITING) {
        end(
          new CallFailure(
            status.RESOURCE_EXHAUSTED,
            `the caller is more than ${MAX_WAITING} answers behind: call again`,
          ),
        );
      } else {
        renewing ??= setInterval(options.renew, RENEW_MS);
        wake?.();
      }
    },
    end,
    async *read() {
      for (;;) {
        const reply = waiting.shift();
        if (reply !== undefined) yield reply;
        else if (outcome?.failure !== undefined) throw outcome.failure;
        else if (outcome !== undefined) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          wake = undefined;
        }
      }
    },
  };
}
