import { describe, expect, it } from 'vitest';
import { type Abandoned, endedOffsets, type HangingSteps } from '../../src/engine/hanging.ts';
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
  emittedTo: undefined,
  shardSeq: 0,
});

const row = (shard: number, chunk: number, offset: bigint) => ({
  shard,
  chunk,
  positions: { in: offset },
  records: Buffer.alloc(0),
  at: 0,
  isEmitted: chunk <= 1,
});

const X = { transactionalId: 'x', producerId: 7n, open: [{ topic: 'out', partition: 3 }] };
const Y = { transactionalId: 'y', producerId: 8n, open: [] };

/** A group that has committed 10 in `in` for every shard; `pending` are held until a transaction of `holder` is ended. */
function scripted(given: {
  pending: readonly number[];
  holder?: string;
  abandoned?: readonly Abandoned[];
  onOutputs?: readonly Abandoned[];
  /** Chunks that have something open on the output topics. */
  open?: readonly number[];
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
    abandonedOutputs: async () => [...(given.onOutputs ?? [])],
    existing: async (topics) => new Set(topics.filter((topic) => topic !== 'gone')),
    async fence(ids) {
      calls.push(`fence ${ids.join()}`);
    },
    inDoubt: async () => ({ owned: [], released: [], ...given.inDoubt }),
    async isVisible(producerId, rows) {
      calls.push(`look for chunks ${rows.map(({ chunk }) => chunk).join()} of ${producerId}`);
      return given.visible ?? false;
    },
    async isOpen(producerId, rows) {
      calls.push(`look for chunks ${rows.map(({ chunk }) => chunk).join()} in what ${producerId} has open`);
      return rows.some(({ chunk }) => given.open?.includes(chunk));
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

describe('outputs of transactions that hang, whose offsets got their marker', () => {
  const inDoubt = { owned: [owned(0, 5n, row(0, 2, 10n), row(0, 3, 20n)), owned(1, 5n, row(1, 4, 15n))] };

  it.each([
    { what: 'committed where all that is open was emitted', open: [2], ending: 'commit' },
    { what: 'aborted where some of it is to be emitted again, of another shard too', open: [4], ending: 'abort' },
  ])('are $what', async ({ open, ending }) => {
    const { calls, steps } = scripted({ pending: [], onOutputs: [X], inDoubt, open });
    const { fault } = await looked(steps, [opened(0, ['x'])], ['in']);
    expect(fault).toBeUndefined();
    expect(calls).toEqual(['look for chunks 3,4 in what 7 has open', `${ending} x with chunks 3,4`]);
  });

  it('are aborted where the journal takes them for emitted and the group has not got so far: the commit was lost', async () => {
    const lost = { owned: [owned(0, 15n, row(0, 1, 15n))] };
    const { calls, steps } = scripted({ pending: [], onOutputs: [X], inDoubt: lost, open: [1] });
    await looked(steps, [opened(0, ['x'])], ['in']);
    expect(calls).toEqual(['look for chunks 1 in what 7 has open', 'abort x with chunks 1']);
  });

  it('are committed where a topic is gone, of which the group has forgotten its offset', async () => {
    const rows = [{ ...row(0, 2, 10n), positions: { in: 10n, gone: 99n } }];
    const { calls, steps } = scripted({ pending: [], onOutputs: [X], inDoubt: { owned: [owned(0, 5n, ...rows)] } });
    await looked(steps, [opened(0, ['x'])], ['in', 'gone']);
    expect(calls).toEqual(['look for chunks  in what 7 has open', 'commit x with chunks ']);
  });

  it('are those of a process that may live, too, which is fenced first', async () => {
    const { calls, steps } = scripted({ pending: [], onOutputs: [X] });
    await looked(steps, [opened(0, [])], ['in']);
    expect(calls).toEqual(['fence x', 'look for chunks  in what 7 has open', 'commit x with chunks ']);
  });

  it('wait for what the offsets say where another shard has some of them pending', async () => {
    const { calls, steps } = scripted({
      pending: [1],
      onOutputs: [X],
      inDoubt: { owned: [owned(1, 10n, row(1, 2, 15n))] },
      visible: true,
    });
    await looked(steps, [opened(0, ['x'])], ['in']);
    expect(calls).toEqual(['look for chunks 2 of 7', 'commit x with chunks 2']);
  });

  it('that cannot be ended for lack of rights are named, with what it takes', async () => {
    const error = Object.assign(new Error('no'), { type: 'CLUSTER_AUTHORIZATION_FAILED' });
    const { steps } = scripted({ pending: [], onOutputs: [X] });
    const end = async () => Promise.reject(error);
    const { fault } = await looked({ ...steps, end }, [opened(0, ['x'])], ['in']);
    expect(fault).toMatchObject({ code: 'TRANSACTION_HANGING' });
    expect(fault?.message).toContain('records on out-3');
    expect(fault?.message).toContain('ALTER on the cluster');
  });
});
