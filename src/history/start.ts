import type pg from 'pg';
import { StateferryError } from '../errors.ts';
import { chunksBefore, type HistoryReach, lastChunkWithin, positionsAfter, readReach } from '../journal/chunks.ts';
import type { ShardStart } from '../journal/copied-state.ts';
import { chunksBeyond } from '../journal/find-chunks.ts';
import type { GenerationMode } from '../journal/generations.ts';
import { readRemoved } from '../journal/retention.ts';
import type { Positions } from '../model/record.ts';
import type { PartitionLogs } from '../topics/partition-log.ts';

/** Where in history something is to begin; earliest: as early as there is all of its input. */
export type HistoryStart = 'beginning' | 'earliest' | Date;

/** What is to be made of a generation's history. */
export interface Making {
  readonly start: HistoryStart;
  readonly mode: GenerationMode;
  /** The generation was made in cascade itself, and fed itself by this command topic until it took over. */
  readonly ownCommands: string | undefined;
}

/**
 * Where each shard's history is to be read from. In a cascade, behind all by which the generation has fed itself.
 * @throws StateferryError HISTORY_GAP where history does not reach back so far, with what is missing.
 */
export async function startPlaces(
  pool: pg.Pool,
  logs: Pick<PartitionLogs, 'ranges'>,
  generation: number,
  { start, mode, ownCommands }: Making,
): Promise<Map<number, ShardStart>> {
  const reach = await readReach(pool, generation);
  if (reach.length === 0) {
    throw new StateferryError('HISTORY_GAP', 'the journal has no history yet: the deployment has not run.');
  }
  const before =
    start === 'earliest'
      ? await lastUnread(pool, logs, generation, reach)
      : start === 'beginning'
        ? new Map<number, number>()
        : await chunksBefore(pool, generation, start);
  const starts = new Map<number, ShardStart>();
  const gaps: string[] = [];
  for (const { shard, chunk, first, start: origin, takenOver } of reach) {
    const last = before.get(shard) ?? 0;
    if (chunk > last && (first === undefined || first > last + 1)) {
      gaps.push(`shard ${shard} from chunk ${first ?? 'none'} of ${chunk} on`);
      continue;
    }
    const positions: Record<string, bigint> = {
      ...origin,
      ...(await positionsAfter(pool, { generation, shard, chunk: last })),
    };
    if (ownCommands !== undefined && last < takenOver) {
      if (mode === 'isolated') throw fedItself();
      const own = (await positionsAfter(pool, { generation, shard, chunk: takenOver }))?.[ownCommands];
      if (own !== undefined) positions[ownCommands] = own;
    }
    starts.set(shard, { chunk: last, positions });
  }
  if (gaps.length > 0) {
    throw new StateferryError(
      'HISTORY_GAP',
      `the journal knows the order of its input only since this version runs on it: ${gaps.join('; ')}. Begin later, with --from and a time, ` +
        'and with --state live, if entities are to begin with what they were then.',
    );
  }
  if (start === 'beginning' && reach.some(({ first }) => first === 0)) {
    throw new StateferryError(
      'HISTORY_GAP',
      'the generation that serves has begun in the middle of history, with the state of another one: before that it has no input. ' +
        'Begin there with that state (--state live), or with entities that are empty (--from and a time).',
    );
  }
  const missing = await missingRecords(pool, logs, generation, reach, starts);
  if (missing.length > 0) {
    const removed = (await readRemoved(pool, generation)).filter(({ kind }) => kind === 'inputs');
    const own = removed.map(({ shard, through }) => `of shard ${shard} up to chunk ${through}`).join(', ');
    throw new StateferryError(
      'HISTORY_GAP',
      `retention has removed records that are needed, and the journal has no inputs there${own === '' ? '' : ` (journal.retention has removed those ${own})`}: ${missing.join('; ')}. ` +
        'Begin after them: --state live begins as early as there are all of them, with what entities were then, and --from at a time of ' +
        'yours, with entities that are empty. And have journal.keepInputs keep what comes from now on.',
    );
  }
  return starts;
}

/** What must come from the topics, and is not there any more: one phrase for each partition. */
async function missingRecords(
  pool: pg.Pool,
  logs: Pick<PartitionLogs, 'ranges'>,
  generation: number,
  reach: readonly HistoryReach[],
  starts: ReadonlyMap<number, ShardStart>,
): Promise<string[]> {
  const topics = [...new Set(reach.flatMap(({ applied }) => Object.keys(applied)))];
  const ranges = await logs.ranges(topics);
  const missing: string[] = [];
  for (const { shard, applied } of reach) {
    const start = starts.get(shard)?.positions ?? {};
    const needed = await firstUnkept(pool, generation, shard, start);
    for (const topic of topics) {
      const low = ranges.get(topic)?.get(shard)?.low ?? 0n;
      const from = needed?.[topic];
      const until = applied[topic];
      if (from === undefined || until === undefined || from >= until || low <= from) continue;
      missing.push(`offsets ${from} to ${(low < until ? low : until) - 1n} of "${topic}" partition ${shard}`);
    }
  }
  return missing;
}

/** Where the first chunk begins whose inputs the journal did not keep; undefined: it kept them all. */
async function firstUnkept(
  pool: pg.Pool,
  generation: number,
  shard: number,
  start: Positions,
): Promise<Positions | undefined> {
  const after = await lastChunkWithin(pool, { generation, shard, positions: start });
  const { rows } = await pool.query<{ chunk: number | null }>(
    `select min(c.chunk) as chunk from chunk c left join input i using (generation, shard, chunk)
     where c.generation = $1 and c.shard = $2 and c.chunk > $3 and i.chunk is null`,
    [generation, shard, after],
  );
  const first = rows[0]?.chunk ?? undefined;
  if (first === undefined) return undefined;
  return { ...start, ...(await positionsAfter(pool, { generation, shard, chunk: first - 1 })) };
}

/** The last chunk of each shard that cannot be read again, since neither topics nor journal have all of its input; 0: there is none. */
async function lastUnread(
  pool: pg.Pool,
  logs: Pick<PartitionLogs, 'ranges'>,
  generation: number,
  reach: readonly HistoryReach[],
): Promise<Map<number, number>> {
  const ranges = await logs.ranges([...new Set(reach.flatMap(({ applied }) => Object.keys(applied)))]);
  const last = new Map<number, number>();
  for (const { shard, chunk, first, start, applied } of reach) {
    // Behind the first that is remembered: where it began is not known.
    let unread = first !== undefined && first > 1 ? first : 0;
    for (const topic of Object.keys(applied)) {
      const low = ranges.get(topic)?.get(shard)?.low ?? 0n;
      if (low <= (start[topic] ?? 0n)) continue;
      // The one that leads as far is the last that began with what the topic has no more.
      const [reaching] = await chunksBeyond({ db: pool, generation }, [{ shard, topic, offset: low - 1n }]);
      const { rows } = await pool.query<{ chunk: number | null }>(
        `select max(c.chunk) as chunk from chunk c left join input i using (generation, shard, chunk)
         where c.generation = $1 and c.shard = $2 and c.chunk <= $3 and c.chunk > 0 and i.chunk is null`,
        [generation, shard, reaching?.chunk ?? chunk],
      );
      unread = Math.max(unread, rows[0]?.chunk ?? 0);
    }
    last.set(shard, unread);
  }
  return last;
}

/** An isolated one is given what entities were sent, and where the generation fed itself, that came by no topic of the deployment's. */
function fedItself(): StateferryError {
  return new StateferryError(
    'HISTORY_GAP',
    'the generation that serves was made in cascade before it took over, and fed itself then: an isolated one cannot be made of that part of its history. ' +
      'Make it in a cascade, too (--mode cascade), or begin after it has taken over (--from and a time, and --state live for what entities were then).',
  );
}
