import { setTimeout as delay } from 'node:timers/promises';
import { StateferryError } from '../errors.ts';
import type { InDoubt, RowInDoubt } from '../journal/in-doubt.ts';
import type { OpenedShard } from '../journal/open.ts';
import type { OutboxRow } from '../journal/outbox.ts';
import type { Positions } from '../model/record.ts';
import { isUnauthorized } from '../topics/flexible.ts';
import type { GroupOffsets } from '../topics/stable-offsets.ts';

/** How long offsets may be pending before a transaction is taken to hang, and how often it is looked, in ms. */
const PATIENCE = { waitMs: 2_000, pollMs: 50 };

/** A transaction that is open in the log of a partition, while no coordinator is going to end it. */
export interface Abandoned {
  readonly transactionalId: string;
  readonly producerId: bigint;
  /** Where. */
  readonly open: readonly { readonly topic: string; readonly partition: number }[];
}

/** How a transaction is ended. */
export type Ending = 'commit' | 'abort';

/** What it takes to find and to end transactions that hang, as Postgres and Kafka carry it out. */
export interface HangingSteps {
  /** Name of the consumer group, for people. */
  readonly group: string;
  /** The group's offsets; without `stable`, nothing is pending. */
  committed(topics: readonly string[], shards: readonly number[], stable: boolean): Promise<GroupOffsets>;
  /** Those of the topics that there are. */
  existing(topics: readonly string[]): Promise<ReadonlySet<string>>;
  /** Transactions of the deployment that hang, by what they hold of the group's offsets. */
  abandoned(): Promise<Abandoned[]>;
  /** Those that hang by what they hold of the output topics. */
  abandonedOutputs(): Promise<Abandoned[]>;
  /** Fences transactional ids. */
  fence(ids: readonly string[]): Promise<void>;
  /** What the journal knows, for good, about the chunks of a fenced id. */
  inDoubt(transactionalId: string): Promise<InDoubt>;
  /** Whether a reader of committed records sees some output of these chunks that this producer wrote. */
  isVisible(producerId: bigint, rows: readonly OutboxRow[]): Promise<boolean>;
  /** Whether what this producer has open on the output topics holds some output of these chunks. */
  isOpen(producerId: bigint, rows: readonly OutboxRow[]): Promise<boolean>;
  /** Writes the missing markers: for the topics of the deployment and of these chunks first, the group's offsets last. */
  end(abandoned: Abandoned, ending: Ending, rows: readonly OutboxRow[]): Promise<void>;
}

/**
 * The group's offsets of shards whose former owners are fenced: topic → partition → offset.
 *
 * A transaction whose coordinator lost its markers (docs/architecture.md, "Transactions that hang") is found by offsets that
 * stay pending, or by outputs, and ended here. Where it holds offsets, it was committed if the journal knows that the commit was
 * answered, or if some of it can be seen; otherwise nobody has seen any of it, and what it held is emitted again. Where
 * its offsets got their marker, these say how it ended.
 * The fault is a StateferryError TRANSACTION_HANGING: it cannot be ended, or nobody can tell how. Unless the shards are
 * still ours, it means nothing: offsets are pending, too, where another process emits for them by now.
 */
export async function endedOffsets(
  steps: HangingSteps,
  opened: readonly OpenedShard[],
  topics: readonly string[],
  patience = PATIENCE,
): Promise<{ readonly offsets: GroupOffsets['offsets']; readonly fault: StateferryError | undefined }> {
  const shards = opened.map(({ shard }) => shard);
  const [before, onOutputs] = await Promise.all([
    untilStable(steps, topics, shards, patience),
    steps.abandonedOutputs(),
  ]);
  let found = before;
  if (found.pending.size > 0) {
    const fault = await endAll(steps, found, opened, topics);
    found = await untilStable(steps, topics, shards, patience);
    if (found.pending.size > 0) {
      return {
        ...found,
        fault: fault ?? hanging(heldOffsets(steps, found), 'no transactional id of the deployment accounts for it'),
      };
    }
  }
  return { ...found, fault: await endOutputs(steps, onOutputs, opened, topics) };
}

/**
 * Whether what is committed (by topic; undefined: nothing is) has not come as far as these positions, in some topic that has something. Where none
 * has, it may be so: the very first transaction is one that can be lost, too. Of a chunk whose commit was answered it says that its transaction
 * has been lost since, or a part of it (docs/architecture.md, "Commits that are lost").
 */
export function isBelow(committed: ReadonlyMap<string, bigint | undefined>, positions: Positions): boolean {
  const known = Object.entries(positions).flatMap(([topic, to]) => {
    const offset = committed.get(topic);
    return offset === undefined ? [] : [offset < to];
  });
  return known.length === 0 || known.includes(true);
}

/**
 * Ends what hangs on the output topics alone. What is not emitted of a chunk is going to be emitted again: so if the
 * transaction holds any of that, it was aborted. Nothing else that it could hold is, so it was committed.
 */
async function endOutputs(
  steps: HangingSteps,
  abandoned: readonly Abandoned[],
  opened: readonly OpenedShard[],
  topics: readonly string[],
): Promise<StateferryError | undefined> {
  const shards = opened.map(({ shard }) => shard);
  const fenced = new Set(opened.flatMap(({ others }) => others));
  try {
    for (const one of abandoned) {
      // It may live. When this is done, it must not go on in what it takes to be another transaction.
      if (!fenced.has(one.transactionalId)) await steps.fence([one.transactionalId]);
      const { owned } = await steps.inDoubt(one.transactionalId);
      const all = [...new Set([...shards, ...owned.map(({ shard }) => shard)])];
      const { offsets, pending } = await steps.committed(topics, all, true);
      if (pending.size > 0) {
        await end(steps, one, { alone: abandoned.length === 1, shards, topics });
        continue;
      }
      const there = await steps.existing(topics);
      const isUnemitted = ({ shard, positions, isEmitted }: RowInDoubt): boolean => {
        const committed = [...there].map((topic) => [topic, offsets.get(topic)?.get(shard)] as const);
        if (isEmitted) return isBelow(new Map(committed), positions);
        return committed.some(([topic, known]) => (positions[topic] ?? -1n) > (known ?? -1n));
      };
      const rows = owned.flatMap((shard) => shard.rows).filter(isUnemitted);
      await steps.end(one, (await steps.isOpen(one.producerId, rows)) ? 'abort' : 'commit', rows);
    }
    return undefined;
  } catch (error) {
    return faultOf(`records on ${named(abandoned.flatMap(({ open }) => open))}`, error);
  }
}

async function endAll(
  steps: HangingSteps,
  before: GroupOffsets,
  opened: readonly OpenedShard[],
  topics: readonly string[],
): Promise<StateferryError | undefined> {
  const shards = opened.map(({ shard }) => shard);
  let found = before;
  const fenced = new Set(opened.flatMap(({ others }) => others));
  try {
    const abandoned = await steps.abandoned();
    const others = abandoned.filter(({ transactionalId }) => !fenced.has(transactionalId));
    for (const one of abandoned) {
      if (fenced.has(one.transactionalId)) await end(steps, one, { alone: abandoned.length === 1, shards, topics });
    }
    found = await steps.committed(topics, shards, true);
    // A shard that was released cleanly does not name who did. That process may live: it must not write meanwhile.
    for (const one of found.pending.size === 0 ? [] : others) {
      await steps.fence([one.transactionalId]);
      await end(steps, one, { alone: others.length === 1, shards, topics });
    }
    return undefined;
  } catch (error) {
    return faultOf(heldOffsets(steps, found), error);
  }
}

/** @throws error, where it is neither one of ours nor a lack of rights. */
function faultOf(held: string, error: unknown): StateferryError {
  if (error instanceof StateferryError && error.code === 'TRANSACTION_HANGING') return error;
  if (!isUnauthorized(error)) throw error;
  return hanging(
    held,
    `the broker does not let this process look for it or end it (${error.message}), which takes READ on all topics of the ` +
      'deployment and on __consumer_offsets, DESCRIBE on its transactional ids, and ALTER on the cluster',
    error,
  );
}

/** Markers of a transaction that was answered may be on their way for a moment. */
async function untilStable(
  steps: HangingSteps,
  topics: readonly string[],
  shards: readonly number[],
  { waitMs, pollMs }: typeof PATIENCE,
): Promise<GroupOffsets> {
  const giveUp = performance.now() + waitMs;
  for (;;) {
    const found = await steps.committed(topics, shards, true);
    if (found.pending.size === 0 || performance.now() >= giveUp) return found;
    await delay(pollMs);
  }
}

async function end(
  steps: HangingSteps,
  abandoned: Abandoned,
  at: {
    /** No other transaction could hold the same offsets. */
    readonly alone: boolean;
    readonly shards: readonly number[];
    readonly topics: readonly string[];
  },
): Promise<void> {
  const { owned, released } = await steps.inDoubt(abandoned.transactionalId);
  const shards = [
    ...new Set([...at.shards, ...owned.map(({ shard }) => shard), ...released.map(({ shard }) => shard)]),
  ];
  const found = await steps.committed(at.topics, shards, true);
  const { offsets } = await steps.committed(at.topics, shards, false);
  /** The positions are beyond what is committed, in a topic where something is pending. */
  const isHeld = (shard: number, positions: Positions | undefined): boolean =>
    [...found.pending].some(([topic, pending]) => {
      const to = positions?.[topic];
      return pending.includes(shard) && to !== undefined && to > (offsets.get(topic)?.get(shard) ?? -1n);
    });
  // Older notes than the transaction are not beyond what is committed.
  const isReleased = released.some(({ shard, emitted }) => isHeld(shard, emitted));
  if (isReleased && !at.alone) {
    throw hanging(
      heldOffsets(steps, found),
      'several do, and a shard that was released does not say which of them was its own',
    );
  }
  if (owned.length === 0 && !isReleased) return;
  const rows = owned.flatMap((shard) => shard.rows).filter(({ shard, positions }) => isHeld(shard, positions));
  const isCommitted =
    isReleased ||
    owned.some(({ shard, emitted }) => isHeld(shard, emitted)) ||
    (await steps.isVisible(abandoned.producerId, rows));
  await steps.end(abandoned, isCommitted ? 'commit' : 'abort', rows);
}

function heldOffsets(steps: HangingSteps, { pending }: GroupOffsets): string {
  const held = [...pending].flatMap(([topic, shards]) => shards.map((partition) => ({ topic, partition })));
  return `offsets of the consumer group "${steps.group}" for ${named(held)}, and maybe records`;
}

function named(partitions: readonly { readonly topic: string; readonly partition: number }[]): string {
  return partitions.map(({ topic, partition }) => `${topic}-${partition}`).join(', ');
}

function hanging(held: string, reason: string, cause?: unknown): StateferryError {
  return new StateferryError(
    'TRANSACTION_HANGING',
    `a transaction that no broker is going to end holds ${held}: ${reason}. Kafka's kafka-transactions.sh finds it ` +
      '(find-hanging) and can abort it (abort). Aborting loses its records if it was committed: compare the output topics ' +
      'with the outbox of the journal before.',
    { cause },
  );
}
