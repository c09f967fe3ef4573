import { setTimeout as delay } from 'node:timers/promises';
import { type EventFilter, eventsByShard, type JournaledEvent, type ShardRange, shardHeads } from './events.ts';
import type { History } from './scope.ts';

/** How often it is looked for new events, in ms. */
const LOOK_EVERY_MS = 250;

/**
 * Events as they are journaled, in order within each shard, each once, until the signal: those after `ranges`, and of
 * shards that it does not name, all.
 */
export async function* followEvents(
  history: History,
  filter: EventFilter,
  ranges: readonly ShardRange[],
  signal: AbortSignal,
): AsyncGenerator<JournaledEvent[]> {
  const seen = new Map(ranges.map(({ shard, through }) => [shard, through]));
  while (!signal.aborted) {
    const news: ShardRange[] = [];
    for (const { shard, through } of await shardHeads(history, filter.shard)) {
      const after = seen.get(shard) ?? 0;
      // A shard's events are there when its head is: one transaction writes both.
      if (through > after) news.push({ shard, after, through });
      seen.set(shard, through);
    }
    yield* eventsByShard(history, filter, news);
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}
