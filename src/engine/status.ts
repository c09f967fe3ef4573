import type { FeedStatus, ShardStatus, TopicPosition } from '../observe/status.ts';
import type { Engine } from './engine.ts';
import type { Shard } from './shard.ts';
import type { PlacedFeed } from './shard-feeds.ts';

/** The engine's open shards as the status shows them, in order. */
export function shardStatuses(engine: Engine): ShardStatus[] {
  const owner = engine.transactionalId ?? '';
  const active = engine.entities.activeByShard();
  return [...engine.shards]
    .sort((a, b) => a.number - b.number)
    .map((shard) => ({
      shard: shard.number,
      state: shard.state === 'running' && shard.halts.size > 0 ? 'halted' : shard.state,
      epoch: shard.epoch,
      owner,
      positions: positionsOf(shard),
      ...shard.load,
      activeEntities: active.get(shard) ?? 0,
      pausedEntities: shard.control.controlled,
      halt: shard.halt ?? null,
      schemaAwaitedSince: shard.awaitsSince ?? null,
      feeds: [...shard.feeds.places].map((place) => feedStatus(shard, place)),
    }));
}

function positionsOf(shard: Shard): Record<string, TopicPosition> {
  const positions: Record<string, TopicPosition> = {};
  for (const [topic, applied] of Object.entries(shard.applied)) {
    const end = shard.end.get(topic);
    positions[topic] = {
      applied: applied.toString(),
      committed: (shard.committed[topic] ?? applied).toString(),
      end: end?.toString() ?? null,
      lag: end === undefined ? null : Number(end - applied),
    };
  }
  return positions;
}

function feedStatus({ shardSeq }: Shard, { feed, state, position }: PlacedFeed): FeedStatus {
  const { name, source, entityType } = feed;
  const at = state === 'live' ? shardSeq : position;
  const counts = source === 'event-sourced';
  return {
    name,
    source,
    entityType,
    state,
    position: counts ? at : null,
    behind: counts ? shardSeq - at : state === 'live' ? 0 : null,
  };
}
