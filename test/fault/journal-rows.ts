import pg from 'pg';
import type { JournalRows } from './history.ts';

/** Of the generation that serves. */
const LIVE = 'where generation = (select live_generation from deployment)';

/** Runs `use` with a connection to the journal, past all proxies. */
export async function withJournal<T>(databaseUrl: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: databaseUrl, options: '-c search_path=stateferry' });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** Every shard that there is has been released by its last owner. */
export async function isReleased(databaseUrl: string): Promise<boolean> {
  return withJournal(databaseUrl, async (client) => {
    const { rows } = await client.query('select 1 from shard where cardinality(owners) > 0');
    return rows.length === 0;
  });
}

export async function readJournal(databaseUrl: string): Promise<JournalRows> {
  return withJournal(databaseUrl, async (client) => {
    const rows = async (sql: string) => (await client.query(sql)).rows;
    return {
      events: await rows(
        `select entity_id as entity, seq::int, command_id as "commandId" from event ${LIVE} order by entity_id, seq`,
      ),
      values: await rows(`select entity_id as entity, revision::int, command_id as "commandId" from value ${LIVE}`),
      shards: await rows(
        `select s.shard, s.owners, s.applied, s.shard_seq::int as "shardSeq", count(e.*)::int as events,
           coalesce(min(e.shard_seq), 0)::int as "firstSeq", coalesce(max(e.shard_seq), 0)::int as "lastSeq"
         from shard s left join event e on e.generation = s.generation and e.shard = s.shard
         where s.generation = (select live_generation from deployment)
         group by s.shard, s.owners, s.applied, s.shard_seq order by s.shard`,
      ),
      unemitted: (
        await rows(`select 1 from outbox o join shard s using (generation, shard) ${LIVE} and o.chunk > s.emitted`)
      ).length,
    };
  });
}
