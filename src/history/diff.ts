import type pg from 'pg';
import { payloadToJson } from '../codec/json.ts';
import { StateferryError } from '../errors.ts';
import { positionsAfter, readReach } from '../journal/chunks.ts';
import { streamRows } from '../journal/cursor.ts';
import type { Generation } from '../journal/generations.ts';
import type { Positions } from '../model/record.ts';
import type { Descriptors } from '../protocol/descriptors.ts';
import type { PartitionLogs } from '../topics/partition-log.ts';
import { type AnyRecord, rootOf } from '../verify/identity.ts';
import { digestOf, type Item, type ItemSurroundings, outboxRecords, outputItem, topicRecord } from './diff-items.ts';
import { DiffTable, type Found, type Side } from './diff-table.ts';
import { type Compared, type Counts, changedFields, type Difference, type DiffReport, without } from './difference.ts';

const FETCH_ROWS = 2_000;
/** Outbox rows may hold 4 MiB each. */
const FETCH_OUTBOX_ROWS = 20;
const FIRSTS = 100;
const SAMPLES = 5;

/** How far a comparison is: so many items of so many, of one side. */
export type DiffProgress = (step: string, items: number) => void;

export interface DiffOptions {
  readonly client: pg.ClientBase;
  readonly pool: pg.Pool;
  readonly logs: PartitionLogs;
  readonly deployment: string;
  readonly generation: Generation;
  readonly topics: {
    /** That the live function publishes to, and the new one; they exist. */
    readonly outputs: readonly string[];
    readonly commands: string;
    /** Of the generation that was made. */
    readonly madeCommands: string;
    readonly answers: string;
    readonly deadLetters: string;
  };
  /** By service; of both versions. */
  readonly entityTypes: ReadonlyMap<string, string>;
  /** Newest first: what payloads are decoded by. */
  readonly descriptors: readonly Descriptors[];
  /** Paths in JSON that may differ. */
  readonly ignore: readonly string[];
  readonly progress: DiffProgress;
  readonly signal: AbortSignal;
}

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

/** The part of the source's history that was given. */
interface Range {
  /** Of the source's shards: input and events between these. */
  readonly shards: ReadonlyMap<
    number,
    {
      readonly from: Positions;
      readonly to: Positions;
      readonly firstSeq: number;
      readonly lastSeq: number;
      readonly goal: number;
    }
  >;
  /** Commands that entities were sent, and that were not given. */
  readonly later: ReadonlySet<string>;
}

async function rangeOf({ pool, client, logs, generation, topics, signal }: DiffOptions): Promise<Range> {
  const { source, goal } = generation;
  const shards = new Map<number, { from: Positions; to: Positions; firstSeq: number; lastSeq: number; goal: number }>();
  for (const { shard, start } of await readReach(pool, generation.generation)) {
    const chunk = goal?.get(shard) ?? 0;
    const to = (await positionsAfter(pool, { generation: source, shard, chunk })) ?? start;
    const { rows } = await client.query<{ first: number | null; last: number | null }>(
      `select (select max(shard_seq) from chunk c where c.generation = $1 and c.shard = $2 and not exists (
                 select 1 from jsonb_each_text(c.positions) p
                 where p.value::bigint > coalesce(($4::jsonb ->> p.key)::bigint, -1))) as first,
              (select shard_seq from chunk c where c.generation = $1 and c.shard = $2 and c.chunk = $3) as last`,
      [source, shard, chunk, JSON.stringify(Object.fromEntries(Object.entries(start).map(([t, o]) => [t, String(o)])))],
    );
    shards.set(shard, { from: start, to, firstSeq: rows[0]?.first ?? 0, lastSeq: rows[0]?.last ?? 0, goal: chunk });
  }
  const later = new Set<string>();
  const ends = (await logs.ranges([topics.commands])).get(topics.commands);
  for (const [shard, range] of shards) {
    const from = await laterFrom(client, generation, shard, range.to[topics.commands], topics.commands);
    const to = ends?.get(shard)?.stable ?? from;
    for await (const records of logs.read({ topic: topics.commands, partition: shard, from, to }, signal)) {
      for (const record of records) {
        const { headers } = topicRecord(record).record;
        const origin = headers.find(([name]) => name === 'stateferry-origin')?.[1];
        if (origin !== undefined) later.add(Buffer.from(origin as Uint8Array).toString());
      }
    }
  }
  return { shards, later };
}

/** From where on the source's command topic holds what the made generation does not know of. */
async function laterFrom(
  client: pg.ClientBase,
  { mode, source }: Generation,
  shard: number,
  given: bigint | undefined,
  commands: string,
): Promise<bigint> {
  if (mode === 'isolated') return given ?? 0n;
  const { rows } = await client.query<{ applied: Record<string, string> }>(
    'select applied from shard where generation = $1 and shard = $2',
    [source, shard],
  );
  return BigInt(rows[0]?.applied[commands] ?? 0);
}

/** Whether what follows from the command was given to the made generation, too. */
function isGiven(commandId: string, { shards, later }: Range): boolean {
  const root = rootOf(commandId);
  if (root === undefined) return false;
  const range = shards.get(root.partition);
  const from = range?.from[root.topic] ?? 0n;
  const to = range?.to[root.topic] ?? -1n;
  if (root.offset < from || root.offset >= to) return false;
  if (later.size === 0) return true;
  for (let id = commandId; ; id = id.slice(0, id.lastIndexOf('#'))) {
    if (later.has(id)) return false;
    if (!id.includes('#')) return true;
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
  const rows = streamRows<EventRow>(
    client,
    `select e.entity_type, e.entity_id, e.seq, e.shard, e.type_url, e.payload, e.command_id
     from event e join unnest($2::int[], $3::bigint[], $4::bigint[]) as r(shard, first, last) using (shard)
     where e.generation = $1 and ($5 or (e.shard_seq > r.first and e.shard_seq <= r.last))
     order by e.shard, e.shard_seq`,
    [
      number,
      ranges.map(([shard]) => shard),
      ranges.map(([, range]) => range.firstSeq),
      ranges.map(([, range]) => range.lastSeq),
      side === 'made',
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
  const [number, other] =
    side === 'made' ? [generation.generation, generation.source] : [generation.source, generation.generation];
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
    `select count(*) as count from value v where v.generation = $1 and ${moved} and $5::int is not null`,
    [...values, other],
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
          if (item !== undefined && isCompared(item, topic, topics) && isGiven(item.commandId, range))
            await table.add('source', item);
          if (++count % FETCH_ROWS === 0) progress('outputs on the topics', count);
        }
      }
    }
  }
}

/** Answers are gone soon, and a stray is no output of its command. */
function isCompared({ id, commandId }: Item, topic: string, topics: DiffOptions['topics']): boolean {
  return topic !== topics.answers && !(id === `commands ${commandId}` && !commandId.includes('#'));
}

/** What of records and payloads is held against each other, and how it is shown. */
interface Content {
  ofRecord(record: AnyRecord): Uint8Array;
  ofPayload(payload: { readonly typeUrl: string; readonly value: Uint8Array }): Uint8Array;
  showRecord(record: AnyRecord): unknown;
  showPayload(payload: { readonly typeUrl: string; readonly value: Uint8Array }): unknown;
}

function contentOf({ descriptors, ignore }: DiffOptions): Content {
  const decoded = (payload: { readonly typeUrl: string; readonly value: Uint8Array }): unknown => {
    for (const version of descriptors) {
      try {
        return JSON.parse(payloadToJson(version, payload));
      } catch {
        // Another version may know the type.
      }
    }
    return undefined;
  };
  const json = (value: Uint8Array): unknown => {
    try {
      return JSON.parse(Buffer.from(value).toString());
    } catch {
      return undefined;
    }
  };
  const ofHeader = (record: AnyRecord, name: string): string => {
    const value = record.headers.find(([key]) => key === name)?.[1] ?? '';
    return typeof value === 'string' ? value : Buffer.from(value).toString();
  };
  const readRecord = (record: AnyRecord): unknown => {
    if (record.value === null) return null;
    const type = ofHeader(record, 'ce_type');
    const plain = json(record.value);
    if (plain !== undefined || type === '') return plain;
    return decoded({ typeUrl: `type.googleapis.com/${type}`, value: record.value });
  };
  const raw = (value: Uint8Array | null): unknown =>
    value === null ? null : { base64: Buffer.from(value).toString('base64'), bytes: value.length };
  const reduced = (read: unknown, value: Uint8Array): Uint8Array =>
    read === undefined ? value : Buffer.from(JSON.stringify(without(read, ignore)));
  const NOTHING = new Uint8Array();
  return {
    ofRecord: (record) =>
      ignore.length === 0 ? (record.value ?? NOTHING) : reduced(readRecord(record), record.value ?? NOTHING),
    ofPayload: (payload) => (ignore.length === 0 ? payload.value : reduced(decoded(payload), payload.value)),
    showRecord: (record) => readRecord(record) ?? raw(record.value),
    showPayload: (payload) => decoded(payload) ?? raw(payload.value),
  };
}

/** Reads both sides of a difference again, for people. */
async function show(found: Found, options: DiffOptions, content: Content): Promise<Difference> {
  const side = async (place: string | null): Promise<unknown> => {
    if (place === null) return undefined;
    switch (found.what) {
      case 'events':
        return showEvent(found, place, options, content);
      case 'values':
        return showValue(found, place, options, content);
      case 'outputs':
      case 'failures':
        return showRecord(found, place, options, content);
    }
  };
  const [before, after] = [await side(found.before), await side(found.after)];
  const { what, kind, commandId, entityType, entityId } = found;
  return {
    what,
    kind,
    commandId: what === 'values' ? undefined : commandId,
    entity: entityId === '' ? undefined : { entityType, entityId },
    name:
      what === 'failures' ? found.group : what === 'values' ? 'value' : found.id.slice(found.id.lastIndexOf('/') + 1),
    before,
    after,
    fields: kind === 'changed' ? changedFields(before, after) : [],
  };
}

async function showEvent(found: Found, place: string, { client }: DiffOptions, content: Content): Promise<unknown> {
  const [generation, seq] = place.split('/');
  const { rows } = await client.query<{ type_url: string; payload: Buffer }>(
    'select type_url, payload from event where generation = $1 and entity_type = $2 and entity_id = $3 and seq = $4',
    [generation, found.entityType, found.entityId, seq],
  );
  const row = rows[0];
  return row && { type: row.type_url, data: content.showPayload({ typeUrl: row.type_url, value: row.payload }) };
}

async function showValue(
  found: Found,
  generation: string,
  { client }: DiffOptions,
  content: Content,
): Promise<unknown> {
  const { rows } = await client.query<{ type_url: string | null; payload: Buffer | null }>(
    'select type_url, payload from value where generation = $1 and entity_type = $2 and entity_id = $3',
    [generation, found.entityType, found.entityId],
  );
  const row = rows[0];
  if (row === undefined || row.payload === null) return null;
  return content.showPayload({ typeUrl: row.type_url ?? '', value: row.payload });
}

async function showRecord(found: Found, place: string, options: DiffOptions, content: Content): Promise<unknown> {
  const record = place === found.after ? await madeRecord(place, options) : await sourceRecord(place, options);
  if (record === undefined) return undefined;
  if (found.what === 'outputs') return content.showRecord(record);
  const text = (name: string) => {
    const value = record.headers.find(([key]) => key === name)?.[1] ?? '';
    return typeof value === 'string' ? value : Buffer.from(value).toString();
  };
  return { code: text('stateferry-error-code'), sentence: text('stateferry-error') };
}

async function madeRecord(place: string, { client, generation }: DiffOptions): Promise<AnyRecord | undefined> {
  const [shard, chunk, ordinal] = place.split('/').map(Number);
  const { rows } = await client.query<{ shard: number; chunk: number; records: Buffer }>(
    'select shard, chunk, records from outbox where generation = $1 and shard = $2 and chunk = $3',
    [generation.generation, shard, chunk],
  );
  if (rows[0] === undefined) return undefined;
  return [...outboxRecords(rows[0])][ordinal ?? 0]?.record;
}

async function sourceRecord(place: string, { logs, signal }: DiffOptions): Promise<AnyRecord | undefined> {
  const [topic = '', partition, offset] = place.split('/');
  const from = BigInt(offset ?? 0);
  for await (const records of logs.read({ topic, partition: Number(partition), from, to: from + 1n }, signal)) {
    if (records[0] !== undefined) return topicRecord(records[0]).record;
  }
  return undefined;
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
