import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Assumed } from '../../src/config/load.ts';
import type { Scope } from '../support/scope.ts';
import { type Attempt, attempts } from './attempt.ts';
import type { SeenRecord } from './history.ts';

/** What the child is told. */
export interface ReplayerOrder {
  readonly config: Assumed;
  readonly topic: string;
}

/** Publishes all events once more to a topic, by processes that may be killed; each goes on where the one before it was. */
export interface Replayer {
  /** Publishes what there is by now, unless that goes on. `killedAfterMs`: when its first process is killed. */
  begin(killedAfterMs: number | undefined): void;
  /** Resolves when all that there is at the call is published. Rejects with what its last process said, if it is not in time. */
  finish(withinMs: number): Promise<void>;
  /** It was begun. */
  readonly wasUsed: boolean;
}

export function createReplayer(
  t: Scope,
  options: {
    readonly folder: string;
    readonly config: Assumed;
    readonly topic: string;
    readonly log: (line: string) => void;
  },
): Replayer {
  const order: ReplayerOrder = { config: options.config, topic: options.topic };
  const program = path.join(options.folder, 'replayer-child.js');
  let wasUsed = false;
  let running: Promise<void> | undefined;
  let said = '';
  const stopping = new AbortController();
  t.onTestFinished(async () => {
    stopping.abort();
    await running;
  });

  async function publish(killedAfterMs: number | undefined): Promise<void> {
    const onEnd = (ended: Attempt, how: string) => {
      said = ended.said;
      options.log(`replay: ${how}`);
    };
    await attempts(program, order, { killedAfterMs, signal: stopping.signal, onEnd });
  }

  function begin(killedAfterMs: number | undefined): void {
    wasUsed = true;
    running ??= publish(killedAfterMs).finally(() => {
      running = undefined;
    });
  }

  return {
    get wasUsed() {
      return wasUsed;
    },
    begin,
    async finish(withinMs) {
      const late = new AbortController();
      const timeout = delay(withinMs, 'late', { signal: late.signal }).catch(() => undefined);
      const all = (async () => {
        await running;
        begin(undefined);
        await running;
      })();
      if ((await Promise.race([all, timeout])) === 'late') {
        throw new Error(`not all events are published once more within ${withinMs / 1_000} s: ${said}`);
      }
      late.abort();
    },
  };
}

/** What a replay has otherwise than the topic that the events were first on: by key, the same ones in the same order, each once. */
export function replayFaults(first: readonly SeenRecord[], again: readonly SeenRecord[]): string[] {
  const byKey = (records: readonly SeenRecord[]) => {
    const ids = new Map<string, string[]>();
    for (const { key, id } of records) ids.set(key, [...(ids.get(key) ?? []), id]);
    return ids;
  };
  const faults: string[] = [];
  const [wanted, found] = [byKey(first), byKey(again)];
  for (const key of new Set([...wanted.keys(), ...found.keys()])) {
    const [one, other] = [wanted.get(key) ?? [], found.get(key) ?? []];
    const at = one.findIndex((id, i) => other[i] !== id);
    if (at < 0 && one.length === other.length) continue;
    const place = at < 0 ? one.length : at;
    faults.push(
      `the replay of "${key}" has ${other.length} events of ${one.length}, and at ${place} ${other[place] ?? 'none'} instead of ${one[place] ?? 'none'}`,
    );
  }
  return faults;
}
