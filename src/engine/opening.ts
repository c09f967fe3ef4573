import { setTimeout as delay } from 'node:timers/promises';
import { StateferryError } from '../errors.ts';
import type { OpenedShard } from '../journal/open.ts';
import { DOUBTED_CHUNKS, type OutboxRow } from '../journal/outbox.ts';
import type { Positions } from '../model/record.ts';
import type { OffsetRange } from '../topics/offsets.ts';
import { endedOffsets, type HangingSteps, isBelow } from './hanging.ts';

/** How often a new owner looks whether the old one has released its shards. */
const GRACE_POLL_MS = 25;
/** How often, and how many times, it is asked again for an offset that the journal knows to have been committed. */
const FORGOTTEN_POLL_MS = 50;
const FORGOTTEN_POLLS = 40;

/** The steps that opening is made of, as Postgres and Kafka carry them out. */
export interface OpeningSteps extends HangingSteps {
  /** Shards that another process holds: opened, neither released nor fenced. */
  held(shards: readonly number[]): Promise<number[]>;
  /** Step 1: a new epoch, and our id among the owners. */
  open(shards: readonly number[]): Promise<OpenedShard[]>;
  /** Step 2: fences transactional ids. */
  fence(ids: readonly string[]): Promise<void>;
  /** What offsets a topic has, per partition. */
  ranges(topic: string): Promise<Map<number, OffsetRange>>;
  /** Step 4: the fenced leave the owners, `applied` gains new topics. Answers the shards whose epoch was still ours. */
  settle(
    shards: readonly { shard: number; epoch: number; fenced: readonly string[]; applied: Positions }[],
  ): Promise<number[]>;
  /** The outbox of the chunks after `after`. */
  outbox(shard: number, after: number): Promise<OutboxRow[]>;
  /** The rows with those outputs alone that no reader of committed records sees. */
  unseen(rows: readonly OutboxRow[]): Promise<OutboxRow[]>;
}

/** A shard that is ours: where it stands, and what of its journal Kafka does not have. */
export interface OwnedShard {
  readonly opened: OpenedShard;
  readonly applied: Positions;
  readonly committed: Positions;
  /**
   * The group has no offset of the shard, though the journal has applied records: it was deleted, or it never got so far.
   * Nothing may be journaled before it has one, or a crash after that leaves what nobody can decide (OFFSETS_GONE).
   */
  readonly groupForgot: boolean;
  /** Chunks to be emitted again, in order. No function is called for them. */
  readonly unemitted: readonly OutboxRow[];
  /** Records that the topic's retention removed before they were read: topic and how many offsets. */
  readonly expired: readonly { topic: string; offsets: bigint }[];
}

/**
 * Asks once what opening asks, about no shard and changing nothing: what it takes to connect, and to compile, is not to be waited
 * for when a shard is. What fails here does so again where it matters.
 */
export async function rehearse(steps: OpeningSteps, topics: readonly string[]): Promise<void> {
  await Promise.allSettled([
    steps.held([]),
    steps.committed(topics, [], true),
    steps.abandonedOutputs(),
    ...topics.map((topic) => steps.ranges(topic)),
  ]);
}

/**
 * Opens shards. The order of the steps is the exactly-once protocol itself (docs/architecture.md): the epoch first, so
 * that no earlier owner journals any more; then the fence, so that none of them commits any more; only then the offsets,
 * which cannot move under us now. An id cannot fence itself, so what this process gave up without a clean release it may
 * open only under another one.
 * @throws StateferryError SHARD_FENCED when another process opened one of them meanwhile; EMIT_UNKNOWN when it takes a new
 * id to open one of them; TRANSACTION_HANGING (`endedOffsets`); TOPIC_RECREATED or JOURNAL_BEHIND when Kafka and the journal cannot both be right.
 */
export async function openShards(
  steps: OpeningSteps,
  options: {
    shards: readonly number[];
    topics: readonly string[];
    start: 'earliest' | 'latest';
    /** How long a live owner is given to release cleanly; waiting is a courtesy, not needed for safety. */
    graceMs: number;
  },
): Promise<OwnedShard[]> {
  const { shards, topics } = options;
  const deadline = Date.now() + options.graceMs;
  while (Date.now() < deadline && (await steps.held(shards)).length > 0) await delay(GRACE_POLL_MS);

  const opened = await steps.open(shards);
  const unreleased = opened.filter((shard) => shard.unreleased).map(({ shard }) => shard);
  if (unreleased.length > 0) {
    throw new StateferryError(
      'EMIT_UNKNOWN',
      `shard ${unreleased.join(', ')} was given up before all its output was in Kafka, under the transactional id that is to open it again`,
    );
  }
  await steps.fence([...new Set(opened.flatMap((shard) => shard.others))]);
  // What an earlier version of the function read counts too: a chunk's positions name every topic that the shard has had.
  const everRead = [...new Set([...topics, ...opened.flatMap((shard) => Object.keys(shard.applied))])];
  const [ended, ...rangesOf] = await Promise.all([
    endedOffsets(steps, opened, everRead),
    ...topics.map((topic) => steps.ranges(topic)),
  ]);
  const ranges = new Map(topics.map((topic, i) => [topic, rangesOf[i] ?? new Map<number, OffsetRange>()]));
  let committed: ReadonlyMap<string, ReadonlyMap<number, bigint>> = ended.offsets;
  // The markers of a first transaction may be on their way for a moment.
  for (let poll = 0; poll < FORGOTTEN_POLLS && opened.some((s) => forgotten(s, topics, committed).length > 0); poll++) {
    await delay(FORGOTTEN_POLL_MS);
    committed = (await steps.committed(everRead, shards, true)).offsets;
  }
  const unread = everRead.filter((topic) => !topics.includes(topic));
  const existing = unread.length === 0 ? new Set<string>() : await steps.existing(unread);
  const gone = unread.filter((topic) => !existing.has(topic));

  const owned = opened.map((shard) => place(shard, topics, gone, options.start, committed, ranges));
  const settled = new Set(
    await steps.settle(
      owned.map(({ opened: { shard, epoch, others, applied: before }, applied }) =>
        // Whose transaction hangs is still to be known when a person has seen to it.
        ended.fault === undefined
          ? { shard, epoch, fenced: others, applied }
          : { shard, epoch, fenced: [], applied: before },
      ),
    ),
  );
  const taken = shards.filter((shard) => !settled.has(shard));
  if (taken.length > 0) {
    throw new StateferryError('SHARD_FENCED', `another process opened shard ${taken.join(', ')} while this one did`);
  }
  // Only now: while another process has a shard, Kafka is ahead of what we have read, and nothing is wrong.
  if (ended.fault !== undefined) throw ended.fault;
  for (const { fault } of owned) if (fault !== undefined) throw fault;
  const result: OwnedShard[] = [];
  for (const { fault: _, ...shard } of owned) {
    const { chunk, emitted } = shard.opened;
    const rows = chunk === emitted ? [] : await steps.outbox(shard.opened.shard, emitted);
    const unemitted = rows
      .map((row) => ({ ...row, positions: only(shard.applied, row.positions) }))
      .filter((row) => isBeyond(row.positions, shard.committed));
    result.push({ ...shard, unemitted: [...(await lost(steps, shard.opened, committed)), ...unemitted] });
  }
  return result;
}

/**
 * Chunks that the journal takes for emitted, and that the group's offsets do not have: Kafka has answered the commit of their transaction and
 * lost it, or a part of it, after which the fence aborted what was left. What there is of them stays, the rest is to be emitted again.
 */
async function lost(
  steps: Pick<OpeningSteps, 'outbox' | 'unseen'>,
  { shard, others, emitted, emittedTo }: OpenedShard,
  offsets: ReadonlyMap<string, ReadonlyMap<number, bigint>>,
): Promise<OutboxRow[]> {
  // After a clean release nothing has been aborted.
  if (others.length === 0 || emittedTo === undefined) return [];
  const committed = new Map(Object.keys(emittedTo).map((topic) => [topic, offsets.get(topic)?.get(shard)]));
  if (!isBelow(committed, emittedTo)) return [];
  const kept = await steps.outbox(shard, Math.max(0, emitted - DOUBTED_CHUNKS));
  const rows = kept.filter(({ chunk, positions }) => chunk <= emitted && isBelow(committed, positions));
  return rows.length === 0 ? [] : steps.unseen(rows);
}

/** A shard as it would be ours, and why it must not be opened, if that is how it looks. */
type Placed = Omit<OwnedShard, 'unemitted'> & { readonly fault: StateferryError | undefined };

function place(
  opened: OpenedShard,
  topics: readonly string[],
  /** Topics that are neither read nor there any more. */
  gone: readonly string[],
  start: 'earliest' | 'latest',
  committedOffsets: ReadonlyMap<string, ReadonlyMap<number, bigint>>,
  ranges: ReadonlyMap<string, ReadonlyMap<number, OffsetRange>>,
): Placed {
  const { shard } = opened;
  let fault: StateferryError | undefined;
  const applied: Record<string, bigint> = { ...opened.applied };
  const committed: Record<string, bigint> = {};
  const expired: { topic: string; offsets: bigint }[] = [];
  const knownOf = (topic: string): bigint | undefined => {
    const inKafka = committedOffsets.get(topic)?.get(shard);
    const inRow = opened.released?.[topic];
    // A clean release may be ahead of what Kafka answers: the markers of its last transaction may still be on their way.
    return inKafka === undefined || (inRow !== undefined && inRow > inKafka) ? inRow : inKafka;
  };
  for (const topic of topics) {
    const known = knownOf(topic);
    const range = ranges.get(topic)?.get(shard) ?? { low: 0n, high: 0n };
    const before = applied[topic];
    if (before === undefined) {
      applied[topic] = known ?? (start === 'latest' ? range.high : range.low);
    } else {
      if (known !== undefined && known > before) fault ??= behind(topic, shard, known, before);
      if (before > range.high) fault ??= recreated(topic, shard, before, range);
      if (range.low > before) {
        expired.push({ topic, offsets: range.low - before });
        applied[topic] = range.low;
      }
    }
    if (known !== undefined) committed[topic] = known;
  }
  for (const topic of forgotten(opened, topics, committedOffsets))
    fault ??= recreatedSince(topic, shard, applied[topic] ?? 0n);
  // The broker takes no offset of a topic that is gone, and under its name there would be other records.
  for (const topic of gone) delete applied[topic];
  for (const topic of Object.keys(applied)) {
    if (topics.includes(topic)) continue;
    // Kafka forgets the offsets of a topic that the group has long not read; then what the journal has was committed.
    const known = knownOf(topic) ?? opened.applied[topic];
    if (known !== undefined) committed[topic] = known;
  }
  // The first transaction commits a position for every topic, so only a group that was deleted has none at all.
  const nothingKnown = Object.keys(opened.applied).every((topic) => committed[topic] === undefined);
  if (nothingKnown && opened.emitted > 0 && opened.chunk > opened.emitted) fault ??= offsetsGone(shard);
  const groupForgot = opened.chunk > 0 && !topics.some((topic) => committedOffsets.get(topic)?.has(shard));
  return { opened, applied: fault === undefined ? applied : opened.applied, committed, groupForgot, expired, fault };
}

/**
 * Topics whose offsets Kafka has forgotten, and not the others': it does that when a topic is deleted. The journal knows
 * from the last clean release that they were committed.
 */
function forgotten(
  { shard, released }: OpenedShard,
  topics: readonly string[],
  committed: ReadonlyMap<string, ReadonlyMap<number, bigint>>,
): string[] {
  if (released === undefined) return [];
  const absent = topics.filter((topic) => released[topic] !== undefined && !committed.get(topic)?.has(shard));
  return [...committed.values()].some((offsets) => offsets.has(shard)) ? absent : [];
}

/** `positions` of the topics that `kept` has. */
function only(kept: Positions, positions: Positions): Positions {
  return Object.fromEntries(Object.entries(positions).filter(([topic]) => kept[topic] !== undefined));
}

/** Some topic of `positions` is further than the group has committed: the chunk that led there is not in Kafka. */
function isBeyond(positions: Positions, committed: Positions): boolean {
  return Object.entries(positions).some(([topic, offset]) => {
    const known = committed[topic];
    return known === undefined || offset > known;
  });
}

function recreated(topic: string, shard: number, applied: bigint, range: OffsetRange): StateferryError {
  return new StateferryError(
    'TOPIC_RECREATED',
    `the journal has applied partition ${shard} of "${topic}" up to offset ${applied}, and the partition ends at ${range.high}: ` +
      'the topic was deleted and made again, or this is another cluster. Point kafka.brokers at the right cluster, ' +
      'or start a new deployment in another schema.',
  );
}

function recreatedSince(topic: string, shard: number, applied: bigint): StateferryError {
  return new StateferryError(
    'TOPIC_RECREATED',
    `the consumer group had an offset of "${topic}" partition ${shard} and has none any more, as it is when a topic is ` +
      'deleted and made again. Its records are other ones now, which the journal cannot tell from those that it has applied. ' +
      `Start a new deployment in another schema; or, to pass over all records below offset ${applied}, set the group's offset to that.`,
  );
}

function behind(topic: string, shard: number, committed: bigint, applied: bigint): StateferryError {
  return new StateferryError(
    'JOURNAL_BEHIND',
    `the group has committed offset ${committed} of "${topic}" partition ${shard}, and the journal has applied only up to ${applied}: ` +
      'the journal was restored from a backup, or another deployment uses the same group. Restore the journal to its ' +
      'newest state, or give the deployments different names (deployment.name).',
  );
}

function offsetsGone(shard: number): StateferryError {
  return new StateferryError(
    'OFFSETS_GONE',
    `the consumer group has no committed offsets for shard ${shard} any more, and the journal holds outputs ` +
      'of which only that offset could say whether they were emitted: the group was deleted or has expired. ' +
      'Compare the output topics with the journal, then set the group to the offsets that hold.',
  );
}
