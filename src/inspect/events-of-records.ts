import { chunksOfRecords, type FoundChunk } from '../journal/find-chunks.ts';
import { rootOf } from '../verify/identity.ts';
import { type EventPlace, eventsByShard, type JournaledEvent } from './events.ts';
import type { History } from './scope.ts';

/** Events that one query brings. */
const PAGE = 500;

/** What the index event_derived has (schemas/journal): it is used where a query says the same. */
const IS_DERIVED = `(strpos(command_id, '#') > 0 or strpos(command_id, '/' || shard::text || '/') = 0)`;

/** The chunks that applied external records, as far as the journal remembers them. */
export async function arrivalsOf(history: History, roots: readonly string[]): Promise<Map<string, FoundChunk>> {
  const placed = roots.flatMap((root) => {
    const found = rootOf(root);
    return found === undefined || found.partition >= history.shards ? [] : [{ root, ...found }];
  });
  const chunks = await chunksOfRecords(history, placed);
  return new Map(placed.flatMap(({ root }, i) => (chunks[i] === undefined ? [] : [[root, chunks[i]] as const])));
}

/**
 * Where the events are that came of external records, and of all that derives from them. By the chunks that applied the records and
 * the index of what derives; all events of a shard are read only where a record took effect elsewhere than where it came, since an
 * operator had it put back, or where the journal does not remember its chunk.
 */
export async function placesOfRoots(
  history: History,
  roots: readonly string[],
  arrivals: ReadonlyMap<string, FoundChunk>,
): Promise<EventPlace[]> {
  const { db, generation } = history;
  const found = new Map<string, EventPlace & { readonly command: string }>();
  const collect = async (sql: string, values: readonly unknown[]): Promise<void> => {
    const { rows } = await db.query<EventPlace & { command: string }>(
      `select shard, shard_seq as "shardSeq", command_id as command from event where generation = $1 and ${sql}`,
      [generation, ...values],
    );
    for (const row of rows) found.set(`${row.shard}/${row.shardSeq}`, row);
  };
  await collect(`split_part(command_id, '#', 1) = any($2) and ${IS_DERIVED}`, [roots]);
  const arrived = [...arrivals].filter(([, { before }]) => before !== undefined);
  for (const { shard, from, through, own } of spansOf(arrived)) {
    await collect('shard = $2 and shard_seq > $3 and shard_seq <= $4 and command_id = any($5)', [
      shard,
      from,
      through,
      own,
    ]);
  }
  const known = new Set(arrived.map(([root]) => root));
  const unknown = roots.filter((root) => !known.has(root));
  if (unknown.length > 0) await collect(`split_part(command_id, '#', 1) = any($2)`, [unknown]);
  if (!(await hasPutBacks(history))) return [...found.values()];
  const caused = new Set([...found.values()].map(({ command }) => command));
  const silent = spansOf(arrived.filter(([root]) => !caused.has(root)));
  for (const { shard, through, own } of silent) {
    await collect('shard = $2 and shard_seq > $3 and command_id = any($4)', [shard, through, own]);
  }
  return [...found.values()];
}

/** Records of one chunk together: its shard, and where its events are in it. */
function spansOf(arrived: readonly (readonly [string, FoundChunk])[]) {
  const spans = new Map<string, { shard: number; from: number; through: number; own: string[] }>();
  for (const [root, { shard, chunk, shardSeq, before }] of arrived) {
    const name = `${shard}/${chunk}`;
    const span = spans.get(name) ?? { shard, from: before?.shardSeq ?? 0, through: shardSeq, own: [] };
    span.own.push(root);
    spans.set(name, span);
  }
  return spans.values();
}

/** Whether an operator ever had commands put back, which take effect later than they came. */
async function hasPutBacks({ db }: History): Promise<boolean> {
  const { rows } = await db.query<{ has: boolean }>(
    "select exists (select 1 from operation where kind in ('retry', 'resume', 'shard-resume')) as has",
  );
  return rows[0]?.has === true;
}

/** The events of these places, shard by shard in their order. */
export async function* eventsAt(history: History, places: readonly EventPlace[]): AsyncGenerator<JournaledEvent[]> {
  const sorted = [...places].sort((one, other) => one.shard - other.shard || one.shardSeq - other.shardSeq);
  for (let i = 0; i < sorted.length; i += PAGE) {
    const page = sorted.slice(i, i + PAGE);
    const shards = new Set(page.map(({ shard }) => shard));
    const ranges = [...shards].map((shard) => ({ shard, after: 0, through: Number.MAX_SAFE_INTEGER }));
    yield* eventsByShard(history, { places: page }, ranges, PAGE + 1);
  }
}
