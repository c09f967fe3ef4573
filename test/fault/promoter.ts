import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Assumed } from '../../src/config/load.ts';
import type { Scope } from '../support/scope.ts';
import { type Attempt, attempts } from './attempt.ts';

/** What the child is told. */
export interface PromoterOrder {
  readonly config: Assumed;
  readonly name: string;
}

/** Lets generations take over, one after the other, by processes that may be killed. */
export interface Promoter {
  /** Begins with the next generation, unless one is being made. `killedAfterMs`: when its first process is killed. */
  begin(killedAfterMs: number | undefined): void;
  /** Resolves when the generation that was begun last serves. Rejects with what its last process said, if it does not in time. */
  done(withinMs: number): Promise<void>;
  /** Generations that took over. */
  readonly promoted: number;
}

export function createPromoter(
  t: Scope,
  options: { readonly folder: string; readonly config: Assumed; readonly log: (line: string) => void },
): Promoter {
  let number = 1;
  let promoted = 0;
  let running: Promise<void> | undefined;
  let said = '';
  const program = path.join(options.folder, 'promoter-child.js');
  const stopping = new AbortController();
  t.onTestFinished(async () => {
    stopping.abort();
    await running;
  });

  async function make(killedAfterMs: number | undefined): Promise<void> {
    const name = `g${++number}`;
    const order: PromoterOrder = { config: options.config, name };
    const onEnd = (ended: Attempt, how: string) => {
      said = ended.said;
      options.log(`generation ${name}: ${how}`);
    };
    if (await attempts(program, order, { killedAfterMs, signal: stopping.signal, onEnd })) promoted++;
  }

  return {
    get promoted() {
      return promoted;
    },
    begin(killedAfterMs) {
      if (running !== undefined) return;
      running = make(killedAfterMs).finally(() => {
        running = undefined;
      });
    },
    async done(withinMs) {
      if (running === undefined) return;
      const late = new AbortController();
      const timeout = delay(withinMs, 'late', { signal: late.signal }).catch(() => undefined);
      if ((await Promise.race([running, timeout])) === 'late') {
        throw new Error(`a generation does not serve ${withinMs / 1_000} s after everything was healed: ${said}`);
      }
      late.abort();
    },
  };
}
