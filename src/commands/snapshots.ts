import { status } from '@grpc/grpc-js';
import type { Io, SnapshotsRequest } from '../cli/context.ts';
import { decodeReplicatedDelta, encodeReplicatedDelta } from '../codec/replicated-record.ts';
import type { Config } from '../config/config.ts';
import { messageOf, StateferryError } from '../errors.ts';
import { createFunctionClient } from '../functions/client.ts';
import { entityIds } from '../inspect/events.ts';
import { componentNamed, entityNamed, type History, type KnownComponent } from '../inspect/scope.ts';
import { type EntityHead, loadHeads, loadTails, type StoredEvent } from '../journal/load.ts';
import { dropSnapshots, putSnapshot } from '../journal/snapshots.ts';
import { servingConfig } from '../live-generation.ts';
import type { EntityKey } from '../model/entity.ts';
import type { Payload } from '../model/payload.ts';
import { readFunctionFiles } from '../named-files.ts';
import { fold } from '../replicated/fold.ts';
import { fromNothing } from '../replicated/merge.ts';
import { askForState, type Observation } from '../verify/observe-entity.ts';
import { discoverOnce } from './ask-function.ts';
import { createProgress, type Progress } from './inspect/progress.ts';
import { openHistoryOf } from './inspect/with-history.ts';
import { printable } from './printable.ts';
import { type Journal, withJournal } from './with-journal.ts';

/** Of entities that could not be dealt with, so many are named. */
const NAMED = 50;
const EVENTS_PAGE = 1_000;
const LEFT_SOME = 1;
const STOPPED = 1;

/** `stateferry journal snapshots drop|rebuild`: 0 when all was done, 1 when some entities were left as they are, or it was stopped before. */
export async function snapshots(config: Config, request: SnapshotsRequest, io: Io): Promise<number> {
  const progress = createProgress(io.err);
  const left = createLeft(io);
  const done: Done = { snapshots: 0 };
  try {
    return await withJournal(config, async (journal) => {
      const { pool, shards, generation: liveGeneration } = journal;
      const history = await openHistoryOf(config, pool, { shards, liveGeneration });
      const components = await componentsOf(history, request);
      const work: Work = { journal, components, left, done, io, progress };
      if (request.kind === 'drop') await drop(work, request);
      else await rebuild(work, request, await servingConfig(pool, config), history);
      return left.end();
    });
  } catch (error) {
    if (error !== io.signal.reason) throw error;
    left.end();
    const count = done.snapshots.toLocaleString('en');
    io.err.write(
      request.kind === 'drop'
        ? `Stopped: ${count} snapshots dropped. The same command goes on there.\n`
        : `Stopped: ${count} snapshots made of events. They stay; the same command makes the rest.\n`,
    );
    return STOPPED;
  } finally {
    progress.end();
  }
}

/** Snapshots that were dropped or made so far. */
interface Done {
  snapshots: number;
}

/** What both work with. They throw the signal's reason when it is aborted. */
interface Work {
  readonly journal: Journal;
  readonly components: readonly KnownComponent[];
  readonly left: Left;
  readonly done: Done;
  readonly io: Io;
  readonly progress: Progress;
}

/** @throws StateferryError OPERATION_REFUSED for what there is not, and for values, which have no snapshots. */
async function componentsOf(
  history: History,
  { component, entityId }: SnapshotsRequest,
): Promise<readonly KnownComponent[]> {
  if (entityId === undefined && component === undefined) {
    return history.components.filter(({ kind }) => kind !== 'value');
  }
  const found =
    entityId === undefined
      ? componentNamed(history, component as string)
      : await entityNamed(history, entityId, component);
  if (found.kind !== 'value') return [found];
  throw new StateferryError(
    'OPERATION_REFUSED',
    `"${found.entityType}" has values, which are what they are without a snapshot.`,
  );
}

async function drop(
  { journal: { pool, generation }, components, left, done, io, progress }: Work,
  { entityId }: SnapshotsRequest,
): Promise<void> {
  for (const { entityType } of components) {
    for (let after: string | undefined = ''; after !== undefined; ) {
      io.signal.throwIfAborted();
      const page = await dropSnapshots(pool, {
        generation,
        entityType,
        after,
        ...(entityId !== undefined && { entityId }),
      });
      done.snapshots += page.dropped;
      progress.now(`dropping snapshots, ${done.snapshots.toLocaleString('en')} so far`);
      for (const kept of page.kept) {
        left.add(
          { entityType, entityId: kept.entityId },
          `retention has removed its events up to ${kept.removedThrough}, so its snapshot stays`,
        );
      }
      after = page.last;
    }
  }
  const count = done.snapshots.toLocaleString('en');
  io.out.write(`${count} snapshots dropped: those entities are loaded from all their events.\n`);
}

async function rebuild(
  { journal: { pool, generation }, components, left, done, io, progress }: Work,
  { entityId, minEvents }: SnapshotsRequest & { kind: 'rebuild' },
  config: Config,
  history: History,
): Promise<void> {
  const client = createFunctionClient(new URL(config.function.url), readFunctionFiles(config));
  let looked = 0;
  try {
    const state = await stateOf(config, client, components);
    for (const { entityType, kind } of components) {
      const pages =
        entityId === undefined
          ? entityIds(history, 'event', { entityType, prefix: '', after: undefined })
          : [[entityId]];
      for await (const ids of pages) {
        const keys = ids.map((id) => ({ entityType, entityId: id }));
        const heads = await loadHeads(pool, generation, keys);
        for (const [i, key] of keys.entries()) {
          io.signal.throwIfAborted();
          looked++;
          progress.now(
            `${looked.toLocaleString('en')} entities looked at, ${done.snapshots.toLocaleString('en')} snapshots made; at ${entityType}`,
          );
          const head = heads[i] as EntityHead;
          const events = head.seq - head.voidThrough;
          const isMeant = entityId !== undefined || head.snapshot !== undefined || events >= minEvents;
          if (events === 0 || !isMeant) continue;
          if ((head.removedThrough ?? 0) > head.voidThrough) {
            left.add(key, `retention has removed its events up to ${head.removedThrough}: it cannot be made of them`);
            continue;
          }
          try {
            const stored = eventsOf(pool, generation, key, head);
            const payload = kind === 'replicated' ? await replicatedValue(stored) : await state(key, stored);
            const isPut = await putSnapshot(pool, generation, key, { seq: head.seq, payload });
            if (isPut) done.snapshots++;
            else left.add(key, 'it got a newer snapshot meanwhile');
          } catch (error) {
            if (error instanceof StateferryError && error.fate !== 'reject') throw error;
            if (isAway(error)) throw functionAway(config, error);
            left.add(key, `the function does not take its events: ${messageOf(error)}`);
          }
        }
      }
    }
  } finally {
    client.close();
  }
  io.out.write(`${done.snapshots.toLocaleString('en')} snapshots made of events.\n`);
}

/**
 * Asks the function for the state that events make, on a stream of its own.
 * @throws StateferryError FUNCTION_UNAVAILABLE, or OPERATION_REFUSED for a function that cannot tell a state or start from one.
 */
async function stateOf(
  config: Config,
  client: ReturnType<typeof createFunctionClient>,
  components: readonly KnownComponent[],
): Promise<(key: EntityKey, events: AsyncIterable<StoredEvent>) => Promise<Payload>> {
  if (!components.some(({ kind }) => kind === 'event-sourced')) {
    return () => Promise.reject(new TypeError('no event sourced entity is meant'));
  }
  const { dialect, spec } = await discoverOnce(client, config);
  const observation: Observation | undefined = askForState(client, dialect, config.function.deadlineMs);
  if (observation === undefined || spec.supportLibrary.includes('python-support')) {
    const reason =
      observation === undefined
        ? `the function's protocol (${dialect.name}) has no way to ask for a state`
        : `the function's SDK starts from no snapshot`;
    throw new StateferryError(
      'OPERATION_REFUSED',
      `${reason}: no snapshot can be made of events. Drop them instead: entities get new ones as they work.`,
    );
  }
  const byType = new Map([...spec.components.values()].map((component) => [component.entityType, component]));
  return async ({ entityType, entityId }, events) => {
    const component = byType.get(entityType);
    if (component?.kind !== 'event-sourced') {
      throw new StateferryError(
        'OPERATION_REFUSED',
        `the function at ${config.function.url} has no event sourced entity type "${entityType}". Name one that it has (--component).`,
      );
    }
    return observation.observe(component, { service: component.service, entityId }, events);
  };
}

async function* eventsOf(
  pool: Journal['pool'],
  generation: number,
  key: EntityKey,
  { voidThrough, seq }: EntityHead,
): AsyncGenerator<StoredEvent> {
  for (let after = voidThrough; after < seq; after += EVENTS_PAGE) {
    const [page = []] = await loadTails(pool, generation, [
      { key, after, through: Math.min(after + EVENTS_PAGE, seq) },
    ]);
    yield* page;
  }
}

/** Of a replicated entity, the runtime makes the value. */
async function replicatedValue(events: AsyncIterable<StoredEvent>): Promise<Payload> {
  const deltas = [];
  for await (const { payload } of events) deltas.push(decodeReplicatedDelta(payload));
  const data = fold(deltas);
  if (data === undefined) throw new StateferryError('ENTITY_UNREADABLE', 'its events make no value');
  return encodeReplicatedDelta(fromNothing(data));
}

/** The function does not answer any more: that is no fault of an entity. */
function isAway(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === status.UNAVAILABLE;
}

function functionAway(config: Config, cause: unknown): StateferryError {
  return new StateferryError(
    'FUNCTION_UNAVAILABLE',
    `the function at ${config.function.url} went away: ${messageOf(cause)}. What was made stays; the same command makes the rest.`,
    { cause },
  );
}

/** Entities that were left as they are: the first of them are named, the others counted. */
interface Left {
  add(key: EntityKey, why: string): void;
  /** The exit code. */
  end(): number;
}

function createLeft({ err }: Io): Left {
  let count = 0;
  return {
    add({ entityType, entityId }, why) {
      count++;
      if (count <= NAMED) err.write(`${printable(entityType)} ${printable(entityId)}: ${why}.\n`);
    },
    end() {
      if (count > NAMED) err.write(`… and ${(count - NAMED).toLocaleString('en')} entities more.\n`);
      return count === 0 ? 0 : LEFT_SOME;
    },
  };
}
