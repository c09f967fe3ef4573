import { describe, expect, it } from 'vitest';
import { endedOffsets, type HangingSteps } from '../../src/engine/hanging.ts';
import type { InDoubt } from '../../src/journal/in-doubt.ts';
import type { OpenedShard } from '../../src/journal/open.ts';

const opened = (shard: number, others: readonly string[]): OpenedShard => ({
  shard,
  epoch: 2,
  others,
  unreleased: false,
  applied: { in: 20n },
  released: undefined,
  chunk: 3,
  emitted: 1,
  shardSeq: 0,
});

const row = (shard: number, chunk: number, offset: bigint) => ({
  shard,
  chunk,
  positions: { in: offset },
  records: Buffer.alloc(0),
  at: 0,
});

const X = { transactionalId: 'x', producerId: 7n };
const Y = { transactionalId: 'y', producerId: 8n };

/** A group that has committed 10 in `in` for every shard; `pending` are held until a transaction of `holder` is ended. */
function scripted(given: {
  pending: readonly number[];
  holder?: string;
  abandoned?: readonly (typeof X)[];
  inDoubt?: Partial<InDoubt>;
  visible?: boolean;
  fails?: Error;
}) {
  const calls: string[] = [];
  let held = new Set(given.pending);
  const steps: HangingSteps = {
    group: 'group',
    async committed(topics, shards, stable) {
      const offsets = shards.filter((shard) => !stable || !held.has(shard)).map((shard) => [shard, 10n] as const);
      const pending = stable ? shards.filter((shard) => held.has(shard)) : [];
      return {
        offsets: new Map(topics.map((topic) => [topic, new Map(offsets)])),
        pending: new Map(pending.length === 0 ? [] : [['in', pending]]),
      };
    },
    async abandoned() {
      if (given.fails !== undefined) throw given.fails;
      return [...(given.abandoned ?? [X])];
    },
    async fence(ids) {
      calls.push(`fence ${ids.join()}`);
    },
    inDoubt: async () => ({ owned: [], released: [], ...given.inDoubt }),
    async isVisible(producerId, rows) {
      calls.push(`look for chunks ${rows.map(({ chunk }) => chunk).join()} of ${producerId}`);
      return given.visible ?? false;
    },
    async end({ transactionalId }, ending, rows) {
      calls.push(`${ending} ${transactionalId} with chunks ${rows.map(({ chunk }) => chunk).join()}`);
      if (transactionalId === (given.holder ?? 'x')) held = new Set();
    },
  };
  return { calls, steps };
}

const owned = (shard: number, emitted: bigint | undefined, ...rows: ReturnType<typeof row>[]) => ({
  shard,
  emitted: emitted === undefined ? undefined : { in: emitted },
  rows,
});

/** Without much patience. */
const looked = (steps: HangingSteps, shards: readonly OpenedShard[], topics: readonly string[]) =>
  endedOffsets(steps, shards, topics, { waitMs: 5, pollMs: 1 });

describe('offsets of shards whose former owners are fenced', () => {
  it('are as they are where no transaction holds any', async () => {
    const { calls, steps } = scripted({ pending: [] });
    const { offsets, fault } = await looked(steps, [opened(0, ['x'])], ['in']);
    expect(offsets).toEqual(new Map([['in', new Map([[0, 10n]])]]));
    expect(fault).toBeUndefined();
    expect(calls).toEqual([]);
  });

  it.each([
    {
      what: 'committed where the journal knows so, though only of another shard',
      inDoubt: { owned: [owned(0, 10n, row(0, 2, 15n)), owned(1, 15n)] },
      calls: ['commit x with chunks 2'],
    },
    {
      what: 'committed where some of it can be seen',
      inDoubt: { owned: [owned(0, 10n, row(0, 2, 15n), row(0, 3, 20n))] },
      visible: true,
      calls: ['look for chunks 2,3 of 7', 'commit x with chunks 2,3'],
    },
    {
      what: 'aborted where nobody can have seen any of it',
      inDoubt: { owned: [owned(0, undefined, row(0, 2, 15n)), owned(1, 10n, row(1, 2, 15n))] },
      calls: ['look for chunks 2,2 of 7', 'abort x with chunks 2,2'],
    },
    {
      what: 'not taken for that which an unconcerned shard has emitted',
      inDoubt: { owned: [owned(0, 10n, row(0, 2, 15n)), owned(2, 99n, row(2, 5, 120n))] },
      calls: ['look for chunks 2 of 7', 'abort x with chunks 2'],
    },
  ])('come of a transaction that is $what', async ({ inDoubt, visible = false, calls }) => {
    const script = scripted({ pending: [0, 1], inDoubt, visible });
    const { fault } = await looked(script.steps, [opened(0, ['x'])], ['in']);
    expect(fault).toBeUndefined();
    expect(script.calls).toEqual(calls);
  });

  it('come of a transaction that was committed before its shard was released, whose process is fenced first', async () => {
    const { calls, steps } = scripted({ pending: [0], inDoubt: { released: [{ shard: 0, emitted: { in: 20n } }] } });
    const { fault } = await looked(steps, [opened(0, [])], ['in']);
    expect(fault).toBeUndefined();
    expect(calls).toEqual(['fence x', 'commit x with chunks ']);
  });

  it('are not guessed where several transactions hang and none is known to be the released shard’s', async () => {
    const inDoubt = { released: [{ shard: 0, emitted: { in: 20n } }] };
    const { calls, steps } = scripted({ pending: [0], abandoned: [X, Y], inDoubt });
    const { fault } = await looked(steps, [opened(0, [])], ['in']);
    expect(fault).toMatchObject({ code: 'TRANSACTION_HANGING', fate: 'stop' });
    expect(calls).toEqual(['fence x']);
  });

  it('stay held by a transaction that is nobody’s: group, partitions and Kafka’s tool are named', async () => {
    const { steps } = scripted({ pending: [0, 1], abandoned: [] });
    const { offsets, fault } = await looked(steps, [opened(0, ['x']), opened(1, ['x'])], ['in']);
    expect(offsets).toEqual(new Map([['in', new Map()]]));
    expect(fault).toMatchObject({ code: 'TRANSACTION_HANGING' });
    for (const said of ['"group"', 'in-0, in-1', 'kafka-transactions.sh']) expect(fault?.message).toContain(said);
  });

  it('say which rights it takes where the broker refuses to tell', async () => {
    const fails = Object.assign(new Error('Cluster authorization failed'), { type: 'CLUSTER_AUTHORIZATION_FAILED' });
    const { fault } = await looked(scripted({ pending: [0], fails }).steps, [opened(0, ['x'])], ['in']);
    expect(fault?.message).toMatch(/Cluster authorization failed.*ALTER on the cluster/);
  });

  it('are asked for again later where a broker fails meanwhile', async () => {
    const fails = new Error('Connection lost');
    await expect(looked(scripted({ pending: [0], fails }).steps, [opened(0, ['x'])], ['in'])).rejects.toBe(fails);
  });
});
