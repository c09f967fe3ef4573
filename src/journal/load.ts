import type pg from 'pg';
import type { EntityKey } from '../model/chunk.ts';
import type { Payload } from '../model/payload.ts';

/** An event sourced entity as of its last event. */
export interface EntityHead {
  /** Sequence of the last event; 0 for a new entity. */
  readonly seq: number;
  readonly snapshot: { readonly seq: number; readonly payload: Payload } | undefined;
  /** Events up to this one count no more: the entity was deleted, and its time for clean-up has come. */
  readonly voidThrough: number;
  /** Events up to this one are there no more: retention has removed them, as the snapshot is of a later one. Absent: none. */
  readonly removedThrough?: number;
}

export interface StoredEvent {
  readonly seq: number;
  readonly payload: Payload;
}

/** A value entity; `payload` is undefined when it never existed or was deleted. */
export interface StoredValue {
  readonly revision: number;
  readonly payload: Payload | undefined;
}

const HEADS = `
select k.n - 1 as n, s.seq as snapshot_seq, s.type_url, s.payload, coalesce(e.seq, 0) as seq, coalesce(d.seq, 0) as void_through,
  coalesce(s.removed_through, 0) as removed_through
from unnest($2::text[], $3::text[]) with ordinality as k(entity_type, entity_id, n)
left join snapshot s on s.generation = $1 and s.entity_type = k.entity_type and s.entity_id = k.entity_id
left join voided d on d.generation = $1 and d.entity_type = k.entity_type and d.entity_id = k.entity_id
left join lateral (
  select seq from event e
  where e.generation = $1 and e.entity_type = k.entity_type and e.entity_id = k.entity_id
  order by e.seq desc limit 1
) e on true`;

/** Heads of many event sourced entities with one query, in the order of `keys`. */
export async function loadHeads(
  pool: Pick<pg.ClientBase, 'query'>,
  generation: number,
  keys: readonly EntityKey[],
): Promise<EntityHead[]> {
  const result = await pool.query<{
    n: number;
    snapshot_seq: number | null;
    type_url: string;
    payload: Buffer;
    seq: number;
    void_through: number;
    removed_through: number;
  }>({ name: 'load-heads', text: HEADS, values: [generation, ...columns(keys)] });
  const heads = new Array<EntityHead>(keys.length);
  for (const row of result.rows) {
    const valid = row.snapshot_seq !== null && row.snapshot_seq > row.void_through;
    heads[row.n] = {
      seq: row.seq,
      snapshot: valid
        ? { seq: row.snapshot_seq as number, payload: { typeUrl: row.type_url, value: row.payload } }
        : undefined,
      voidThrough: row.void_through,
      ...(row.removed_through > 0 && { removedThrough: row.removed_through }),
    };
  }
  return heads;
}

const TAILS = `
select k.n - 1 as n, e.seq, e.type_url, e.payload
from unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) with ordinality
  as k(entity_type, entity_id, after, through, n)
join event e on e.generation = $1 and e.entity_type = k.entity_type and e.entity_id = k.entity_id
  and e.seq > k.after and e.seq <= k.through
order by k.n, e.seq`;

/** Events in (after, through] of many entities with one query, in order per entity; the answer is in the order of `wanted`. */
export async function loadTails(
  pool: Pick<pg.ClientBase, 'query'>,
  generation: number,
  wanted: readonly { readonly key: EntityKey; readonly after: number; readonly through: number }[],
): Promise<StoredEvent[][]> {
  const result = await pool.query<{ n: number; seq: number; type_url: string; payload: Buffer }>({
    name: 'load-tails',
    text: TAILS,
    values: [
      generation,
      ...columns(wanted.map((w) => w.key)),
      wanted.map((w) => w.after),
      wanted.map((w) => w.through),
    ],
  });
  const tails: StoredEvent[][] = wanted.map(() => []);
  for (const row of result.rows) {
    tails[row.n]?.push({ seq: row.seq, payload: { typeUrl: row.type_url, value: row.payload } });
  }
  return tails;
}

const VALUES = `
select k.n - 1 as n, coalesce(v.revision, 0) as revision, v.type_url, v.payload
from unnest($2::text[], $3::text[]) with ordinality as k(entity_type, entity_id, n)
left join value v on v.generation = $1 and v.entity_type = k.entity_type and v.entity_id = k.entity_id`;

/** Many value entities with one query, in the order of `keys`. */
export async function loadValues(
  pool: Pick<pg.ClientBase, 'query'>,
  generation: number,
  keys: readonly EntityKey[],
): Promise<StoredValue[]> {
  const result = await pool.query<{ n: number; revision: number; type_url: string | null; payload: Buffer }>({
    name: 'load-values',
    text: VALUES,
    values: [generation, ...columns(keys)],
  });
  const values = new Array<StoredValue>(keys.length);
  for (const row of result.rows) {
    values[row.n] = {
      revision: row.revision,
      payload: row.type_url === null ? undefined : { typeUrl: row.type_url, value: row.payload },
    };
  }
  return values;
}

function columns(keys: readonly EntityKey[]): [string[], string[]] {
  return [keys.map((key) => key.entityType), keys.map((key) => key.entityId)];
}
