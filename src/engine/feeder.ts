import type { Logger } from 'pino';
import { messageOf } from '../errors.ts';
import type { Change, Feed, FeedKey, FeedPosition } from '../model/feed.ts';
import type { OutputRecord } from '../model/record.ts';
import type { Shard } from './shard.ts';
import type { FeedBatch, FeedRead } from './shard-feeds.ts';

/** A feed is given nothing more while so many offsets of the command topic wait in its shard. */
const LAG = 2_000;

/** What the journal tells of feeds, and of what they have not been given (journal/feeds.ts). */
export interface FeedStore {
  settle(
    shards: readonly { readonly shard: number; readonly epoch: number }[],
  ): Promise<readonly (FeedKey & FeedPosition & { readonly shard: number })[]>;
  events(
    wanted: FeedRead & { readonly shard: number },
  ): Promise<{ readonly changes: readonly (Change & { readonly shardSeq: number })[]; readonly isWhole: boolean }>;
  values(
    wanted: FeedRead & { readonly shard: number },
  ): Promise<{ readonly changes: readonly Change[]; readonly isWhole: boolean }>;
}

export interface FeederOptions {
  readonly store: FeedStore;
  readonly commandTopic: string;
  /** The command of a change; undefined: the feed takes no interest in it. */
  readonly command: (feed: Feed, change: Change) => OutputRecord | undefined;
  /** Something of the shard waits for a chunk. */
  readonly wanted: (shard: Shard) => void;
  /** The shard takes chunks again. */
  readonly onUnheld: () => void;
  readonly log: Logger;
}

/** Reads the journal for feeds that are behind, no faster than what it brings is carried out. */
export interface Feeder {
  /** Something of the shard was journaled or emitted, or some time has passed: there may be more to read. */
  tend(shard: Shard): void;
}

export function createFeeder({ store, commandTopic, command, wanted, onUnheld, log }: FeederOptions): Feeder {
  function tend(shard: Shard): void {
    if (shard.state !== 'running') return;
    if (shard.feeds.wantsChunk()) wanted(shard);
    else if (shard.hasRoomInBytes() && lagOf(shard) < LAG) {
      const read = shard.feeds.startRead(shard.shardSeq);
      if (read !== undefined) void carryOut(shard, read);
    }
  }

  async function carryOut(shard: Shard, read: FeedRead): Promise<void> {
    try {
      shard.feeds.read(await batchOf(shard.number, read));
    } catch (error) {
      // It only delays, until the next `tend`.
      log.warn({ shard: shard.number, feed: read.feed.name, error: messageOf(error) }, 'Reading for a feed failed');
      shard.feeds.failed();
      onUnheld();
      return;
    }
    onUnheld();
    tend(shard);
  }

  async function batchOf(shard: number, read: FeedRead): Promise<FeedBatch> {
    const { feed, through, cursor } = read;
    if (feed.source === 'value') {
      const { changes, isWhole } = await store.values({ ...read, shard });
      return { at: { cursor: changes.at(-1)?.entityId ?? cursor }, isWhole, commands: commandsOf(feed, changes) };
    }
    const { changes, isWhole } = await store.events({ ...read, shard });
    const position = isWhole ? through : (changes.at(-1)?.shardSeq ?? read.after);
    return { at: { position }, isWhole, commands: commandsOf(feed, changes) };
  }

  function commandsOf(feed: Feed, changes: readonly Change[]): FeedBatch['commands'] {
    return changes.flatMap((change) => {
      const output = command(feed, change);
      return output === undefined ? [] : [{ entityId: change.entityId, output }];
    });
  }

  /** Commands that wait in the shard's partition of the command topic, as of the last fetch. */
  function lagOf(shard: Shard): number {
    const end = shard.end.get(commandTopic);
    const applied = shard.applied[commandTopic];
    return end === undefined || applied === undefined ? 0 : Number(end - applied);
  }

  return { tend };
}
