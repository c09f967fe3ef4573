import os from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { type EngineProcess, ownsShards } from './engine-process.ts';
import type { Scene } from './scene.ts';

/** What comes to a process beside the one that stays; `calm`: nothing, which every pause is to be held against. */
export const EVENTS = ['calm', 'join', 'leave', 'kill'] as const;
export type Event = (typeof EVENTS)[number];

/** After the event is over, so long is still watched: a pause may begin with it. */
const SETTLE_MS = 3_000;
/** Before an event, outputs flow for so long. */
const CALM_MS = 3_000;
/** The load is published in rounds of so many seconds. */
const ROUND_S = 1;

/** One event: the longest time without an output, in ms, of each shard that moved and of each that stayed. */
export interface Pause {
  readonly event: Event;
  readonly moved: readonly number[];
  readonly kept: readonly number[];
  /** From the event until the shards were open again where they went, by the processes' own account, in ms. */
  readonly tookMs: number;
  /** The machine's load average over the last minute. */
  readonly load: number;
}

/** A steady load, and when the outputs of each shard came. */
export interface Flow {
  /** The longest time between two outputs of a shard, of which the later one came after `since`, in ms. */
  gap(shard: number, since: number): number;
  stop(): Promise<void>;
}

/** Publishes `rate` commands a second until `stop`, over all counters and so over all shards in turn. */
export function startFlow({ publisher, reader, counters }: Scene, rate: number, failed: Promise<never>): Flow {
  const times: number[][] = Array.from({ length: counters.partitions }, () => []);
  reader.onOutput = (k, now) => times[counters.partitionOf[k % counters.count] as number]?.push(now);
  let stopped = false;
  const publishing = (async () => {
    while (!stopped) await publisher.pace(rate, ROUND_S, () => undefined);
  })();
  publishing.catch(() => undefined);
  return {
    gap(shard, since) {
      const all = times[shard] ?? [];
      let longest = 0;
      for (let i = all.length - 1; i > 0 && (all[i] as number) > since; i--) {
        longest = Math.max(longest, (all[i] as number) - (all[i - 1] as number));
      }
      // What has not come yet counts too.
      return Math.max(longest, performance.now() - (all.at(-1) ?? since));
    },
    async stop() {
      stopped = true;
      await publishing;
      await Promise.race([reader.until(publisher.published), failed]);
      reader.onOutput = undefined;
    },
  };
}

/**
 * One process stays; another joins it, leaves in good order, joins again and is killed, `repetitions` times over, while
 * outputs flow. `start` starts the other one and resolves when it runs.
 */
export async function measurePauses(options: {
  readonly stays: EngineProcess;
  readonly start: () => Promise<EngineProcess>;
  readonly flow: Flow;
  readonly shards: number;
  readonly repetitions: number;
  readonly say: (what: string) => void;
}): Promise<Pause[]> {
  const { stays, start, flow, shards, repetitions, say } = options;
  const pauses: Pause[] = [];
  const half = Math.floor(shards / 2);

  /** Measures around `change`, which resolves to the shards that moved when they are open again. */
  const around = async (event: Event, change: () => Promise<readonly number[]>): Promise<void> => {
    await delay(CALM_MS);
    const [load = Number.NaN] = os.loadavg();
    const since = performance.now();
    const moved = await change();
    const tookMs = performance.now() - since;
    await delay(SETTLE_MS);
    const all = Array.from({ length: shards }, (_, shard) => shard);
    const gaps = (those: readonly number[]) => those.map((shard) => flow.gap(shard, since));
    pauses.push({
      event,
      moved: gaps(moved),
      kept: gaps(all.filter((shard) => !moved.includes(shard))),
      tookMs,
      load,
    });
  };
  const shardsOf = async (engine: EngineProcess): Promise<number[]> =>
    (await engine.status())?.shards.map(({ shard }) => shard) ?? [];

  for (let round = 1; round <= repetitions; round++) {
    await around('calm', async () => []);
    for (const ending of ['leave', 'kill'] as const) {
      say(`pauses, ${round} of ${repetitions}, ${ending}`);
      let other: EngineProcess | undefined;
      await around('join', async () => {
        other = await start();
        await other.until('own its half', (status) => ownsShards(status, half));
        return shardsOf(other);
      });
      const leaving = other as unknown as EngineProcess;
      const moving = await shardsOf(leaving);
      await around(ending, async () => {
        const ended = leaving.stop(ending === 'leave' ? 'SIGTERM' : 'SIGKILL');
        await stays.until('own every shard', (status) => ownsShards(status, shards));
        await ended;
        return moving;
      });
    }
  }
  return pauses;
}
