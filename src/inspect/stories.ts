import { ORIGIN_HEADER } from '../codec/header-names.ts';
import { decodeOutbox } from '../codec/outbox.ts';
import { chunksNumbered, chunksOfEvents, type FoundChunk } from '../journal/find-chunks.ts';
import type { Payload } from '../model/payload.ts';
import { parentOf } from '../verify/identity.ts';
import { type ChunkPlace, type ExplainedInput, type ExplainedOutput, inputsOf, outputsOf } from './chunk-records.ts';
import type { JournaledEvent } from './events.ts';
import { arrivalsOf, eventsAt, placesOfRoots } from './events-of-records.ts';
import { type Content, readContent } from './records.ts';
import type { History } from './scope.ts';

/** An event of a command, read. */
export interface ToldEvent extends Omit<JournaledEvent, 'payload'> {
  readonly content: Content;
}

/** What a command made of a value, where nothing has changed it since or every change is kept. */
export interface ToldValue {
  readonly entityType: string;
  readonly entityId: string;
  readonly revision: number;
  /** Undefined: it was deleted. */
  readonly content: Content | undefined;
  readonly at: Date;
}

/** What the journal has of one command. */
export interface CommandStory {
  readonly id: string;
  /** The chunk in which it took effect, or was passed on; undefined: the journal does not remember it, or it is not known. */
  readonly chunk: { readonly shard: number; readonly number: number; readonly function: string | null } | undefined;
  /** When that was. */
  readonly at: Date | undefined;
  readonly traceId: string | undefined;
  /** The records that it came as, more than one where it was put back; none where inputs are not kept. */
  readonly inputs: readonly ExplainedInput[];
  readonly events: readonly ToldEvent[];
  readonly values: readonly ToldValue[];
  /** What the outbox still has. */
  readonly outputs: readonly ExplainedOutput[];
  /** It waits in the journal, since then. */
  readonly parkedSince: Date | undefined;
  /** A dead letter of it is to be put back: who asked, and when. */
  readonly retrying: { readonly by: string; readonly at: Date } | undefined;
  /** Derived from it, in order. */
  readonly derived: readonly CommandStory[];
}

type Draft = { -readonly [K in keyof CommandStory]: CommandStory[K] } & {
  inputs: ExplainedInput[];
  events: ToldEvent[];
  values: ToldValue[];
  outputs: ExplainedOutput[];
  derived: Draft[];
};

/**
 * What came of external records, each with all that derives from it, in the order of `roots`. `known`: chunks that are
 * known to have something of them.
 */
export async function tellStories(
  history: History,
  roots: readonly string[],
  known: readonly ChunkPlace[] = [],
): Promise<CommandStory[]> {
  const { db, generation } = history;
  const stories = new Map<string, Draft>();
  const wanted = new Set(roots);
  const isWanted = (command: string | undefined) => command !== undefined && wanted.has(rootTextOf(command));
  const storyOf = (id: string): Draft => {
    const found = stories.get(id);
    if (found !== undefined) return found;
    const story: Draft = {
      id,
      chunk: undefined,
      at: undefined,
      traceId: undefined,
      inputs: [],
      events: [],
      values: [],
      outputs: [],
      parkedSince: undefined,
      retrying: undefined,
      derived: [],
    };
    stories.set(id, story);
    const parent = parentOf(id);
    if (parent !== undefined) storyOf(parent).derived.push(story);
    return story;
  };
  const chunkPlaces = new Map<string, ChunkPlace>();
  const note = (place: ChunkPlace) => chunkPlaces.set(`${place.shard}/${place.chunk}`, place);
  const tookPlace = (story: Draft, { shard, chunk, function: version, at }: FoundChunk) => {
    story.chunk = { shard, number: chunk, function: version };
    story.at = at;
  };
  for (const place of known) note(place);
  for (const root of roots) storyOf(root);

  const arrivals = await arrivalsOf(history, roots);
  for (const [root, chunk] of arrivals) {
    note(chunk);
    tookPlace(storyOf(root), chunk);
  }

  const places = await placesOfRoots(history, roots, arrivals);
  for await (const page of eventsAt(history, places)) {
    const chunks = await chunksOfEvents(history, page);
    for (const [i, { payload, ...event }] of page.entries()) {
      const chunk = chunks[i];
      const story = storyOf(event.commandId);
      if (chunk === undefined) story.at ??= event.at;
      else {
        note(chunk);
        tookPlace(story, chunk);
      }
      story.events.push({ ...event, content: readContent(history, payload, chunk?.function) });
    }
  }

  for (const { value, chunk } of await valuesOf(history, roots)) {
    const story = storyOf(value.commandId);
    if (chunk !== undefined) {
      note(chunk);
      tookPlace(story, chunk);
    }
    const { commandId: _, payload, ...told } = value;
    story.values.push({ ...told, content: payload && readContent(history, payload, chunk?.function) });
    story.at ??= value.at;
  }

  const { rows: parked } = await db.query<{ command_id: string; at: Date }>(
    `select command_id, at from parked where generation = $1 and split_part(command_id, '#', 1) = any($2)`,
    [generation, roots],
  );
  for (const row of parked) storyOf(row.command_id).parkedSince = row.at;
  for (const { command, by, at } of await retriesOf(history)) {
    if (isWanted(command)) storyOf(command).retrying = { by, at };
  }

  const ordered = [...chunkPlaces.values()].sort((one, other) => one.shard - other.shard || one.chunk - other.chunk);
  for await (const input of inputsOf(history, ordered)) {
    if (!isWanted(input.command)) continue;
    const story = storyOf(input.command);
    story.inputs.push(input);
    story.traceId ??= input.traceId;
  }
  for await (const output of outputsOf(history, ordered)) {
    const { command, kind } = output;
    if (command === undefined || !isWanted(command)) continue;
    // A derived command is what its parent asked for; it is a story of its own, too.
    storyOf(command);
    const story = storyOf((kind === 'command' ? parentOf(command) : undefined) ?? command);
    story.outputs.push(output);
    story.traceId ??= output.traceId;
    if (story.chunk === undefined && kind !== 'command' && kind !== 'put back') {
      story.chunk = { shard: output.place.shard, number: output.place.chunk, function: output.place.function };
    }
  }

  const dated = await chunksNumbered(
    history,
    [...stories.values()].flatMap(({ chunk, at }) =>
      chunk === undefined || at !== undefined ? [] : [{ shard: chunk.shard, chunk: chunk.number }],
    ),
  );
  const timeOf = new Map(dated.map(({ shard, chunk, at }) => [`${shard}/${chunk}`, at]));
  for (const story of stories.values()) {
    story.at ??= story.chunk && timeOf.get(`${story.chunk.shard}/${story.chunk.number}`);
    story.derived.sort(byTime);
  }
  return roots.map(storyOf);
}

/** A story and all that derives from it, parents first. */
export function* withDerived(story: CommandStory): Generator<CommandStory> {
  yield story;
  for (const one of story.derived) yield* withDerived(one);
}

/** `T/p/o#1#2` → `T/p/o`. */
export function rootTextOf(command: string): string {
  const at = command.indexOf('#');
  return at < 0 ? command : command.slice(0, at);
}

/** Oldest first; of one chunk, by their records. What is without a time comes last. */
export function byTime(one: CommandStory, other: CommandStory): number {
  const ms = (story: CommandStory) => story.at?.getTime() ?? Number.POSITIVE_INFINITY;
  const [a, b] = [ms(one), ms(other)];
  return a === b ? one.id.localeCompare(other.id, 'en', { numeric: true }) : a - b;
}

async function valuesOf(history: History, roots: readonly string[]) {
  const { rows } = await history.db.query<{
    entityType: string;
    entityId: string;
    revision: number;
    shard: number;
    chunk: number;
    type_url: string | null;
    payload: Buffer | null;
    commandId: string;
    at: Date;
  }>(
    `select entity_type as "entityType", entity_id as "entityId", revision, shard, chunk, type_url, payload,
       command_id as "commandId", at
     from (
       select * from value_revision where generation = $1 and split_part(command_id, '#', 1) = any($2)
       union all
       select v.generation, v.entity_type, v.entity_id, v.revision, v.shard, v.chunk, v.type_url, v.payload, v.command_id, v.at
       from value v left join value_revision r using (generation, entity_type, entity_id, revision)
       where v.generation = $1 and split_part(v.command_id, '#', 1) = any($2) and r.revision is null
     ) changes
     order by at, entity_type, entity_id`,
    [history.generation, roots],
  );
  const chunks = await chunksNumbered(history, rows);
  return rows.map(({ shard, chunk, type_url: typeUrl, payload, ...told }) => ({
    value: { ...told, payload: payloadOf(typeUrl, payload) },
    chunk: chunks.find((found) => found.shard === shard && found.chunk === chunk),
  }));
}

function payloadOf(typeUrl: string | null, value: Buffer | null): Payload | undefined {
  return typeUrl === null || value === null ? undefined : { typeUrl, value };
}

/** Dead letters that are to be put back: until they are, the journal has their records. */
async function retriesOf({ db, generation }: History): Promise<{ command: string; by: string; at: Date }[]> {
  const { rows } = await db.query<{ record: Buffer; asked_by: string; asked_at: Date }>(
    `select record, asked_by, asked_at from operation where generation = $1 and kind = 'retry' and record is not null`,
    [generation],
  );
  return rows.flatMap(({ record, asked_by: by, asked_at: at }) =>
    decodeOutbox(record).flatMap(({ headers }) => {
      const origin = headers.find(([name]) => name === ORIGIN_HEADER)?.[1];
      if (origin === undefined) return [];
      return [{ command: typeof origin === 'string' ? origin : Buffer.from(origin).toString(), by, at }];
    }),
  );
}
