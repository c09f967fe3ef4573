import type { EntityHistoryRequest, Io } from '../../cli/context.ts';
import type { Config } from '../../config/config.ts';
import { StateferryError } from '../../errors.ts';
import { eventsOf } from '../../inspect/events.ts';
import { readContent } from '../../inspect/records.ts';
import { entityNamed, type History, type KnownComponent } from '../../inspect/scope.ts';
import { type Moment, replicatedValueAt, type StateSource, stateSourceAt } from '../../inspect/state-at.ts';
import { valueAt } from '../../inspect/value-at.ts';
import { chunksNumbered, chunksOfEvents } from '../../journal/find-chunks.ts';
import { servingConfig } from '../../live-generation.ts';
import { printable } from '../printable.ts';
import { contentJson, shownContent } from './content-text.ts';
import { indentedJson, jsonText, RawJson } from './json-text.ts';
import { probeState } from './probe-state.ts';
import type { Progress } from './progress.ts';

type ShowRequest = EntityHistoryRequest & { kind: 'show' };

/** `stateferry entity show`. */
export async function showEntity(
  config: Config,
  history: History,
  request: ShowRequest,
  io: Io,
  progress: Progress,
): Promise<number> {
  const component = await entityNamed(history, request.entityId, request.component);
  const moment = momentOf(request.at);
  if (request.probe !== undefined && component.kind !== 'event-sourced') {
    throw new StateferryError(
      'CONFIG_INVALID',
      `--probe asks the function for the state of an event sourced entity, and "${component.entityType}" is ${component.kind}: ` +
        'its state is in the journal. Leave --probe out.',
    );
  }
  if (component.kind === 'value') return showValue(history, component, request, moment, io);
  const key = { entityType: component.entityType, entityId: request.entityId };
  const source = await stateSourceAt(history, key, moment);
  if (component.kind === 'replicated') {
    const value = await replicatedValueAt(history, component, request.entityId, source);
    printState(component, request, source, value === undefined ? undefined : new RawJson(value), io);
    return 0;
  }
  if (request.probe === undefined) return showSource(history, component, request, source, io);
  const serving = await servingConfig(history.db, config);
  progress.now(`replaying ${source.seq} events at ${serving.function.url}`);
  const answer = await probeState(serving, history, { ...key, source, probe: request.probe });
  printState(component, request, source, answer, io);
  return 0;
}

function momentOf(at: ShowRequest['at']): Moment | undefined {
  return at?.kind === 'time' ? { kind: 'time', at: new Date(at.at) } : at;
}

/** The state as JSON alone, or with what it is of. */
function printState(
  { entityType }: KnownComponent,
  { entityId, json }: ShowRequest,
  { seq, last, isDeleted }: StateSource,
  state: RawJson | undefined,
  io: Io,
): void {
  if (json) {
    const about = { component: entityType, entity: entityId, seq, last, deleted: isDeleted };
    io.out.write(`${jsonText({ ...about, state: state ?? null }, 2)}\n`);
    return;
  }
  io.err.write(
    `${printable(entityType)} ${printable(entityId)} as of event ${seq} of ${last}${isDeleted ? ', deleted' : ''}\n`,
  );
  io.out.write(`${state === undefined ? 'null' : indentedJson(state.text)}\n`);
}

/** Without a function to ask: what it would be given. */
async function showSource(
  history: History,
  { entityType }: KnownComponent,
  { entityId, json }: ShowRequest,
  { seq, last, snapshot, voidThrough, isDeleted }: StateSource,
  io: Io,
): Promise<number> {
  const snapshotContent = snapshot && readContent(history, snapshot.payload);
  const events = [];
  for await (const event of eventsOf(history, { entityType, entityId }, snapshot?.seq ?? voidThrough, seq)) {
    const [chunk] = history.versions.length > 1 ? await chunksOfEvents(history, [event]) : [];
    events.push({ ...event, content: readContent(history, event.payload, chunk?.function) });
  }
  if (json) {
    io.out.write(
      `${jsonText(
        {
          component: entityType,
          entity: entityId,
          seq,
          last,
          deleted: isDeleted,
          snapshot:
            snapshot && snapshotContent
              ? { seq: snapshot.seq, at: snapshot.at, ...contentJson(snapshotContent) }
              : null,
          events: events.map(({ seq: number, at, commandId, content }) => ({
            seq: number,
            at,
            command: commandId,
            ...contentJson(content),
          })),
        },
        2,
      )}\n`,
    );
    return 0;
  }
  io.out.write(
    `${printable(entityType)} ${printable(entityId)} as of event ${seq} of ${last}${isDeleted ? ', deleted' : ''}\n`,
  );
  if (snapshot && snapshotContent) {
    io.out.write(
      `snapshot ${snapshot.seq}  ${snapshot.at.toISOString()}  ${printable(snapshotContent.type)} ${printable(shownContent(snapshotContent))}\n`,
    );
  }
  for (const { seq: number, at, commandId, content } of events) {
    io.out.write(
      `event ${number}  ${at.toISOString()}  ${printable(commandId)}  ${printable(content.type)} ${printable(shownContent(content))}\n`,
    );
  }
  return 0;
}

async function showValue(
  history: History,
  { entityType }: KnownComponent,
  { entityId, json }: ShowRequest,
  moment: Moment | undefined,
  io: Io,
): Promise<number> {
  const { change, last } = await valueAt(history, { entityType, entityId }, moment);
  const { revision, at, commandId, payload } = change;
  const [chunk] = await chunksNumbered(history, [change]);
  const content = payload && readContent(history, payload, chunk?.function);
  if (json) {
    const about = { component: entityType, entity: entityId, revision, last, at, command: commandId };
    io.out.write(
      `${jsonText({ ...about, deleted: content === undefined, ...(content && contentJson(content)) }, 2)}\n`,
    );
    return 0;
  }
  const state = content === undefined ? 'deleted' : printable(content.type);
  io.err.write(
    `${printable(entityType)} ${printable(entityId)}, revision ${revision} of ${last}, of ${at.toISOString()} by ${printable(commandId)}: ${state}\n`,
  );
  if (content === undefined) io.out.write('null\n');
  else if (content.json === undefined) io.out.write(`${shownContent(content)}\n`);
  else io.out.write(`${indentedJson(content.json)}\n`);
  return 0;
}
