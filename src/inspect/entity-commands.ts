import { partitionFor } from '../topics/partition.ts';
import { type ChunkPlace, type ExplainedOutput, outputsOfShard } from './chunk-records.ts';
import type { History, KnownComponent } from './scope.ts';

/** The commands of an entity that the journal knows of, oldest first. */
export interface EntityCommands {
  readonly ids: readonly string[];
  /** There are more that left events, older than those. */
  readonly hasOlder: boolean;
  /** Chunks that have outputs of them. */
  readonly places: readonly ChunkPlace[];
}

/**
 * Finds the newest `limit` commands that gave an entity events or, where they are kept, changes, its last change, and those of which the outbox still has
 * a reply, a dead letter or the command itself: they may have changed nothing.
 */
export async function commandsOf(
  history: History,
  { entityType, service }: KnownComponent,
  entityId: string,
  limit: number,
): Promise<EntityCommands> {
  const { db, generation, shards } = history;
  const { rows: events } = await db.query<{ command_id: string; commands: number }>(
    `select command_id, count(*) over () as commands from event
     where generation = $1 and entity_type = $2 and entity_id = $3
     group by command_id order by max(seq) desc limit $4`,
    [generation, entityType, entityId, limit],
  );
  const { rows: values } = await db.query<{ command_id: string }>(
    `select command_id from (
       (select revision, command_id from value_revision where generation = $1 and entity_type = $2 and entity_id = $3
        order by revision desc limit $4)
       union
       select revision, command_id from value where generation = $1 and entity_type = $2 and entity_id = $3
     ) changes order by revision`,
    [generation, entityType, entityId, limit],
  );
  const { rows: parked } = await db.query<{ command_id: string }>(
    'select command_id from parked where generation = $1 and entity_type = $2 and entity_id = $3 order by chunk, ordinal',
    [generation, entityType, entityId],
  );
  const ids = new Set(events.reverse().map(({ command_id: id }) => id));
  for (const { command_id: id } of [...values, ...parked]) ids.add(id);
  const places: ChunkPlace[] = [];
  for await (const output of outputsOfShard(history, partitionFor(Buffer.from(entityId), shards))) {
    if (!isOf(output, service, entityId) || output.command === undefined) continue;
    ids.add(output.command);
    places.push(output.place);
  }
  return { ids: [...ids], hasOlder: (events[0]?.commands ?? 0) > events.length, places };
}

/** Records for callers at doors are keyed by the call, so they do not tell; events, states, replies and dead letters do. */
function isOf(
  { kind, key, service: of, target }: ExplainedOutput,
  service: string | undefined,
  entityId: string,
): boolean {
  if (kind === 'command') return target?.entityId === entityId && target.service === service;
  return key === entityId && of === service;
}
