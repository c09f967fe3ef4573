import type { Io, JournalRequest } from '../../cli/context.ts';
import { StateferryError } from '../../errors.ts';
import { type ExplainedOutput, outputsOf } from '../../inspect/chunk-records.ts';
import { eventsOf } from '../../inspect/events.ts';
import { locateRecord } from '../../inspect/locate-record.ts';
import { readContent } from '../../inspect/records.ts';
import { entityNamed, type History } from '../../inspect/scope.ts';
import { rootTextOf, tellStories, withDerived } from '../../inspect/stories.ts';
import { chunksOfEvents } from '../../journal/find-chunks.ts';
import { removedThrough } from '../../journal/retention.ts';
import { parentOf, rootOf } from '../../verify/identity.ts';
import { printable } from '../printable.ts';
import { shownContent } from './content-text.ts';
import { jsonText } from './json-text.ts';
import { eventJson, outputJson, storyJson } from './story-json.ts';
import { outputText, storyText } from './story-text.ts';
import { nameVersions, versionJson } from './versions.ts';

type ShowRequest = JournalRequest & { kind: 'show' };

/** `stateferry journal show`. */
export async function showThing(history: History, request: ShowRequest, io: Io): Promise<number> {
  const { thing } = request;
  if (thing.kind === 'command') return showCommand(history, thing.id, request, io);
  return showEvent(history, thing, request, io);
}

async function showCommand(history: History, id: string, { json }: ShowRequest, io: Io): Promise<number> {
  const rootText = rootTextOf(id);
  const root = rootOf(rootText);
  if (root !== undefined) await locateRecord(history, root);
  const [told] = await tellStories(history, [rootText]);
  const story = told && [...withDerived(told)].find((one) => one.id === id);
  if (story === undefined) {
    throw new StateferryError(
      'OPERATION_REFUSED',
      `the journal has nothing of a command ${id}. \`stateferry journal show ${rootText}\` shows what came of its record.`,
    );
  }
  io.out.write(
    json ? `${jsonText(storyJson(story), 2)}\n` : storyText(story, { nameVersion: nameVersions(history.versions) }),
  );
  return 0;
}

async function showEvent(
  history: History,
  { entityId, seq }: { readonly entityId: string; readonly seq: number },
  { component, json }: ShowRequest,
  io: Io,
): Promise<number> {
  const { entityType, kind } = await entityNamed(history, entityId, component);
  if (kind === 'value') {
    throw new StateferryError(
      'OPERATION_REFUSED',
      `"${entityId}" of "${entityType}" is a value, which keeps no events: \`stateferry entity show\` shows it.`,
    );
  }
  const found = await eventsOf(history, { entityType, entityId }, seq - 1, seq).next();
  if (found.done === true) {
    const removed = await removedThrough(history.db, history.generation, { entityType, entityId });
    throw new StateferryError(
      'OPERATION_REFUSED',
      seq <= removed
        ? `event ${seq} of "${entityId}" is there no more: retention has removed its events up to ${removed}.`
        : `"${entityId}" of "${entityType}" has no event ${seq}.`,
    );
  }
  const { payload, ...event } = found.value;
  const [chunk] = await chunksOfEvents(history, [event]);
  const content = readContent(history, payload, chunk?.function);
  const outputs: ExplainedOutput[] = [];
  if (chunk !== undefined) {
    for await (const output of outputsOf(history, [chunk])) {
      const { command } = output;
      if (command === event.commandId || (command !== undefined && parentOf(command) === event.commandId)) {
        outputs.push(output);
      }
    }
  }
  if (json) {
    io.out.write(
      `${jsonText(
        {
          ...eventJson({ ...event, content }),
          chunk: chunk === undefined ? null : { number: chunk.chunk, at: chunk.at, records: chunk.records },
          function: chunk?.function ? versionJson(history.versions, chunk.function) : null,
          outputs: outputs.map(outputJson),
        },
        2,
      )}\n`,
    );
    return 0;
  }
  const nameVersion = nameVersions(history.versions);
  const lines = [
    ['Event', `${seq} of ${printable(entityType)} ${printable(entityId)}`],
    ['Time', event.at.toISOString()],
    ['Place', `${event.shardSeq} of shard ${event.shard}`],
    ['Chunk', chunk === undefined ? 'not known: it is older than what the journal remembers' : String(chunk.chunk)],
    ['Function', chunk?.function ? nameVersion(chunk.function) : 'not known'],
    ['Command', printable(event.commandId)],
    ['Type', printable(content.type)],
    ['Payload', `${content.bytes.length} bytes: ${printable(shownContent(content))}`],
    ...outputs.map((output) => ['Led to', `${output.kind} ${outputText(output, { nameVersion })}`]),
  ].map(([name, text]) => `${`${name}:`.padEnd(10)} ${text}\n`);
  if (outputs.length === 0) lines.push(`${'Led to:'.padEnd(10)} nothing that the outbox still has\n`);
  io.out.write(lines.join(''));
  return 0;
}
