import pg from 'pg';
import { StateferryError } from '../errors.ts';
import type { EntityKey } from '../model/entity.ts';

/** SQLSTATE of undefined_table. */
const UNDEFINED_TABLE = '42P01';

/** The deployment that a journal is of, as somebody finds it who does not run it. */
export interface FoundDeployment {
  readonly generation: number;
  readonly shards: number;
}

/**
 * Finds the deployment of a journal.
 * @throws StateferryError OPERATION_REFUSED where there is no journal of this version yet, JOURNAL_FOREIGN where it is
 * another deployment's.
 */
export async function findDeployment(pool: pg.Pool, name: string): Promise<FoundDeployment> {
  let rows: { name: string; shards: number; live_generation: number; ready: string | null }[];
  try {
    rows = (
      await pool.query<(typeof rows)[number]>(
        "select name, shards, live_generation, to_regclass('operation')::text as ready from deployment",
      )
    ).rows;
  } catch (cause) {
    if (!(cause instanceof pg.DatabaseError) || cause.code !== UNDEFINED_TABLE) throw cause;
    rows = [];
  }
  const [found] = rows;
  if (found === undefined || found.ready === null) {
    throw new StateferryError(
      'OPERATION_REFUSED',
      'there is no journal of this version in the schema that postgres.schema names: `stateferry run` makes it when it ' +
        'starts. Correct postgres.url or postgres.schema, or run this version first.',
    );
  }
  if (found.name !== name) {
    throw new StateferryError(
      'JOURNAL_FOREIGN',
      `this journal belongs to deployment "${found.name}", and deployment.name is "${name}". Correct the one or postgres.schema.`,
    );
  }
  return { generation: found.live_generation, shards: found.shards };
}

/** What an operator asks for, of one shard. */
export type Request = { readonly shard: number; readonly reason: string; readonly by: string } & (
  | { readonly kind: 'pause' | 'resume' | 'skip'; readonly key: EntityKey }
  | { readonly kind: 'shard-resume' | 'shard-skip' }
);

/** Leaves a request for the owner of the shard; its number. */
export async function request(pool: pg.Pool, generation: number, asked: Request): Promise<number> {
  const key = 'key' in asked ? asked.key : undefined;
  const result = await pool.query<{ id: number }>(
    `insert into operation (generation, shard, kind, entity_type, entity_id, reason, asked_by)
     values ($1, $2, $3, $4, $5, $6, $7) returning id`,
    [generation, asked.shard, asked.kind, key?.entityType ?? null, key?.entityId ?? null, asked.reason, asked.by],
  );
  return result.rows[0]?.id as number;
}

/** What came of requests that are done, by number. */
export async function outcomes(pool: pg.Pool, ids: readonly number[]): Promise<Map<number, string>> {
  const result = await pool.query<{ id: number; outcome: string }>(
    'select id, outcome from operation where id = any($1) and done_at is not null',
    [ids],
  );
  return new Map(result.rows.map(({ id, outcome }) => [id, outcome]));
}

/** Whether the journal has something of an entity of this type. */
export async function knowsEntityType(pool: pg.Pool, generation: number, entityType: string): Promise<boolean> {
  const result = await pool.query<{ known: boolean }>(
    `select exists (select 1 from event where generation = $1 and entity_type = $2)
         or exists (select 1 from value where generation = $1 and entity_type = $2)
         or exists (select 1 from entity_control where generation = $1 and entity_type = $2) as known`,
    [generation, entityType],
  );
  return result.rows[0]?.known === true;
}

/** An entity whose commands do not go their usual way, for a person. */
export interface ControlledEntity {
  readonly entityType: string;
  readonly entityId: string;
  readonly shard: number;
  readonly state: 'paused' | 'resuming';
  /** Commands that wait in the journal. */
  readonly parked: number;
  /** The command that is the first of them; null: none. */
  readonly first: string | null;
  readonly reason: string;
  /** Empty: a failure policy. */
  readonly by: string;
  readonly since: Date;
}

/** All of a deployment, oldest first. */
export async function listControlled(pool: pg.Pool, generation: number): Promise<ControlledEntity[]> {
  const result = await pool.query<ControlledEntity>(
    `select c.entity_type as "entityType", c.entity_id as "entityId", c.shard, c.state, c.reason, c.asked_by as by, c.since,
       (select count(*) from parked p
        where p.generation = c.generation and p.entity_type = c.entity_type and p.entity_id = c.entity_id) as parked,
       (select p.command_id from parked p
        where p.generation = c.generation and p.entity_type = c.entity_type and p.entity_id = c.entity_id
        order by p.chunk, p.ordinal limit 1) as first
     from entity_control c where c.generation = $1 order by c.since, c.entity_type, c.entity_id`,
    [generation],
  );
  return result.rows;
}
