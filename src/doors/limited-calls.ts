import { status } from '@grpc/grpc-js';
import { CallFailure, type Calls } from './calls.ts';

/** The same calls, of which at most `max` are under way at once; further ones fail with RESOURCE_EXHAUSTED. */
export function limitCalls(calls: Calls, max: number): Calls {
  let underWay = 0;
  const enter = (): void => {
    if (underWay >= max) {
      throw new CallFailure(status.RESOURCE_EXHAUSTED, `${max} calls are under way (doors.maxCalls); try again later`);
    }
    underWay++;
  };
  const leave = (): void => void underWay--;
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
  };
}
