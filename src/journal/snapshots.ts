import type pg from 'pg';
import type { EntityKey } from '../model/entity.ts';
import type { Payload } from '../model/payload.ts';

type Client = Pick<pg.ClientBase, 'query'>;

/** Snapshots that one statement covers. */
const PAGE = 500;

/** What was dropped, and what has to stay. */
export interface DroppedSnapshots {
  readonly dropped: number;
  /** Entities that only their snapshot makes whole: retention has removed events up to `removedThrough`. */
  readonly kept: readonly { readonly entityId: string; readonly removedThrough: number }[];
  /** The last entity that was looked at; undefined: there was none. */
  readonly last: string | undefined;
}

/**
 * Drops snapshots of a type, of entities after `after`, some at a time, or of one entity. Those that retention has removed events
 * below stay. Who loads such an entity meanwhile has read the snapshot, or reads all events.
 */
export async function dropSnapshots(
  client: Client,
  wanted: {
    readonly generation: number;
    readonly entityType: string;
    readonly after: string;
    readonly entityId?: string;
  },
): Promise<DroppedSnapshots> {
  const { rows } = await client.query<{ entity_id: string; removed_through: number; gone: boolean }>(
    `with page as (
       select entity_id from snapshot
       where generation = $1 and entity_type = $2 and entity_id > $3 and ($4::text is null or entity_id = $4)
       order by entity_id limit ${PAGE}
     ), gone as (
       delete from snapshot s using page p
       where s.generation = $1 and s.entity_type = $2 and s.entity_id = p.entity_id and s.removed_through = 0
       returning s.entity_id
     )
     select p.entity_id, coalesce(s.removed_through, 0) as removed_through, g.entity_id is not null as gone
     from page p left join gone g using (entity_id)
     left join snapshot s on s.generation = $1 and s.entity_type = $2 and s.entity_id = p.entity_id
     order by p.entity_id`,
    [wanted.generation, wanted.entityType, wanted.after, wanted.entityId ?? null],
  );
  return {
    dropped: rows.filter(({ gone }) => gone).length,
    kept: rows
      .filter(({ gone }) => !gone)
      .map(({ entity_id: entityId, removed_through: removedThrough }) => ({ entityId, removedThrough })),
    last: rows.at(-1)?.entity_id,
  };
}

/**
 * Puts a snapshot in the place of one that is not newer; false: there is a newer one, or the entity has no such event. The
 * process that owns the entity is not disturbed: it reads snapshots when it loads, and writes newer ones.
 */
export async function putSnapshot(
  client: Client,
  generation: number,
  { entityType, entityId }: EntityKey,
  { seq, payload }: { readonly seq: number; readonly payload: Payload },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into snapshot as s (generation, entity_type, entity_id, seq, type_url, payload)
     select generation, entity_type, entity_id, seq, $5, $6 from event
     where generation = $1 and entity_type = $2 and entity_id = $3 and seq = $4
     on conflict (generation, entity_type, entity_id) do update
       set seq = excluded.seq, type_url = excluded.type_url, payload = excluded.payload, at = now()
       where s.seq <= excluded.seq`,
    [generation, entityType, entityId, seq, payload.typeUrl, Buffer.from(payload.value)],
  );
  return rowCount === 1;
}
