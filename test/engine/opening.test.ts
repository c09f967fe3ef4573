import { describe, expect, it } from 'vitest';
import { type OpeningSteps, openShards, rehearse } from '../../src/engine/opening.ts';
import type { OpenedShard } from '../../src/journal/open.ts';
import type { OutboxRow } from '../../src/journal/outbox.ts';
import type { GroupOffsets } from '../../src/topics/stable-offsets.ts';

const opened = (more: Partial<OpenedShard> = {}): OpenedShard => ({
  shard: 0,
  epoch: 2,
  others: [],
  unreleased: false,
  applied: { in: 20n },
  released: undefined,
  chunk: 3,
  emitted: 1,
  emittedTo: undefined,
  shardSeq: 0,
  ...more,
});

const row = (chunk: number, offset: bigint): OutboxRow => ({
  shard: 0,
  chunk,
  positions: { in: offset },
  records: Buffer.alloc(0),
  at: 0,
});

const stable = (offsets: Map<string, Map<number, bigint>>): GroupOffsets => ({ offsets, pending: new Map() });

async function unasked(): Promise<never> {
  throw new Error('nothing is pending');
}

function scripted(given: {
  shard?: Partial<OpenedShard>;
  committed?: bigint;
  range?: { low: bigint; high: bigint };
  outbox?: OutboxRow[];
  settled?: number[];
  held?: number[][];
}) {
  const calls: string[] = [];
  const held = [...(given.held ?? [])];
  const steps: OpeningSteps = {
    held: async () => {
      calls.push('held');
      return held.shift() ?? [];
    },
    open: async () => {
      calls.push('open');
      return [opened(given.shard)];
    },
    fence: async (ids) => {
      calls.push(`fence ${ids.join(',')}`);
    },
    committed: async () => {
      calls.push('committed');
      return stable(new Map([['in', new Map(given.committed === undefined ? [] : [[0, given.committed]])]]));
    },
    group: 'group',
    abandoned: unasked,
    abandonedOutputs: async () => [],
    isOpen: unasked,
    inDoubt: unasked,
    isVisible: unasked,
    end: unasked,
    existing: async (topics) => new Set(topics.filter((topic) => topic !== 'gone')),
    ranges: async () => new Map([[0, given.range ?? { low: 0n, high: 1_000n }]]),
    settle: async (shards) => {
      calls.push(`settle ${shards[0]?.applied.in} without ${shards[0]?.fenced.join(',')}`);
      return given.settled ?? [0];
    },
    outbox: async (_shard, after) => {
      calls.push('outbox');
      return (given.outbox ?? []).filter(({ chunk }) => chunk > after);
    },
    unseen: async (rows) => {
      calls.push(`unseen ${rows.map(({ chunk }) => chunk).join()}`);
      return rows.map((one) => ({ ...one, records: Buffer.from('unseen') }));
    },
  };
  return { calls, steps };
}

const OPTIONS = { shards: [0], topics: ['in'], start: 'earliest', graceMs: 0 } as const;

it('a rehearsal asks what can be asked about no shard, changes nothing, and does not mind what fails', async () => {
  const { calls, steps } = scripted({});
  const asked: string[] = [];
  await rehearse(
    {
      ...steps,
      ranges: async (topic) => {
        asked.push(topic);
        throw new Error('no broker');
      },
    },
    ['in', 'other'],
  );
  expect(calls).toEqual(['held', 'committed']);
  expect(asked).toEqual(['in', 'other']);
});

describe('opening shards', () => {
  it('takes the epoch, fences every other owner, and only then reads the offsets', async () => {
    const { calls, steps } = scripted({ shard: { others: ['x', 'y'] }, committed: 20n });
    await openShards(steps, OPTIONS);
    expect(calls).toEqual(['open', 'fence x,y', 'committed', 'settle 20 without x,y', 'outbox']);
  });

  it('does not go on under an id that gave the shard up uncleanly: it cannot fence itself', async () => {
    const { calls, steps } = scripted({ shard: { unreleased: true }, committed: 10n, outbox: [row(3, 20n)] });
    await expect(openShards(steps, OPTIONS)).rejects.toMatchObject({ code: 'EMIT_UNKNOWN', fate: 'rebuild' });
    expect(calls).toEqual(['open']);
  });

  it('emits again what is journaled beyond the committed offset, and nothing else', async () => {
    const { steps } = scripted({ committed: 10n, outbox: [row(1, 5n), row(2, 10n), row(3, 20n)] });
    const [shard] = await openShards(steps, OPTIONS);
    expect(shard?.unemitted.map((r) => r.chunk)).toEqual([3]);
  });

  it('believes a clean release where Kafka’s answer is behind it', async () => {
    const { steps } = scripted({ shard: { released: { in: 20n } }, committed: 10n, outbox: [row(3, 20n)] });
    const [shard] = await openShards(steps, OPTIONS);
    expect(shard?.unemitted).toEqual([]);
    expect(shard?.committed).toEqual({ in: 20n });
  });

  it('refuses a topic whose offset alone Kafka has forgotten, though it was committed and its end is beyond', async () => {
    const { steps } = scripted({ shard: { released: { in: 20n, other: 4n }, applied: { in: 20n, other: 4n } } });
    let asked = 0;
    const committed = async () => {
      asked++;
      return stable(new Map([['other', new Map([[0, 4n]])]]));
    };
    const opening = openShards({ ...steps, committed }, { ...OPTIONS, topics: ['in', 'other'] });
    await expect(opening).rejects.toMatchObject({ code: 'TOPIC_RECREATED', message: expect.stringContaining('"in"') });
    expect(asked).toBeGreaterThan(1);
  });

  it('asks again for an offset that was committed a moment ago', async () => {
    const { steps } = scripted({ shard: { released: { in: 20n, other: 4n }, applied: { in: 20n, other: 4n } } });
    let asked = 0;
    const committed = async () =>
      stable(
        new Map([
          ['other', new Map([[0, 4n]])],
          ['in', new Map(asked++ === 0 ? [] : [[0, 20n]])],
        ]),
      );
    const [shard] = await openShards({ ...steps, committed }, { ...OPTIONS, topics: ['in', 'other'] });
    expect(shard?.committed).toEqual({ in: 20n, other: 4n });
  });

  describe('of a function that does not read some topic any more', () => {
    const before = { applied: { in: 20n, old: 5n }, chunk: 3, emitted: 1 };
    const chunk = (number: number, old: bigint): OutboxRow => ({ ...row(number, 20n), positions: { in: 20n, old } });
    const rows = [chunk(2, 4n), chunk(3, 5n)];

    it('emits again what is beyond that topic’s committed offset, and nothing else', async () => {
      const { steps } = scripted({ shard: before, outbox: rows });
      const committed = async (topics: readonly string[]) =>
        stable(new Map([...topics].map((topic) => [topic, new Map([[0, topic === 'old' ? 4n : 20n]])])));
      const [shard] = await openShards({ ...steps, committed }, OPTIONS);
      expect(shard?.unemitted.map((r) => r.chunk)).toEqual([3]);
      expect(shard?.applied).toEqual({ in: 20n, old: 5n });
    });

    it('keeps its position where Kafka has long forgotten that, and emits nothing again for it', async () => {
      const { steps } = scripted({ shard: before, committed: 20n, outbox: rows });
      const [shard] = await openShards(steps, OPTIONS);
      expect(shard?.applied).toEqual({ in: 20n, old: 5n });
      expect(shard?.unemitted).toEqual([]);
    });

    it('forgets the topic when it is deleted, since the broker takes no offset of it', async () => {
      const gone = rows.map((r) => ({ ...r, positions: { in: 20n, gone: 5n } }));
      const { steps } = scripted({
        shard: { ...before, applied: { in: 20n, gone: 5n } },
        committed: 10n,
        outbox: gone,
      });
      const [shard] = await openShards(steps, OPTIONS);
      expect(shard?.applied).toEqual({ in: 20n });
      expect(shard?.unemitted.map((r) => r.positions)).toEqual([{ in: 20n }, { in: 20n }]);
    });
  });

  describe('that Kafka has answered the commit of, and lost', () => {
    const outbox = [row(1, 5n), row(2, 10n), row(3, 20n)];
    const emitted = { others: ['x'], chunk: 3, emitted: 2, emittedTo: { in: 10n } };

    it('emits again what is not there of the chunks that the group does not have, though the journal takes them for emitted', async () => {
      const { calls, steps } = scripted({ shard: emitted, committed: 5n, outbox });
      const [shard] = await openShards(steps, OPTIONS);
      expect(shard?.unemitted.map(({ chunk, records }) => [chunk, String(records)])).toEqual([
        [2, 'unseen'],
        [3, ''],
      ]);
      expect(calls.at(-1)).toBe('unseen 2');
    });

    it('so too where the group has nothing of the shard: the first transaction of all can be lost', async () => {
      const shard = { ...emitted, emitted: 3, emittedTo: { in: 20n } };
      const { calls, steps } = scripted({ shard, outbox });
      const [owned] = await openShards(steps, OPTIONS);
      expect(owned?.unemitted.map(({ chunk }) => chunk)).toEqual([1, 2, 3]);
      expect(calls.at(-1)).toBe('unseen 1,2,3');
    });

    it.each([
      { what: 'the group has them', given: { shard: emitted, committed: 10n, outbox }, again: [3] },
      {
        what: 'it was released cleanly',
        given: { shard: { ...emitted, others: [] }, committed: 5n, outbox },
        again: [3],
      },
      {
        what: 'the journal has forgotten where they led',
        given: { shard: { ...emitted, emittedTo: undefined }, committed: 5n, outbox },
        again: [3],
      },
    ])('and nothing of them where $what', async ({ given, again }) => {
      const { calls, steps } = scripted(given);
      const [shard] = await openShards(steps, OPTIONS);
      expect(shard?.unemitted.map(({ chunk }) => chunk)).toEqual(again);
      expect(calls.filter((call) => call.startsWith('unseen'))).toEqual([]);
    });
  });

  it('waits for a live owner’s release as long as the grace lasts', async () => {
    const { calls, steps } = scripted({ held: [[0], [0]], committed: 20n });
    await openShards(steps, { ...OPTIONS, graceMs: 60_000 });
    expect(calls.slice(0, 4)).toEqual(['held', 'held', 'held', 'open']);
  });

  it.each([
    { start: 'earliest', committed: undefined, from: 7n },
    { start: 'latest', committed: undefined, from: 1_000n },
    { start: 'earliest', committed: 12n, from: 12n },
  ] as const)('starts a new topic at $from ($start, committed: $committed)', async ({ start, committed, from }) => {
    const { steps } = scripted({
      shard: { applied: {}, chunk: 0, emitted: 0 },
      range: { low: 7n, high: 1_000n },
      ...(committed !== undefined && { committed }),
    });
    const [shard] = await openShards(steps, { ...OPTIONS, start });
    expect(shard?.applied).toEqual({ in: from });
  });

  it('goes on behind records that retention removed, and says how many', async () => {
    const { steps } = scripted({ committed: 20n, range: { low: 50n, high: 1_000n } });
    const [shard] = await openShards(steps, OPTIONS);
    expect(shard?.applied).toEqual({ in: 50n });
    expect(shard?.expired).toEqual([{ topic: 'in', offsets: 30n }]);
  });

  it.each([
    {
      what: 'a topic that ends before what was applied',
      given: { committed: 20n, range: { low: 0n, high: 3n } },
      code: 'TOPIC_RECREATED',
    },
    { what: 'a journal behind the committed offset', given: { committed: 21n }, code: 'JOURNAL_BEHIND' },
    { what: 'a group whose offsets are gone', given: {}, code: 'OFFSETS_GONE' },
    {
      what: 'a shard that another process opened meanwhile',
      given: { committed: 20n, settled: [] },
      code: 'SHARD_FENCED',
    },
  ])('refuses $what', async ({ given, code }) => {
    await expect(openShards(scripted(given).steps, OPTIONS)).rejects.toMatchObject({ code });
  });

  it.each([
    { what: 'a journal behind the committed offset', given: { committed: 21n } },
    { what: 'a topic that ends before what was applied', given: { committed: 20n, range: { low: 0n, high: 3n } } },
    { what: 'a group whose offsets are gone', given: {} },
  ])('takes $what for the work of another process where that has opened the shard meanwhile', async ({ given }) => {
    const { calls, steps } = scripted({ ...given, settled: [] });
    await expect(openShards(steps, OPTIONS)).rejects.toMatchObject({ code: 'SHARD_FENCED' });
    expect(calls).not.toContain('outbox');
  });

  it.concurrent.each([
    { settled: [0], code: 'TRANSACTION_HANGING' },
    { settled: [], code: 'SHARD_FENCED' },
  ])(
    'refuses offsets that stay pending only of shards that are still ours, and forgets no owner ($code)',
    async ({ settled, code }) => {
      const { calls, steps } = scripted({ shard: { others: ['x'] }, settled });
      const committed = async (): Promise<GroupOffsets> => ({
        offsets: new Map([['in', new Map()]]),
        pending: new Map([['in', [0]]]),
      });
      const opening = openShards({ ...steps, committed, abandoned: async () => [] }, OPTIONS);
      await expect(opening).rejects.toMatchObject({ code });
      expect(calls).toEqual(['open', 'fence x', 'settle 20 without ']);
    },
  );

  it('takes a crash before the very first commit for what it is', async () => {
    const { steps } = scripted({ shard: { chunk: 1, emitted: 0 }, outbox: [row(1, 20n)] });
    const [shard] = await openShards(steps, OPTIONS);
    expect(shard?.unemitted.map((r) => r.chunk)).toEqual([1]);
  });
});
