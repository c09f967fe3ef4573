import type pg from 'pg';
import { streamRows } from '../journal/cursor.ts';
import { type Item, rootOffset } from './diff-items.ts';
import type { Compared, DifferenceKind } from './difference.ts';

/** Items that go to Postgres at once. */
const BATCH = 2_000;

/** Whose an item is: the generation whose history it is, or the one that was made of it. */
export type Side = 'source' | 'made';

/** An item that the two generations do not have alike. */
export interface Found {
  readonly what: Compared;
  readonly kind: DifferenceKind;
  readonly id: string;
  readonly group: string;
  readonly commandId: string;
  readonly entityType: string;
  readonly entityId: string;
  /** Where the content of each side is; null: it has none. */
  readonly before: string | null;
  readonly after: string | null;
}

const COLUMNS = `what, kind, id, grouped as "group", command_id as "commandId", entity_type as "entityType",
  entity_id as "entityId", before, after`;

/**
 * The items of two generations, in temporary tables of one connection: memory holds a batch of them, Postgres sorts and
 * matches them on its disk.
 */
export class DiffTable {
  readonly #client: pg.ClientBase;
  readonly #held: Record<Side, Item[]> = { source: [], made: [] };

  private constructor(client: pg.ClientBase) {
    this.#client = client;
  }

  static async create(client: pg.ClientBase): Promise<DiffTable> {
    await client.query(
      `create temporary table item (side text, what text, id text, command_id text, grouped text, entity_type text,
         entity_id text, digest bytea, place text, root_topic text, root_partition integer, root_offset bigint) on commit drop`,
    );
    return new DiffTable(client);
  }

  async add(side: Side, item: Item): Promise<void> {
    const held = this.#held[side];
    held.push(item);
    if (held.length >= BATCH) await this.#flush(side);
  }

  /** Matches what was added. To be called once, before anything is asked. */
  async match(): Promise<void> {
    await this.#flush('source');
    await this.#flush('made');
    await this.#client.query('analyze item');
    await this.#client.query(
      `create temporary table matched on commit drop as
       select coalesce(m.what, s.what) as what, coalesce(m.id, s.id) as id, coalesce(m.grouped, s.grouped) as grouped,
              coalesce(m.command_id, s.command_id) as command_id,
              coalesce(nullif(m.entity_type, ''), s.entity_type, '') as entity_type,
              coalesce(nullif(m.entity_id, ''), s.entity_id, '') as entity_id,
              case when s.id is null then 'added' when m.id is null then 'missing'
                   when s.digest = m.digest then 'same' else 'changed' end as kind,
              s.place as before, m.place as after, coalesce(m.root_topic, s.root_topic) as root_topic,
              coalesce(m.root_partition, s.root_partition) as root_partition,
              coalesce(m.root_offset, s.root_offset) as root_offset
       from (select * from item where side = 'source') s
       full join (select * from item where side = 'made') m on m.what = s.what and m.id = s.id`,
    );
  }

  async counts(): Promise<{ what: Compared; group: string; kind: DifferenceKind | 'same'; count: number }[]> {
    const { rows } = await this.#client.query<{
      what: Compared;
      group: string;
      kind: DifferenceKind | 'same';
      count: number;
    }>('select what, grouped as "group", kind, count(*) as count from matched group by 1, 2, 3 order by 1, 2, 3');
    return rows;
  }

  /** Entities that something differs of. */
  async entities(): Promise<number> {
    const { rows } = await this.#client.query<{ count: number }>(
      `select count(distinct (entity_type, entity_id)) as count from matched where kind <> 'same' and entity_id <> ''`,
    );
    return rows[0]?.count ?? 0;
  }

  /** What differs first of each entity, in the order of the input that it follows from. */
  async firsts(limit: number): Promise<Found[]> {
    const { rows } = await this.#client.query<Found>(
      `select ${COLUMNS} from (
         select distinct on (entity_type, entity_id) * from matched
         where kind <> 'same' and entity_id <> '' and what <> 'values'
         order by entity_type, entity_id, root_topic, root_partition, root_offset, id) first
       order by root_topic, root_partition, root_offset, id limit $1`,
      [limit],
    );
    return rows;
  }

  /** Places of what only the made generation has, or has in another way, `size` at a time. */
  async *differing(size: number): AsyncGenerator<string[]> {
    const query = "select after from matched where kind in ('added', 'changed')";
    let places: string[] = [];
    for await (const { after } of streamRows<{ after: string }>(this.#client, query, [], size)) {
      places.push(after);
      if (places.length < size) continue;
      yield places;
      places = [];
    }
    if (places.length > 0) yield places;
  }

  /** As many as `limit` of each kind and group. */
  async samples(limit: number): Promise<Found[]> {
    const { rows } = await this.#client.query<Found>(
      `select ${COLUMNS} from (
         select *, row_number() over (partition by what, grouped, kind
                                      order by root_topic, root_partition, root_offset, id) as nth
         from matched where kind <> 'same') numbered
       where nth <= $1 order by what, grouped, kind, nth`,
      [limit],
    );
    return rows;
  }

  async #flush(side: Side): Promise<void> {
    const items = this.#held[side];
    this.#held[side] = [];
    if (items.length === 0) return;
    const roots = items.map(({ commandId }) => rootOffset(commandId));
    await this.#client.query(
      `insert into item select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
         $8::bytea[], $9::text[], $10::text[], $11::int[], $12::bigint[])`,
      [
        side,
        items.map(({ what }) => what),
        items.map(({ id }) => id),
        items.map(({ commandId }) => commandId),
        items.map(({ group }) => group),
        items.map(({ entityType }) => entityType),
        items.map(({ entityId }) => entityId),
        items.map(({ digest }) => digest),
        items.map(({ place }) => place),
        roots.map(({ topic }) => topic),
        roots.map(({ partition }) => partition),
        roots.map(({ offset }) => offset),
      ],
    );
  }
}
