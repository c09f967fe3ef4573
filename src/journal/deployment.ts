import type pg from 'pg';
import { StateferryError } from '../errors.ts';
import { orDenied } from './denied.ts';

export interface Deployment {
  readonly name: string;
  /** Number of shards: fixed for the life of a journal, since an entity's shard is a hash modulo this. */
  readonly shards: number;
  readonly generation: number;
}

/**
 * Claims the schema for a deployment, or finds it claimed by the same one.
 * @throws StateferryError JOURNAL_FOREIGN when another deployment owns the schema, TOPIC_PARTITIONS when the number of
 * input partitions has changed since the journal was made, JOURNAL_DENIED when the role may not read or write the schema.
 */
export async function claimDeployment(pool: pg.Pool, name: string, shards: number): Promise<Deployment> {
  const found = await orDenied(async () => {
    await pool.query('insert into deployment (name, shards) values ($1, $2) on conflict do nothing', [name, shards]);
    return pool.query<{ name: string; shards: number; live_generation: number }>(
      'select name, shards, live_generation from deployment',
    );
  });
  const row = found.rows[0];
  if (row === undefined) throw new Error('the deployment row vanished between two statements');
  if (row.name !== name) {
    throw new StateferryError(
      'JOURNAL_FOREIGN',
      `this journal belongs to deployment "${row.name}", and this process runs deployment "${name}". ` +
        'Give each deployment a schema of its own (postgres.schema) or correct deployment.name.',
    );
  }
  if (row.shards !== shards) {
    throw new StateferryError(
      'TOPIC_PARTITIONS',
      `the input topics have ${shards} partitions now, and this journal was made with ${row.shards}. ` +
        'An entity belongs to a shard by the hash of its id modulo that number, so it cannot change under a journal: ' +
        `go back to topics with ${row.shards} partitions, or start a new deployment in another schema.`,
    );
  }
  return { name: row.name, shards: row.shards, generation: row.live_generation };
}

/** Which generation serves, and how. */
export interface LiveGeneration {
  readonly generation: number;
  /** Where its function is; undefined: where the configuration says. */
  readonly functionUrl: string | undefined;
  /** Input from outside is not taken at present: another generation is about to take its place. */
  readonly held: boolean;
}

/** Undefined: the schema has no deployment yet. */
export async function readLiveGeneration(pool: Pick<pg.ClientBase, 'query'>): Promise<LiveGeneration | undefined> {
  const { rows } = await pool.query<{ live_generation: number; function_url: string | null; held: boolean }>(
    `select d.live_generation, g.function_url, coalesce(d.held_until > now(), false) as held
     from deployment d left join generation g on g.generation = d.live_generation`,
  );
  const row = rows[0];
  return row && { generation: row.live_generation, functionUrl: row.function_url ?? undefined, held: row.held };
}
