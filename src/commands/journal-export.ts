import { exportJournal } from '../archive/export.ts';
import { importJournal } from '../archive/import.ts';
import type { ArchiveRequest, Io } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { messageOf, StateferryError } from '../errors.ts';
import { migrate } from '../journal/migrate.ts';
import { createPool } from '../journal/pool.ts';
import { postgresServer } from '../postgres-connection.ts';
import { withJournal } from './with-journal.ts';

const INTERRUPTED = 1;

/** `stateferry journal export` and `import`: 0 done, 1 when it was interrupted. */
export async function archive(config: Config, { kind, folder }: ArchiveRequest, io: Io): Promise<number> {
  const tell = (line: string) => void io.out.write(`${line}\n`);
  const { signal } = io;
  const isDone =
    kind === 'export'
      ? await withJournal(config, ({ pool }) => exportJournal(pool, { folder, signal, tell }))
      : await importInto(config, { folder, signal, tell });
  if (isDone) tell(kind === 'export' ? `The journal is in ${folder}` : 'The journal is whole');
  else io.err.write('Interrupted. The same command goes on from here.\n');
  return isDone ? 0 : INTERRUPTED;
}

async function importInto(
  config: Config,
  options: Pick<Parameters<typeof importJournal>[1], 'folder' | 'signal' | 'tell'>,
): Promise<boolean> {
  const { schema, statementTimeoutMs } = config.postgres;
  const server = postgresServer(config);
  try {
    await migrate({ ...server, schema });
  } catch (cause) {
    if (cause instanceof StateferryError) throw cause;
    const sentence = `Postgres cannot be reached, or the journal's tables cannot be made: ${messageOf(cause)}. Check postgres.url.`;
    throw new StateferryError('POSTGRES_UNAVAILABLE', sentence, { cause });
  }
  const pool = createPool({
    ...server,
    schema,
    size: 1,
    statementTimeoutMs,
    applicationName: `stateferry ${config.deployment.name}`,
    onIdleError: () => undefined,
  });
  try {
    return await importJournal(pool, { ...options, deployment: config.deployment.name });
  } finally {
    await pool.end();
  }
}
