import type { Effect } from '../model/effect.ts';

/** A function has so long to say what it does about a caller that has gone. It need not say anything (PROTOCOLS 7). */
const ANSWERED_WITHIN_MS = 1_000;
const NO_EFFECT: Effect = { answer: { kind: 'none' }, sideEffects: [], events: [] };

/** Streams that a function was told to be cancelled, until what it does about each is known. */
export interface Cancellations {
  add(id: number, done: (effect: Effect) => void): void;
  /** The function says what it does about this one, so about those before it nothing. False: nobody waits for that. */
  answered(id: number, effect: Effect): boolean;
  /** It has answered something later: about all of them it does nothing. */
  passed(): void;
  /** Nobody wants to know any more. */
  clear(): void;
}

/** A function takes what it is sent in order, so they are done in order, whatever it answers. */
export function createCancellations(): Cancellations {
  const waiting: { readonly id: number; readonly done: (effect: Effect) => void; readonly timer: NodeJS.Timeout }[] =
    [];

  function finish(count: number, last: Effect): void {
    for (let left = count; left > 0; left--) {
      const one = waiting.shift();
      clearTimeout(one?.timer);
      one?.done(left === 1 ? last : NO_EFFECT);
    }
  }

  return {
    add(id, done) {
      const upToThis = (): void => finish(waiting.findIndex((one) => one.id === id) + 1, NO_EFFECT);
      waiting.push({ id, done, timer: setTimeout(upToThis, ANSWERED_WITHIN_MS) });
    },
    answered(id, effect) {
      const at = waiting.findIndex((one) => one.id === id);
      finish(at + 1, effect);
      return at >= 0;
    },
    passed() {
      if (waiting.length > 0) finish(waiting.length, NO_EFFECT);
    },
    clear() {
      for (const { timer } of waiting.splice(0)) clearTimeout(timer);
    },
  };
}
