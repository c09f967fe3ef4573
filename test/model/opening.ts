import { type OpeningSteps, type OwnedShard, openShards } from '../../src/engine/opening.ts';
import { StateferryError } from '../../src/errors.ts';
import type { OpenedShard } from '../../src/journal/open.ts';
import type { OutboxRow } from '../../src/journal/outbox.ts';
import type { Positions } from '../../src/model/record.ts';
import type { Wrong } from './wrong.ts';

/** Next offset by topic, in the order of `TOPICS`; -1: none. */
export type At = readonly number[];
export const TOPICS = ['a', 'b'] as const;

/** One thing that opening asks of Postgres or Kafka: what happens between two of them is up to everybody else. */
export type Request =
  | { readonly kind: 'open'; readonly shards: readonly number[] }
  | { readonly kind: 'owners'; readonly shards: readonly number[] }
  /** InitProducerId; undefined: under our own id. */
  | { readonly kind: 'init'; readonly id: number | undefined }
  | { readonly kind: 'offsets' }
  | {
      readonly kind: 'settle';
      readonly shard: number;
      readonly epoch: number;
      readonly fenced: readonly number[];
      readonly applied: At;
    }
  | { readonly kind: 'outbox'; readonly shard: number; readonly after: number };

export interface OpenedAnswer {
  readonly shard: number;
  readonly epoch: number;
  readonly others: readonly number[];
  readonly unreleased: boolean;
  readonly applied: At;
  readonly released: At | undefined;
  readonly chunk: number;
  readonly emitted: number;
}

export interface OutboxAnswer {
  readonly chunk: number;
  readonly positions: At;
  readonly outputs: readonly number[];
}

export interface Owned {
  readonly shard: number;
  readonly epoch: number;
  readonly chunk: number;
  readonly applied: At;
  readonly committed: At;
  readonly unemitted: readonly OutboxAnswer[];
}

/** Where an opening stands: it asks for something, or it is over. */
export type Stand =
  | { readonly kind: 'asks'; readonly request: Request }
  | { readonly kind: 'owns'; readonly shards: readonly Owned[] }
  | { readonly kind: 'fails'; readonly error: StateferryError };

/**
 * Openings that can be stopped before each of their steps, and gone on with in any order: what is kept of one is the
 * answers that it had, by number, and `openShards` itself is run from its start with them to learn what it asks next.
 * Nothing else is in it that could matter, so equal answers are equal states.
 */
export interface Openings {
  begin(shards: readonly number[]): number;
  answer(opening: number, answer: unknown): number;
  /** Undefined until `learn` has been awaited. */
  stand(opening: number): Stand | undefined;
  learn(opening: number): Promise<void>;
}

export function createOpenings(wrong: ReadonlySet<Wrong>): Openings {
  const byHistory = new Map<string, number>();
  const histories: { readonly shards: readonly number[]; readonly answers: readonly unknown[] }[] = [];
  const stands: (Stand | undefined)[] = [];

  const numberOf = (shards: readonly number[], answers: readonly unknown[]): number => {
    const key = JSON.stringify([shards, answers]);
    let number = byHistory.get(key);
    if (number === undefined) {
      number = histories.length;
      byHistory.set(key, number);
      histories.push({ shards, answers });
    }
    return number;
  };

  return {
    begin: (shards) => numberOf(shards, []),
    answer(opening, answer) {
      const { shards, answers } = historyOf(opening);
      return numberOf(shards, [...answers, answer]);
    },
    stand: (opening) => stands[opening],
    async learn(opening) {
      const { shards, answers } = historyOf(opening);
      stands[opening] = await replay(shards, answers, wrong);
    },
  };

  function historyOf(opening: number) {
    const history = histories[opening];
    if (history === undefined) throw new Error(`there is no opening ${opening}`);
    return history;
  }
}

async function replay(
  shards: readonly number[],
  answers: readonly unknown[],
  wrong: ReadonlySet<Wrong>,
): Promise<Stand> {
  let given = 0;
  return new Promise<Stand>((resolve) => {
    const ask = (request: Request): Promise<unknown> => {
      if (given < answers.length) return Promise.resolve(answers[given++]);
      resolve({ kind: 'asks', request });
      // The replay ends here; nothing holds on to it.
      return new Promise(() => undefined);
    };
    const options = { shards, topics: TOPICS, start: 'earliest', graceMs: 0 } as const;
    openShards(stepsOf(ask, shards, wrong), options).then(
      (owned) => resolve({ kind: 'owns', shards: owned.map(asOwned) }),
      (error: unknown) => {
        if (!(error instanceof StateferryError)) throw error;
        resolve({ kind: 'fails', error });
      },
    );
  });
}

/** The steps as requests, one for whatever Postgres or Kafka does in one go; and the wrong ways to take them. */
function stepsOf(
  ask: (request: Request) => Promise<unknown>,
  shards: readonly number[],
  wrong: ReadonlySet<Wrong>,
): OpeningSteps {
  let early: unknown;
  const initAll = async (ids: readonly number[]) => {
    for (const id of ids) await ask({ kind: 'init', id });
  };
  return {
    held: async () => [],
    async open() {
      if (wrong.has('fence before the epoch')) {
        await initAll((await ask({ kind: 'owners', shards })) as readonly number[]);
      }
      const opened = (await ask({ kind: 'open', shards })) as readonly OpenedAnswer[];
      if (wrong.has('own id initialised after it joined the owners')) await ask({ kind: 'init', id: undefined });
      return opened.map(
        (shard): OpenedShard => ({
          ...shard,
          others: shard.others.map(String),
          unreleased: shard.unreleased && !wrong.has('id kept for a shard given up uncleanly'),
          applied: positionsOf(shard.applied),
          released: shard.released && positionsOf(shard.released),
          // It matters where Kafka loses a commit that it has answered, which it does not here.
          emittedTo: undefined,
          shardSeq: 0,
        }),
      );
    },
    async fence(ids) {
      if (wrong.has('offsets before the fence')) early = await ask({ kind: 'offsets' });
      if (wrong.has('no fence') || wrong.has('fence before the epoch')) return;
      const owners = ids.map(Number);
      await initAll(wrong.has('fence of the newest owner only') ? owners.slice(-1) : owners);
    },
    async committed() {
      const offsets = (early ?? (await ask({ kind: 'offsets' }))) as readonly At[];
      const found = new Map(
        TOPICS.map((topic, t) => [
          topic,
          new Map(offsets.flatMap((at, shard) => (at[t] === -1 ? [] : [[shard, BigInt(at[t] as number)] as const]))),
        ]),
      );
      return { offsets: found as Map<string, Map<number, bigint>>, pending: new Map() };
    },
    // Here Kafka ends every transaction that it has begun to.
    group: 'group',
    abandoned: never,
    abandonedOutputs: async () => [],
    isOpen: never,
    inDoubt: never,
    isVisible: never,
    end: never,
    unseen: never,
    existing: async (topics) => new Set(topics),
    // All records are there from the start, and nothing is ever removed.
    ranges: async () => new Map(shards.map((shard) => [shard, { low: 0n, high: 1_000n }])),
    async settle(list) {
      const settled: number[] = [];
      for (const { shard, epoch, fenced, applied } of list) {
        const request = { kind: 'settle', shard, epoch, fenced: fenced.map(Number), applied: atOf(applied) } as const;
        if (await ask(request)) settled.push(shard);
      }
      return settled;
    },
    async outbox(shard, after) {
      if (wrong.has('outbox not emitted again')) return [];
      const rows = (await ask({ kind: 'outbox', shard, after })) as readonly OutboxAnswer[];
      return rows.map(
        ({ chunk, positions, outputs }): OutboxRow => ({
          shard,
          chunk,
          positions: positionsOf(positions),
          records: Uint8Array.from(outputs),
          at: 0,
        }),
      );
    },
  };
}

async function never(): Promise<never> {
  throw new Error('nothing is pending here');
}

function asOwned({ opened, applied, committed, unemitted }: OwnedShard): Owned {
  return {
    shard: opened.shard,
    epoch: opened.epoch,
    chunk: opened.chunk,
    applied: atOf(applied),
    committed: atOf(committed),
    unemitted: unemitted.map(({ chunk, positions, records }) => ({
      chunk,
      positions: atOf(positions),
      outputs: [...records],
    })),
  };
}

function positionsOf(at: At): Positions {
  return Object.fromEntries(TOPICS.flatMap((topic, t) => (at[t] === -1 ? [] : [[topic, BigInt(at[t] as number)]])));
}

function atOf(positions: Positions): At {
  return TOPICS.map((topic) => Number(positions[topic] ?? -1));
}
