import { describe, expect, it } from 'vitest';
import { createItem } from '../../src/engine/item.ts';
import { Shard } from '../../src/engine/shard.ts';
import { type PlacedFeed, ShardFeeds } from '../../src/engine/shard-feeds.ts';
import type { Chunk } from '../../src/model/chunk.ts';
import type { Command } from '../../src/model/command.ts';
import type { Feed, FeedPosition } from '../../src/model/feed.ts';
import type { OutputRecord } from '../../src/model/record.ts';

const feedOf = (source: Feed['source'], name = source): Feed => ({
  name,
  source,
  entityType: 't',
  methods: [],
  ignored: [],
  ignoreUnknown: false,
});
const BEHIND: FeedPosition = { state: 'catching-up', position: 0, through: 0, cursor: '' };

const output = (key: string): OutputRecord => ({
  topic: 'cmd',
  partition: 0,
  key: Buffer.from(key),
  value: Buffer.alloc(1),
  headers: [],
});

/** A shard with so many events, and with one command after another whose events or value changes feeds are given. */
function shardWith(place: PlacedFeed, shardSeq: number) {
  const { feed } = place;
  const shard = new Shard(
    { number: 0, epoch: 1, applied: { in: 0n }, chunk: 9, emitted: 9, shardSeq },
    { in: 0n },
    { maxRecords: 1_000, maxBytes: 1e9 },
    undefined,
    new ShardFeeds([place]),
  );
  let offset = 0n;
  const take = (): Chunk | undefined => shard.takeChunk(100, 1e6)?.chunk;
  return {
    shard,
    feeds: shard.feeds,
    /** A command that makes one event, or changes the value, of the entity. */
    decide(entityId: string) {
      const record = { topic: 'in', partition: 0, offset: offset++, key: null, value: null, headers: {}, timestamp: 0 };
      const item = createItem(shard, record, {} as Command);
      const event = { entityType: 't', entityId, seq: 1, typeUrl: 'u', payload: Buffer.alloc(1), commandId: 'c' };
      item.decision = {
        events: feed.source === 'value' ? [] : [event],
        outputs: [],
        fed: [{ feed, entityId, output: output(`live ${entityId}`) }],
      };
      shard.add(item);
    },
    take,
    journal(): Chunk {
      const chunk = take();
      if (chunk === undefined) throw new Error('no chunk was taken');
      shard.journaled(chunk.number);
      return chunk;
    },
  };
}

const keysOf = (chunk: Chunk | undefined) => chunk?.outputs.map(({ key }) => key?.toString());
const commands = (...ids: string[]) => ids.map((entityId) => ({ entityId, output: output(`old ${entityId}`) }));

describe('a feed of events', () => {
  const feed = feedOf('event-sourced');

  it('that is live is given what each chunk journals, and nothing is written of it', () => {
    const { decide, journal } = shardWith({ feed, state: 'live', position: 20 }, 20);
    decide('a');
    decide('b');
    const chunk = journal();

    expect(keysOf(chunk)).toEqual(['live a', 'live b']);
    expect(chunk.fed).toEqual(new Map([[feed.name, 2]]));
    expect(chunk.feedMove).toBeUndefined();
  });

  it('that is behind is given none of a chunk’s own, and its position moves with what was read', () => {
    const { shard, feeds, decide, journal } = shardWith({ feed, ...BEHIND }, 5_000);
    const read = feeds.startRead(shard.shardSeq);
    expect(read).toMatchObject({ after: 0, through: 1_000 });
    decide('a');
    expect(keysOf(journal())).toEqual([]);
    feeds.read({ at: { position: 1_000 }, isWhole: true, commands: commands('x', 'y') });
    expect(shard.wantsChunk()).toBe(true);
    decide('b');
    const chunk = journal();

    expect(keysOf(chunk)).toEqual(['old x', 'old y']);
    expect(chunk.feedMove).toMatchObject({ name: feed.name, state: 'catching-up', position: 1_000 });
    expect(shard.wantsChunk()).toBe(false);
    expect(feeds.startRead(shard.shardSeq)).toMatchObject({ after: 1_000, through: 2_000 });
  });

  it('takes no chunk while its last events are read, and is live in the chunk that has them, before that chunk’s own', () => {
    const { shard, feeds, decide, take, journal } = shardWith({ feed, ...BEHIND, position: 19 }, 20);
    decide('a');
    expect(feeds.startRead(shard.shardSeq)).toMatchObject({ after: 19, through: 20 });
    expect(take()).toBeUndefined();
    feeds.read({ at: { position: 20 }, isWhole: true, commands: commands('x') });
    const chunk = journal();

    expect(keysOf(chunk)).toEqual(['old x', 'live a']);
    expect(chunk.feedMove).toMatchObject({ state: 'live', position: 20 });
    decide('b');
    expect(keysOf(journal())).toEqual(['live b']);
    expect(feeds.startRead(shard.shardSeq)).toBeUndefined();
  });

  it('leaves room in a chunk for one input record, however large what it is given is', () => {
    const { shard, feeds, decide, take } = shardWith({ feed, ...BEHIND }, 5_000);
    feeds.startRead(shard.shardSeq);
    const large = { ...output('old x'), value: Buffer.alloc(1_100_000) };
    feeds.read({ at: { position: 1_000 }, isWhole: true, commands: [{ entityId: 'x', output: large }] });
    decide('a');
    decide('b');
    const taken = take();
    expect(taken?.inputs).toHaveLength(1);
    expect(taken?.to).toEqual({ in: 1n });
  });

  it('goes on where the room for bytes ended, and is not live by that', () => {
    const { shard, feeds, decide, journal } = shardWith({ feed, ...BEHIND }, 20);
    feeds.startRead(shard.shardSeq);
    feeds.read({ at: { position: 7 }, isWhole: false, commands: commands('x') });
    decide('a');
    const chunk = journal();

    expect(keysOf(chunk)).toEqual(['old x']);
    expect(chunk.feedMove).toMatchObject({ state: 'catching-up', position: 7 });
    expect(feeds.startRead(shard.shardSeq)).toMatchObject({ after: 7, through: 21 });
  });

  it('passes over what has nothing for it without a chunk, up to the last part', () => {
    const { shard, feeds } = shardWith({ feed, ...BEHIND }, 1_500);
    feeds.startRead(shard.shardSeq);
    feeds.read({ at: { position: 1_000 }, isWhole: true, commands: [] });
    expect(shard.wantsChunk()).toBe(false);
    expect(feeds.startRead(shard.shardSeq)).toMatchObject({ after: 1_000, through: 1_500 });
    feeds.read({ at: { position: 1_500 }, isWhole: true, commands: [] });
    expect(shard.wantsChunk()).toBe(true);
  });

  it('is not read for while a chunk is on its way to the journal, which does not tell of it yet', () => {
    const { shard, feeds, decide, take } = shardWith({ feed, ...BEHIND }, 20);
    decide('a');
    const chunk = take();
    expect(feeds.startRead(shard.shardSeq)).toBeUndefined();
    shard.journaled(chunk?.number ?? 0);
    expect(feeds.startRead(shard.shardSeq)).toMatchObject({ through: 21 });
  });

  it('lets chunks go on when nothing could be read, and reads again', () => {
    const { shard, feeds, decide, journal } = shardWith({ feed, ...BEHIND }, 20);
    feeds.startRead(shard.shardSeq);
    feeds.failed();
    decide('a');
    expect(keysOf(journal())).toEqual([]);
    expect(feeds.startRead(shard.shardSeq)).toMatchObject({ after: 0, through: 21 });
  });
});

describe('a feed of values', () => {
  const feed = feedOf('value');
  const place: PlacedFeed = { feed, ...BEHIND, position: 2, through: 9 };

  it('is given new values at once, and old ones by and by, in the order of entities', () => {
    const { shard, feeds, decide, journal } = shardWith(place, 0);
    decide('a');
    expect(keysOf(journal())).toEqual(['live a']);
    expect(feeds.startRead(0)).toEqual({ feed, after: 2, through: 9, cursor: '' });
    feeds.read({ at: { cursor: 'm' }, isWhole: false, commands: commands('b', 'm') });
    decide('a');
    const chunk = journal();

    expect(keysOf(chunk)).toEqual(['old b', 'old m', 'live a']);
    expect(chunk.feedMove).toMatchObject({ state: 'catching-up', position: 2, through: 9, cursor: 'm' });
    expect(feeds.startRead(0)).toMatchObject({ cursor: 'm' });
    feeds.read({ at: { cursor: 'm' }, isWhole: true, commands: [] });
    expect(shard.wantsChunk()).toBe(true);
    decide('b');
    expect(journal().feedMove).toMatchObject({ state: 'live', position: 9 });
  });

  it('is not given an old value after a newer one that came while it was read', () => {
    const { feeds, decide, journal } = shardWith(place, 0);
    feeds.startRead(0);
    decide('b');
    expect(keysOf(journal())).toEqual(['live b']);
    feeds.read({ at: { cursor: 'm' }, isWhole: false, commands: commands('b', 'm') });
    decide('m');

    expect(keysOf(journal())).toEqual(['old m', 'live m']);
  });
});
