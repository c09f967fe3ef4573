import type { Calls } from '../calls.ts';
import type { Access } from './access.ts';

/** The same calls, for those who may: a refused one has no effect, and nothing of its input is read. */
export function guardCalls(calls: Calls, access: Access): Calls {
  return {
    unary: async (call, input) => calls.unary(await access.admit(call), input),
    async *streamed(call, input) {
      yield* calls.streamed(await access.admit(call), input);
    },
  };
}
