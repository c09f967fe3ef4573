import { status } from '@grpc/grpc-js';
import { CallFailure, type Calls } from './calls.ts';

/** Calls whose number is known. */
export interface LimitedCalls extends Calls {
  /** Resolves when none is under way, and after `withinMs` at the latest. */
  settled(withinMs: number): Promise<void>;
}

/** The same calls, of which at most `max` are under way at once; further ones fail with RESOURCE_EXHAUSTED. */
export function limitCalls(calls: Calls, max: number): LimitedCalls {
  let underWay = 0;
  let settle: (() => void) | undefined;
  const enter = (): void => {
    if (underWay >= max) {
      throw new CallFailure(status.RESOURCE_EXHAUSTED, `${max} calls are under way (doors.maxCalls); try again later`);
    }
    underWay++;
  };
  const leave = (): void => {
    underWay--;
    if (underWay === 0) settle?.();
  };
  return {
    async unary(call, input) {
      enter();
      try {
        return await calls.unary(call, input);
      } finally {
        leave();
      }
    },
    async *streamed(call, input) {
      enter();
      try {
        yield* calls.streamed(call, input);
      } finally {
        leave();
      }
    },
    settled(withinMs) {
      if (underWay === 0) return Promise.resolve();
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, withinMs);
        settle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    },
  };
}
