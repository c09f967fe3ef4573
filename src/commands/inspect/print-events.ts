import type { Io, JournalRequest } from '../../cli/context.ts';
import { StateferryError } from '../../errors.ts';
import {
  type EventFilter,
  eventsByEntity,
  eventsByShard,
  type JournaledEvent,
  shardHeads,
  shardRanges,
} from '../../inspect/events.ts';
import { followEvents } from '../../inspect/follow-events.ts';
import { locateRecord } from '../../inspect/locate-record.ts';
import { type Content, readContent } from '../../inspect/records.ts';
import { componentNamed, componentsOf, entityNamed, type History } from '../../inspect/scope.ts';
import { rootTextOf } from '../../inspect/stories.ts';
import { chunksOfEvents } from '../../journal/find-chunks.ts';
import { readRemoved, removedThrough } from '../../journal/retention.ts';
import { rootOf } from '../../verify/identity.ts';
import { printable } from '../printable.ts';
import { base64Of, jsonOf, shownContent } from './content-text.ts';
import type { Progress } from './progress.ts';
import { type Column, createRowWriter, formatFor } from './rows.ts';

type EventsRequest = JournalRequest & { kind: 'events' };

interface ReadEvent {
  readonly event: JournaledEvent;
  readonly content: Content;
}

const PAYLOAD_CHARACTERS = 120;
/** Rows at a time: each may have a payload of 1 MiB. */
const PAGE = 500;

const COLUMNS: readonly Column<ReadEvent>[] = [
  { name: 'at', head: 'AT', value: ({ event }) => event.at },
  { name: 'component', head: 'COMPONENT', value: ({ event }) => event.entityType },
  { name: 'entity', head: 'ENTITY', value: ({ event }) => event.entityId },
  { name: 'seq', head: 'SEQ', right: true, value: ({ event }) => event.seq },
  { name: 'shard', head: 'SHARD', right: true, value: ({ event }) => event.shard },
  { name: 'shardSeq', head: 'SHARD SEQ', right: true, value: ({ event }) => event.shardSeq },
  { name: 'command', head: 'COMMAND', value: ({ event }) => event.commandId },
  { name: 'type', head: 'TYPE', value: ({ content }) => content.type },
  { name: 'bytes', head: 'BYTES', right: true, only: 'programs', value: ({ content }) => content.bytes.length },
  { name: 'payload', head: 'PAYLOAD', only: 'programs', value: ({ content }) => jsonOf(content) },
  { name: 'base64', head: 'BASE64', only: 'programs', value: ({ content }) => base64Of(content) },
  {
    name: 'payload',
    head: 'PAYLOAD',
    only: 'table',
    width: PAYLOAD_CHARACTERS,
    value: ({ content }) => shownContent(content),
  },
];

/** `stateferry journal events` and `tail`. */
export async function printEvents(
  history: History,
  request: EventsRequest,
  io: Io,
  progress: Progress,
): Promise<number> {
  const filter = await filterOf(history, request, io);
  const format = formatFor(request.format, io.out);
  const writer = createRowWriter(io.out, format, COLUMNS);
  const { limit = Number.POSITIVE_INFINITY } = request;
  if (request.follow !== 'now') await tellRemoved(history, request, filter, io);
  let written = 0;
  let seen = 0;
  for await (const page of pagesOf(history, request, filter, io.signal)) {
    if (io.signal.aborted) break;
    seen += page.length;
    const rows = page.slice(0, limit - written);
    if (rows.length > 0) await writer.write(await readEvents(history, rows));
    if (request.follow !== 'no' || seen > limit) await writer.flush();
    written += rows.length;
    progress.printed();
    progress.now(`reading events, ${written.toLocaleString('en')} so far`);
    if (seen > limit) {
      io.err.write(`There are more: --limit ${limit} was reached.\n`);
      return 0;
    }
    if (request.follow !== 'no' && written === limit) return 0;
  }
  if (request.follow === 'no') io.signal.throwIfAborted();
  if (written > 0 || format === 'csv') await writer.flush();
  if (written === 0 && format === 'table') io.err.write('No event.\n');
  return 0;
}

async function* pagesOf(
  history: History,
  { order, follow, limit }: EventsRequest,
  filter: EventFilter,
  signal: AbortSignal,
): AsyncGenerator<JournaledEvent[]> {
  // One more than is shown tells that there are more.
  const pageSize = limit === undefined ? PAGE : Math.min(limit + 1, PAGE);
  if (follow === 'no' && order === 'entity') return yield* eventsByEntity(history, filter, pageSize);
  const heads = await shardHeads(history, filter.shard);
  if (follow !== 'now') {
    // A record that is yet to come has no chunk to begin with.
    const beginning = follow === 'no' ? await beginningOf(history, filter) : {};
    const ranges = await shardRanges(history, { ...filter, ...beginning });
    // What comes after the heads is for the one who follows, once.
    const known = new Map(heads.map(({ shard, through }) => [shard, through]));
    yield* eventsByShard(
      history,
      filter,
      ranges.map((range) => ({ ...range, through: Math.min(range.through, known.get(range.shard) ?? 0) })),
      pageSize,
    );
  }
  if (follow !== 'no') yield* followEvents(history, filter, heads, signal);
}

/** Reads payloads, each by the version that wrote it: where there is only one, its chunk need not be looked for. */
async function readEvents(history: History, events: readonly JournaledEvent[]): Promise<ReadEvent[]> {
  const chunks = history.versions.length > 1 ? await chunksOfEvents(history, events) : [];
  return events.map((event, i) => ({ event, content: readContent(history, event.payload, chunks[i]?.function) }));
}

/** @throws StateferryError OPERATION_REFUSED for what there is not, CONFIG_INVALID for what makes no sense. */
async function filterOf(history: History, request: EventsRequest, io: Io): Promise<EventFilter> {
  const { entity, shard, from, to, command, type, component, follow } = request;
  const named = component === undefined ? undefined : componentNamed(history, component);
  if (named?.kind === 'value') {
    io.err.write(
      `"${named.entityType}" has values, which keep no events: \`stateferry entity show\` shows them as they are.\n`,
    );
  }
  if (shard !== undefined && shard >= history.shards) {
    throw refused(`there is no shard ${shard}: the deployment has ${history.shards}, from 0 to ${history.shards - 1}.`);
  }
  let entityTypes = named && [named.entityType];
  if (entity !== undefined && 'id' in entity && follow === 'no') {
    const found = await componentsOf(history, entity.id, named === undefined ? history.components : [named]);
    const isBySeq = from?.kind === 'seq' || to?.kind === 'seq';
    // It tells of one that there is not, and of a sequence of several.
    if (found.length === 0 || (isBySeq && found.length > 1)) await entityNamed(history, entity.id, component);
    entityTypes = found.map(({ entityType }) => entityType);
    if (isBySeq) await refuseBeyond(history, entityTypes[0] as string, entity.id, from?.kind === 'seq' ? from.seq : 1);
  }
  if (follow === 'no') await refuseTimes(history, from, to);
  const root = command === undefined || follow !== 'no' ? undefined : rootOf(rootTextOf(command));
  // It tells of a record that was never applied.
  if (root !== undefined) await locateRecord(history, root);
  return {
    ...filterBy(request),
    ...(entityTypes && { entityTypes }),
    ...(command !== undefined && { command }),
    ...(type !== undefined && { type }),
  };
}

function filterBy({ entity, shard, from, to }: EventsRequest): EventFilter {
  return {
    ...(entity !== undefined && ('id' in entity ? { entityId: entity.id } : { entityPrefix: entity.prefix })),
    ...(shard !== undefined && { shard }),
    ...(from?.kind === 'seq' && { fromSeq: from.seq }),
    ...(to?.kind === 'seq' && { toSeq: to.seq }),
    ...(from?.kind === 'time' && { from: new Date(from.at) }),
    ...(to?.kind === 'time' && { to: new Date(to.at) }),
  };
}

/** Says which of the events that are asked for retention has removed, as far as that can be told. */
async function tellRemoved(
  history: History,
  { entity }: EventsRequest,
  { entityTypes, shard, fromSeq = 1 }: EventFilter,
  io: Io,
): Promise<void> {
  const { db, generation } = history;
  const isMeant = (entityType: string) => entityTypes === undefined || entityTypes.includes(entityType);
  if (entity !== undefined && 'id' in entity) {
    for (const { entityType } of history.components) {
      const through = isMeant(entityType)
        ? await removedThrough(db, generation, { entityType, entityId: entity.id })
        : 0;
      if (through < fromSeq) continue;
      io.err.write(
        `Retention has removed the events of ${printable(entityType)} ${printable(entity.id)} up to ${through}.\n`,
      );
    }
    return;
  }
  const removed = (await readRemoved(db, generation)).filter(
    (one) => one.kind === 'events' && isMeant(one.entityType) && (shard === undefined || one.shard === shard),
  );
  for (const { entityType, shard: of, rows, through } of removed) {
    io.err.write(
      `Retention has removed ${rows.toLocaleString('en')} events of ${printable(entityType)} below snapshots, up to event ${through} of shard ${of}.\n`,
    );
  }
}

/** When there is something to find at the earliest: nothing that derives from a record is journaled before it. */
async function beginningOf(history: History, { command, from }: EventFilter): Promise<Pick<EventFilter, 'from'>> {
  const root = command === undefined ? undefined : rootOf(rootTextOf(command));
  const at = root === undefined ? undefined : (await locateRecord(history, root))?.at;
  if (at === undefined || (from !== undefined && from > at)) return {};
  return { from: at };
}

async function refuseBeyond(history: History, entityType: string, entityId: string, from: number): Promise<void> {
  const { rows } = await history.db.query<{ seq: number }>(
    'select coalesce(max(seq), 0) as seq from event where generation = $1 and entity_type = $2 and entity_id = $3',
    [history.generation, entityType, entityId],
  );
  const last = rows[0]?.seq ?? 0;
  if (from > last) throw refused(`"${entityId}" has ${last} events, and --from names number ${from}.`);
}

async function refuseTimes(history: History, from: EventsRequest['from'], to: EventsRequest['to']): Promise<void> {
  const { rows } = await history.db.query<{ born: Date; now: Date }>(
    'select created_at as born, now() as now from deployment',
  );
  const [row] = rows;
  if (row === undefined) return;
  if (from?.kind === 'time' && from.at > row.now.getTime()) {
    throw refused(
      `--from is ${new Date(from.at).toISOString()}, and it is ${row.now.toISOString()}: nothing is there yet.`,
    );
  }
  if (to?.kind === 'time' && to.at < row.born.getTime()) {
    throw refused(`--to is ${new Date(to.at).toISOString()}, and the journal begins at ${row.born.toISOString()}.`);
  }
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
