import { StateferryError } from '../errors.ts';
import { streamRows } from '../journal/cursor.ts';
import { type Content, contentOf } from './diff-content.ts';
import { digestOf, type Item, type ItemSurroundings, outboxRecords, outputItem, topicRecord } from './diff-items.ts';
import type { DiffOptions } from './diff-options.ts';
import { isGiven, type Range, rangeOf } from './diff-range.ts';
import { show } from './diff-show.ts';
import { DiffTable, type Found, type Side } from './diff-table.ts';
import type { Compared, Counts, Difference, DiffReport } from './difference.ts';

const FETCH_ROWS = 2_000;
/** Outbox rows may hold 4 MiB each. */
const FETCH_OUTBOX_ROWS = 20;
const FIRSTS = 100;
const SAMPLES = 5;

/**
 * Holds a generation against the one whose history it is made of: events, outputs and failures by the command that they
 * follow from, values as they are in the end.
 * @throws StateferryError OPERATION_REFUSED for a generation that is not complete.
 */
export async function diff(options: DiffOptions): Promise<DiffReport> {
  const { client, generation, deployment, topics } = options;
  if (generation.state !== 'complete' || generation.goal === undefined) {
    throw new StateferryError(
      'OPERATION_REFUSED',
      `generation "${generation.name}" is ${generation.state}: it is compared when it is complete (stateferry reprocess run ${generation.name}).`,
    );
  }
  const notes: string[] = [];
  const content = contentOf(options);
  const surroundings: ItemSurroundings = {
    deployment,
    entityTypes: options.entityTypes,
    answers: topics.answers,
    deadLetters: topics.deadLetters,
    content: (record) => digestOf(record.key ?? '', content.ofRecord(record)),
  };
  await client.query('begin transaction isolation level repeatable read');
  try {
    const table = await DiffTable.create(client);
    const range = await rangeOf(options);
    for (const side of ['source', 'made'] as const) {
      await addEvents(table, side, options, range, content);
      await addValues(table, side, options, range, content, notes);
    }
    await addMadeOutputs(table, options, surroundings);
    await addSourceOutputs(table, options, surroundings, range, notes);
    options.progress('comparing', 0);
    await table.match();
    const counts = await table.counts();
    const shown = async (found: readonly Found[]): Promise<Difference[]> => {
      const differences: Difference[] = [];
      for (const one of found) differences.push(await show(one, options, content));
      return differences;
    };
    const report = {
      deployment,
      generation: generation.name,
      mode: generation.mode,
      same: counts.every(({ kind }) => kind === 'same'),
      counts: byKey(counts, ({ what }) => what, ['events', 'outputs', 'failures', 'values']) as DiffReport['counts'],
      topics: byKey(
        counts.filter(({ what }) => what === 'outputs' || what === 'failures'),
        ({ group }) => group,
      ),
      components: byKey(
        counts.filter(({ what }) => what === 'events' || what === 'values'),
        ({ group }) => group,
      ),
      entities: await table.entities(),
      firsts: await shown(await table.firsts(FIRSTS)),
      samples: await shown(await table.samples(SAMPLES)),
      notes,
    };
    return report;
  } finally {
    await client.query('rollback');
  }
}

interface EventRow {
  entity_type: string;
  entity_id: string;
  seq: number;
  shard: number;
  type_url: string;
  payload: Buffer;
  command_id: string;
}

async function addEvents(
  table: DiffTable,
  side: Side,
  { client, generation, progress }: DiffOptions,
  { shards }: Range,
  content: Content,
): Promise<void> {
  const ranges = [...shards];
  const number = side === 'made' ? generation.generation : generation.source;
  // Copied ones have the numbers that they have in the source.
  const isCopied = generation.options.state === 'live';
  const rows = streamRows<EventRow>(
    client,
    `select e.entity_type, e.entity_id, e.seq, e.shard, e.type_url, e.payload, e.command_id
     from event e join unnest($2::int[], $3::bigint[], $4::bigint[]) as r(shard, first, last) using (shard)
     where e.generation = $1 and e.shard_seq > r.first and e.shard_seq <= r.last
     order by e.shard, e.shard_seq`,
    [
      number,
      ranges.map(([shard]) => shard),
      ranges.map(([, range]) => (side === 'source' || isCopied ? range.firstSeq : 0)),
      ranges.map(([, range]) => (side === 'source' ? range.lastSeq : Number.MAX_SAFE_INTEGER)),
    ],
    FETCH_ROWS,
  );
  let command = '';
  let nth = 0;
  let count = 0;
  for await (const row of rows) {
    nth = row.command_id === command ? nth + 1 : 1;
    command = row.command_id;
    await table.add(side, {
      what: 'events',
      id: `${row.command_id}/event-${nth}`,
      commandId: row.command_id,
      group: row.entity_type,
      entityType: row.entity_type,
      entityId: row.entity_id,
      digest: digestOf(row.type_url, content.ofPayload({ typeUrl: row.type_url, value: row.payload })),
      place: `${number}/${row.seq}`,
    });
    if (++count % FETCH_ROWS === 0) progress(`events of the ${side === 'made' ? 'new' : 'old'} generation`, count);
  }
}

interface ValueRow {
  entity_type: string;
  entity_id: string;
  type_url: string | null;
  payload: Buffer | null;
  command_id: string;
  chunk: number;
  shard: number;
}

async function addValues(
  table: DiffTable,
  side: Side,
  { client, generation }: DiffOptions,
  { shards }: Range,
  content: Content,
  notes: string[],
): Promise<void> {
  const number = side === 'made' ? generation.generation : generation.source;
  const goals = [...shards].map(([shard, { goal }]) => [shard, goal] as const);
  // What has changed in the source since is another value by now.
  const moved = `exists (select 1 from value l join unnest($3::int[], $4::bigint[]) as g(shard, goal) using (shard)
    where l.generation = $2 and l.entity_type = v.entity_type and l.entity_id = v.entity_id and l.chunk > g.goal)`;
  const values = [number, generation.source, goals.map(([shard]) => shard), goals.map(([, goal]) => goal)];
  const rows = streamRows<ValueRow>(
    client,
    `select v.entity_type, v.entity_id, v.type_url, v.payload, v.command_id, v.chunk, v.shard
     from value v where v.generation = $1 and not ${moved}`,
    values,
    FETCH_ROWS,
  );
  for await (const row of rows) {
    await table.add(side, {
      what: 'values',
      id: `${row.entity_type} ${row.entity_id}`,
      commandId: row.command_id,
      group: row.entity_type,
      entityType: row.entity_type,
      entityId: row.entity_id,
      digest:
        row.payload === null
          ? digestOf('deleted')
          : digestOf(row.type_url ?? '', content.ofPayload({ typeUrl: row.type_url ?? '', value: row.payload })),
      place: String(number),
    });
  }
  if (side === 'made') return;
  const { rows: counted } = await client.query<{ count: number }>(
    `select count(*) as count from value v where v.generation = $1 and ${moved}`,
    values,
  );
  const since = counted[0]?.count ?? 0;
  if (since > 0) notes.push(`${since} values have changed in the live generation since: they are not compared`);
}

async function addMadeOutputs(table: DiffTable, options: DiffOptions, surroundings: ItemSurroundings): Promise<void> {
  const { client, generation, topics, progress } = options;
  const rows = streamRows<{ shard: number; chunk: number; records: Buffer }>(
    client,
    'select shard, chunk, records from outbox where generation = $1 order by shard, chunk',
    [generation.generation],
    FETCH_OUTBOX_ROWS,
  );
  let count = 0;
  for await (const row of rows) {
    for (const { record, place } of outboxRecords(row)) {
      const item = outputItem(record, { topic: record.topic, commandTopic: topics.madeCommands, place }, surroundings);
      if (item !== undefined && isCompared(item, record.topic, topics)) await table.add('made', item);
      if (++count % FETCH_ROWS === 0) progress('outputs of the new generation', count);
    }
  }
}

async function addSourceOutputs(
  table: DiffTable,
  options: DiffOptions,
  surroundings: ItemSurroundings,
  range: Range,
  notes: string[],
): Promise<void> {
  const { logs, topics, signal, progress } = options;
  const all = [...new Set([...topics.outputs, topics.commands, topics.deadLetters])];
  let count = 0;
  for (const [topic, partitions] of await logs.ranges(all)) {
    for (const [partition, { low, stable }] of partitions) {
      if (low > 0n)
        notes.push(
          `retention has removed the offsets below ${low} of "${topic}" partition ${partition}: what was there is "added" here`,
        );
      for await (const records of logs.read({ topic, partition, from: low, to: stable }, signal)) {
        for (const one of records) {
          const { record, place } = topicRecord(one);
          const item = outputItem(record, { topic, commandTopic: topics.commands, place }, surroundings);
          if (item !== undefined && isCompared(item, topic, topics) && isGivenTo(item, range))
            await table.add('source', item);
          if (++count % FETCH_ROWS === 0) progress('outputs on the topics', count);
        }
      }
    }
  }
}

function isGivenTo({ commandId, group }: Item, range: Range): boolean {
  return isGiven({ commandId, isCommand: group === 'commands' }, range);
}

/** Answers are gone soon, and a stray is no output of its command. */
function isCompared({ id, commandId }: Item, topic: string, topics: DiffOptions['topics']): boolean {
  return topic !== topics.answers && !(id === `commands ${commandId}` && !commandId.includes('#'));
}

function byKey<T extends { readonly kind: keyof Counts; readonly count: number; readonly what: Compared }>(
  counts: readonly T[],
  keyOf: (count: T) => string,
  keys: readonly string[] = [],
): Record<string, Counts> {
  const none = { changed: 0, missing: 0, added: 0, same: 0 };
  const found: Record<string, { -readonly [K in keyof Counts]: number }> = {};
  for (const key of keys) found[key] = { ...none };
  for (const count of counts) {
    const key = keyOf(count);
    found[key] ??= { ...none };
    found[key][count.kind] += count.count;
  }
  return found;
}
