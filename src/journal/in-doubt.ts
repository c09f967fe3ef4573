import type pg from 'pg';
import type { Positions } from '../model/record.ts';
import { asOutboxRow, DOUBTED_CHUNKS, type OutboxRow, type OutboxTableRow } from './outbox.ts';
import { positionsFromJson } from './positions.ts';

/** What the journal knows of the chunks that a transaction of some id may hold. */
export interface InDoubt {
  /** Shards that have the id among their owners. */
  readonly owned: readonly ShardInDoubt[];
  /** Shards that were ever released cleanly, and what the owner who did it last had committed; not who it was. */
  readonly released: readonly { readonly shard: number; readonly emitted: Positions }[];
}

export interface ShardInDoubt {
  readonly shard: number;
  /** Where the last chunk led of which the journal knows that its transaction was committed; undefined: none. */
  readonly emitted: Positions | undefined;
  /** What the outbox has of the chunks after that one, and of the DOUBTED_CHUNKS up to it. */
  readonly rows: readonly RowInDoubt[];
}

/** An outbox row, and whether the journal takes it for emitted: the commit of its transaction was answered. */
export interface RowInDoubt extends OutboxRow {
  readonly isEmitted: boolean;
}

/**
 * Reads what is known about a fenced transactional id. It stays so: where the id is the only owner, the epoch grows, so that
 * its process journals no more there, of what was emitted either.
 */
export async function readInDoubt(pool: pg.Pool, generation: number, transactionalId: string): Promise<InDoubt> {
  await pool.query('update shard set epoch = epoch + 1 where generation = $1 and owners = array[$2]', [
    generation,
    transactionalId,
  ]);
  const shards = await pool.query<{
    shard: number;
    owners: string[];
    released: Record<string, string> | null;
    emitted: Record<string, string> | null;
  }>(
    `select s.shard, s.owners, s.released, coalesce(c.positions, o.positions) as emitted
     from shard s
       left join chunk c on c.generation = s.generation and c.shard = s.shard and c.chunk = s.emitted
       left join outbox o on o.generation = s.generation and o.shard = s.shard and o.chunk = s.emitted
     where s.generation = $1 and ($2 = any(s.owners) or s.released is not null)
     order by s.shard`,
    [generation, transactionalId],
  );
  const rows = await pool.query<OutboxTableRow & { readonly emitted: boolean }>(
    `select o.shard, o.chunk, o.positions, o.records, o.at, o.chunk <= s.emitted as emitted
     from outbox o join shard s using (generation, shard)
     where generation = $1 and $2 = any(s.owners) and o.chunk > greatest(s.emitted - $3, s.held_chunk)
     order by o.shard, o.chunk`,
    [generation, transactionalId, DOUBTED_CHUNKS],
  );
  const inDoubt = rows.rows.map((row) => ({ ...asOutboxRow(row), isEmitted: row.emitted }));
  return {
    owned: shards.rows
      .filter(({ owners }) => owners.includes(transactionalId))
      .map(({ shard, emitted }) => ({
        shard,
        emitted: emitted === null ? undefined : positionsFromJson(emitted),
        rows: inDoubt.filter((row) => row.shard === shard),
      })),
    released: shards.rows.flatMap(({ shard, released }) =>
      released === null ? [] : [{ shard, emitted: positionsFromJson(released) }],
    ),
  };
}
