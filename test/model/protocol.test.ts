import { describe, expect, it } from 'vitest';
import { type Exploration, explore } from './explore.ts';
import { createOpenings } from './opening.ts';
import { createAtEnd, createSteps } from './protocol.ts';
import { type Bounds, keyOf, type World } from './world.ts';
import type { Wrong } from './wrong.ts';

/*
 * The exactly-once protocol (docs/architecture.md), in every order in which its steps can come: `openShards` as it is,
 * the rest of the engine and both servers as models of what they do. What is looked for: an output that is committed
 * twice, left out or ahead of its turn; an offset without its outputs; a journal whose outbox lacks what is not out; and,
 * where nothing can happen any more, a record without its output.
 */
const MAX_STATES = 300_000;

const NOTHING: Bounds = { records: [[1, 0]], processes: 2, crashes: 0, moves: 0, lost: 0, slowMarkers: false };

/** `atLeast`: states. Far fewer, and the model would not be looking at what it is said to. */
const CASES: readonly { readonly what: string; readonly bounds: Partial<Bounds>; readonly atLeast: number }[] = [
  {
    what: 'a process with two shards and two topics dies at any step, and its late requests arrive at any other',
    bounds: {
      records: [
        [1, 1],
        [1, 0],
      ],
      crashes: 1,
      slowMarkers: true,
    },
    atLeast: 8_000,
  },
  {
    what: 'it dies again, while it opens what it had',
    bounds: { records: [[1, 1]], crashes: 2, slowMarkers: true },
    atLeast: 8_000,
  },
  {
    what: 'one of its two shards goes to another process, cleanly or not, so that it may be fenced with the other',
    bounds: {
      records: [
        [1, 0],
        [1, 0],
      ],
      moves: 1,
    },
    atLeast: 9_000,
  },
  {
    what: 'a shard goes to another process and comes back',
    bounds: { moves: 2, slowMarkers: true },
    atLeast: 20_000,
  },
  {
    what: 'a shard is handed over while one of the processes dies',
    bounds: { moves: 1, crashes: 1, slowMarkers: true },
    atLeast: 20_000,
  },
  {
    what: 'a shard is handed over while the journal, the broker or a release gives no answer',
    bounds: { moves: 1, lost: 1 },
    atLeast: 12_000,
  },
];

async function check(bounds: Partial<Bounds>, wrong: readonly Wrong[] = []): Promise<Exploration> {
  const all = { ...NOTHING, ...bounds };
  const flags = new Set(wrong);
  const openings = createOpenings(flags);
  return explore<World>({
    ...createSteps(all, openings, flags),
    key: keyOf,
    prepare(world) {
      const unknown = world.processes.flatMap(({ opening }) =>
        opening === undefined || openings.stand(opening.number) !== undefined ? [] : [openings.learn(opening.number)],
      );
      return unknown.length === 0 ? undefined : Promise.all(unknown).then(() => undefined);
    },
    atEnd: createAtEnd(all),
    maxStates: MAX_STATES,
  });
}

describe('every output exactly once', () => {
  it.each(CASES)('when $what', async ({ bounds, atLeast }) => {
    const { broken, states, ends, taken } = await check(bounds);
    expect(broken && `${broken.promise}\n${broken.trace.join('\n')}`).toBeUndefined();
    expect(states).toBeGreaterThanOrEqual(atLeast);
    expect(ends).toBeGreaterThan(0);
    const wanted = ['begin', 'opening', 'journal', 'journaled', 'write', 'end'];
    if ((bounds.crashes ?? 0) > 0) wanted.push('crash', 'late');
    if ((bounds.moves ?? 0) > 0) wanted.push('move', 'hear', 'release', 'give up');
    if ((bounds.lost ?? 0) > 0) wanted.push('lost', 'late');
    if (bounds.slowMarkers) wanted.push('markers');
    expect([...taken.keys()]).toEqual(expect.arrayContaining(wanted));
  });

  it('even where the journal is asked again after a lost answer, since it looks at the position too', async () => {
    const { broken } = await check({ records: [[1, 1]], lost: 1 }, ['journal asked again after a lost answer']);
    expect(broken).toBeUndefined();
  });
});

describe('the model finds out what is wrong with', () => {
  const crashing: Partial<Bounds> = { records: [[1, 1]], crashes: 2 };
  const moving: Partial<Bounds> = { moves: 1 };
  const returning: Partial<Bounds> = { moves: 2 };
  const losing: Partial<Bounds> = { records: [[1, 1]], lost: 1 };

  const twice = 'is committed twice';
  const rows: readonly { wrong: readonly Wrong[]; bounds: Partial<Bounds>; finds: string }[] = [
    { wrong: ['no epoch check at the journal'], bounds: crashing, finds: '2 times in the outbox' },
    {
      wrong: ['no position check at the journal', 'journal asked again after a lost answer'],
      bounds: losing,
      finds: '2 times in the outbox',
    },
    { wrong: ['no fence'], bounds: crashing, finds: twice },
    { wrong: ['fence of the newest owner only'], bounds: crashing, finds: twice },
    { wrong: ['offsets before the fence'], bounds: crashing, finds: twice },
    { wrong: ['fence before the epoch'], bounds: moving, finds: twice },
    { wrong: ['outbox not emitted again'], bounds: crashing, finds: 'is committed without the outputs before it' },
    { wrong: ['own id initialised after it joined the owners'], bounds: returning, finds: twice },
    { wrong: ['owner forgotten at an unclean release'], bounds: moving, finds: twice },
    { wrong: ['id kept for a shard given up uncleanly'], bounds: returning, finds: twice },
    { wrong: ['id kept after an unknown outcome'], bounds: losing, finds: twice },
    { wrong: ['id kept after an unknown outcome'], bounds: moving, finds: twice },
    { wrong: ['offsets of one topic only'], bounds: crashing, finds: 'the group has committed up to 1,-1' },
  ];

  it.each(rows.map((row) => ({ ...row, what: row.wrong.join(', and ') })))(
    '$what',
    async ({ wrong, bounds, finds }) => {
      const { broken } = await check(bounds, wrong);
      expect(broken?.promise).toContain(finds);
      // The way there can be read, and ends with the step that breaks the promise.
      expect(broken?.trace.length).toBeGreaterThan(3);
    },
  );
});
