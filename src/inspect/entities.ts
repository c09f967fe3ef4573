import { partitionFor } from '../topics/partition.ts';
import { entityIds } from './events.ts';
import type { History, KnownComponent } from './scope.ts';

/** What the journal has of one entity. */
export interface ListedEntity {
  readonly component: KnownComponent;
  readonly entityId: string;
  readonly shard: number;
  /** Sequence of its last event, or revision of its value. */
  readonly seq: number;
  /** Of a value, null: it keeps no history. */
  readonly events: number | null;
  /** Of a value, null. */
  readonly first: Date | null;
  readonly last: Date;
  /** A value that was deleted, or an event sourced entity that is or is to be: the time when its history is void. */
  readonly deleted: Date | null;
}

/** Where a list goes on: behind this entity. */
export interface EntityCursor {
  readonly entityType: string;
  readonly source: 'event' | 'value';
  readonly entityId: string;
}

interface Row {
  readonly entity_id: string;
  readonly seq: number;
  readonly events: number | null;
  readonly first: Date | null;
  readonly last: Date;
  readonly deleted: Date | null;
}

const SOURCES = ['event', 'value'] as const;

/** Events are dense, so their number is that of the last one less those before the first. */
const DETAILS = {
  event: `select k.entity_id, l.seq, l.seq - f.seq + 1 as events, f.at as first, l.at as last, d.due_at as deleted
    from unnest($3::text[]) with ordinality as k(entity_id, n)
    cross join lateral (select seq, at from event e where e.generation = $1 and e.entity_type = $2 and e.entity_id = k.entity_id
                        order by seq limit 1) f
    cross join lateral (select seq, at from event e where e.generation = $1 and e.entity_type = $2 and e.entity_id = k.entity_id
                        order by seq desc limit 1) l
    left join deletion d on d.generation = $1 and d.entity_type = $2 and d.entity_id = k.entity_id and d.seq = l.seq
    order by k.n`,
  value: `select v.entity_id, v.revision as seq, null::bigint as events, null::timestamptz as first, v.at as last,
      case when v.type_url is null then v.at end as deleted
    from unnest($3::text[]) with ordinality as k(entity_id, n)
    join value v on v.generation = $1 and v.entity_type = $2 and v.entity_id = k.entity_id
    order by k.n`,
};

/** Entities by component, those with events before those with values, each in the order of the database; a page at a time. */
export async function* listEntities(
  history: History,
  wanted: {
    readonly components: readonly KnownComponent[];
    /** Exactly this one, or those that begin with this. */
    readonly entity: { readonly id: string } | { readonly prefix: string };
    readonly after: EntityCursor | undefined;
  },
): AsyncGenerator<ListedEntity[]> {
  const { entity, after } = wanted;
  let isBehind = after === undefined;
  for (const component of wanted.components) {
    const { entityType } = component;
    for (const source of SOURCES) {
      const isHere = after?.entityType === entityType && after.source === source;
      if (!isBehind && !isHere) continue;
      isBehind = true;
      const pages =
        'id' in entity
          ? [[entity.id]]
          : entityIds(history, source, {
              entityType,
              prefix: entity.prefix,
              after: isHere ? after.entityId : undefined,
            });
      for await (const ids of pages) {
        const { rows } = await history.db.query<Row>(DETAILS[source], [history.generation, entityType, ids]);
        if (rows.length === 0) continue;
        yield rows.map(({ entity_id: entityId, ...row }) => ({
          ...row,
          component,
          entityId,
          shard: partitionFor(Buffer.from(entityId), history.shards),
        }));
      }
    }
  }
}

/** The place behind an entity, as text that a shell takes as it is. */
export function cursorText({ component, entityId, events }: ListedEntity): string {
  const source = events === null ? 'value' : 'event';
  return [component.entityType, source, entityId].map(encodeURIComponent).join('/');
}

/** Reads what `cursorText` wrote; undefined for any other text. */
export function readCursor(text: string): EntityCursor | undefined {
  try {
    const [entityType, source, entityId, ...more] = text.split('/').map(decodeURIComponent);
    if (entityType === undefined || entityId === undefined || more.length > 0) return undefined;
    return source === 'event' || source === 'value' ? { entityType, source, entityId } : undefined;
  } catch {
    // It is not encoded as we do it.
    return undefined;
  }
}
