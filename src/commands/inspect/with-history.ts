import pg from 'pg';
import type { Io } from '../../cli/context.ts';
import { type Config, internalTopics } from '../../config/config.ts';
import { StateferryError } from '../../errors.ts';
import { type History, openHistory } from '../../inspect/scope.ts';
import { withJournal } from '../with-journal.ts';

/** One query may read or count everything. */
const STATEMENT_TIMEOUT_MS = 3_600_000;
const STOPPED = 1;
/** SQLSTATE of undefined_table and undefined_column. */
const OLDER_SCHEMA: ReadonlySet<string> = new Set(['42P01', '42703']);

/**
 * Reads a generation of the journal that the configuration names; nothing is written. When `io.signal` is aborted, what the
 * database is at is cancelled, and the answer is `stopped`.
 * @throws StateferryError as `withJournal` and `openHistory` do.
 */
export async function withHistory(
  config: Config,
  generation: number | undefined,
  io: Io,
  use: (history: History) => Promise<number>,
  stopped: number = STOPPED,
): Promise<number> {
  const read = async (): Promise<number> =>
    withJournal(
      config,
      async ({ pool, generation: liveGeneration, shards }) => {
        const client = await pool.connect();
        // The query that was on its way tells of a lost connection.
        const ignore = () => undefined;
        client.on('error', ignore);
        let cancelled: Promise<unknown> = Promise.resolve();
        try {
          await client.query('set session characteristics as transaction read only');
          const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
          const cancel = () => {
            cancelled = pool.query('select pg_cancel_backend($1)', [rows[0]?.pid]).catch(ignore);
          };
          io.signal.addEventListener('abort', cancel, { once: true });
          try {
            return await use(await openHistoryOf(config, client, { shards, liveGeneration, generation }));
          } finally {
            io.signal.removeEventListener('abort', cancel);
          }
        } finally {
          await cancelled;
          client.off('error', ignore);
          client.release(true);
        }
      },
      STATEMENT_TIMEOUT_MS,
    );
  try {
    return await read();
  } catch (error) {
    if (io.signal.aborted) {
      if (stopped !== 0) io.err.write('stateferry: stopped before the end\n');
      return stopped;
    }
    if (!(error instanceof pg.DatabaseError) || !OLDER_SCHEMA.has(error.code ?? '')) throw error;
    throw new StateferryError(
      'OPERATION_REFUSED',
      `the journal is not of this version (${error.message}): start a process of this version on it first.`,
      { cause: error },
    );
  }
}

/** The history of a generation, absent: the live one, in the journal that `db` leads to. @throws StateferryError as `openHistory` does */
export function openHistoryOf(
  config: Config,
  db: History['db'],
  given: { readonly shards: number; readonly liveGeneration: number; readonly generation?: number | undefined },
): Promise<History> {
  const { commands, answers } = internalTopics(config);
  return openHistory(db, {
    deployment: config.deployment.name,
    topics: { commands, answers },
    generation: undefined,
    ...given,
  });
}
