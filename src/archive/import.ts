import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type pg from 'pg';
import { messageOf, StateferryError } from '../errors.ts';
import type { Told } from './export.ts';
import { MANIFEST_FILE, Manifest } from './manifest.ts';
import { type Block, damage, type FileTotals, readBlocks } from './read-blocks.ts';
import { ARCHIVED_TABLES, archivedTable } from './tables.ts';

/** Of the imports into one schema, one at a time goes on. */
const LOCK = "hashtext('stateferry import'), hashtext(current_schema)";

/** What the deployment is called until everything is there, so that no process starts on a half of it. */
const unfinishedName = (name: string, id: string) => `${name} (unfinished import ${id})`;

/**
 * Fills an empty journal with an archive that `exportJournal` has finished. All files are read and checked before
 * anything is written. What was interrupted is gone on with by the same archive. False: the signal came.
 *
 * The schema has to be that of this version. @throws StateferryError OPERATION_REFUSED for a folder without a finished
 * export and for a journal that is not empty, JOURNAL_FOREIGN where archive or journal are another deployment's,
 * JOURNAL_NEWER for an archive of a later version, ARCHIVE_DAMAGED with the file and the byte.
 */
export async function importJournal(
  pool: pg.Pool,
  options: {
    readonly folder: string;
    /** The deployment that the journal is for. */
    readonly deployment: string;
    readonly signal: AbortSignal;
    readonly tell: Told;
  },
): Promise<boolean> {
  const { folder, signal, tell } = options;
  const manifest = await readManifest(folder);
  if (manifest.deployment.name !== options.deployment) {
    throw new StateferryError(
      'JOURNAL_FOREIGN',
      `${folder} is an export of the deployment "${manifest.deployment.name}", and deployment.name is "${options.deployment}". Correct the one or the other.`,
    );
  }
  const client = await pool.connect();
  try {
    await checkMigrations(client, manifest);
    const isClaimed = await checkTarget(client, manifest, folder);
    for (const { name } of manifest.files) {
      if (!(await eachBlock(manifest, folder, name, signal, async () => undefined))) return false;
    }
    tell('Every file of the archive is whole');
    if (!isClaimed) await claim(client, manifest);
    for (const { name, rows } of manifest.files) {
      const through = await doneOf(client, name);
      const whole = await eachBlock(manifest, folder, name, signal, async (block) => {
        if (block.number > through) await writeBlock(client, name, block);
      });
      if (!whole) return false;
      tell(`${name}: ${rows} rows`);
    }
    await finish(client, manifest);
    return true;
  } finally {
    await client.query(`select pg_advisory_unlock(${LOCK})`).catch(() => undefined);
    // The lock goes with the connection where nothing else helps.
    client.release(true);
  }
}

async function readManifest(folder: string): Promise<Manifest> {
  let text: string;
  try {
    text = await readFile(path.join(folder, MANIFEST_FILE), 'utf8');
  } catch (cause) {
    throw new StateferryError(
      'OPERATION_REFUSED',
      `${folder} has no ${MANIFEST_FILE} that can be read (${messageOf(cause)}), so it holds no finished export. Name the folder of one, or let the export finish.`,
      { cause },
    );
  }
  try {
    return Manifest.parse(JSON.parse(text));
  } catch (cause) {
    throw damage(MANIFEST_FILE, 0, `it is no manifest of this format (${messageOf(cause)})`);
  }
}

async function checkMigrations(client: pg.ClientBase, { migrations }: Manifest): Promise<void> {
  const { rows } = await client.query<{ name: string }>('select name from migration');
  const unknown = migrations.filter((name) => !rows.some((row) => row.name === name));
  if (unknown.length > 0) {
    throw new StateferryError(
      'JOURNAL_NEWER',
      `the archive is of a journal with migrations that this version does not know: ${unknown.join(', ')}. Import it with the version that exported it.`,
    );
  }
}

/** Locks out other imports. True: the journal is this archive's already; false: it is empty. */
async function checkTarget(client: pg.ClientBase, { deployment, id }: Manifest, folder: string): Promise<boolean> {
  const lock = await client.query<{ got: boolean }>(`select pg_try_advisory_lock(${LOCK}) as got`);
  if (lock.rows[0]?.got !== true) throw refused('another import into this schema is going on. Let it finish.');
  const unfinished = unfinishedName(deployment.name, id);
  const { rows } = await client.query<{ name: string }>('select name from deployment');
  const [found] = rows;
  if (found?.name === unfinished) return true;
  if (found !== undefined) {
    const own = found.name === deployment.name || found.name.startsWith(`${deployment.name} (unfinished`);
    throw new StateferryError(
      own ? 'OPERATION_REFUSED' : 'JOURNAL_FOREIGN',
      `the schema that postgres.schema names has a journal already, of "${found.name}", and ${folder} can only fill an empty one. Name another schema or database, or drop that schema.`,
    );
  }
  for (const { name, where = 'true' } of ARCHIVED_TABLES) {
    const some = await client.query(`select 1 from ${name} where ${where} limit 1`);
    if (some.rows.length > 0) {
      throw refused(
        `the schema that postgres.schema names has rows in its table ${name}, and an import can only fill an empty journal. Name another schema or database.`,
      );
    }
  }
  return false;
}

async function claim(client: pg.ClientBase, { deployment, id }: Manifest): Promise<void> {
  await client.query('begin');
  await client.query('create table import_progress (file text primary key, blocks integer not null)');
  await client.query('insert into deployment (name, shards) values ($1, $2)', [
    unfinishedName(deployment.name, id),
    deployment.shards,
  ]);
  await client.query('commit');
}

async function doneOf(client: pg.ClientBase, file: string): Promise<number> {
  const { rows } = await client.query<{ blocks: number }>('select blocks from import_progress where file = $1', [file]);
  return rows[0]?.blocks ?? 0;
}

/** False: the signal came before the end. */
async function eachBlock(
  manifest: Manifest,
  folder: string,
  name: string,
  signal: AbortSignal,
  take: (block: Block) => Promise<void>,
): Promise<boolean> {
  const listed = manifest.files.find((file) => file.name === name) as FileTotals;
  const blocks = readBlocks(folder, name, manifest.id);
  try {
    for (;;) {
      if (signal.aborted) return false;
      const { done, value } = await blocks.next();
      if (done !== true) {
        await take(value);
        continue;
      }
      if (value === undefined) throw damage(name, listed.bytes, `it ends before its ${listed.bytes} bytes are there`);
      if (value.sha256 !== listed.sha256 || value.bytes !== listed.bytes) {
        throw damage(name, 0, `its SHA-256 is ${value.sha256}, and the manifest says ${listed.sha256}`);
      }
      return true;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw damage(name, 0, 'it is not there');
  } finally {
    await blocks.return(undefined);
  }
}

/** The rows of a block, and that they are there, in one transaction. */
async function writeBlock(client: pg.ClientBase, file: string, { number, section, rows, end }: Block): Promise<void> {
  const table = archivedTable(section.table);
  if (table === undefined)
    throw damage(file, end, `block ${number} is of a table "${section.table}", which no journal has`);
  const columns = section.columns.map((column) => client.escapeIdentifier(column)).join(', ');
  await client.query('begin');
  try {
    const { rowCount } = await client.query(
      `insert into ${table.name} (${columns}) overriding system value
       select ${columns} from json_populate_recordset(null::${table.name}, $1::json)`,
      [`[${rows.join(',')}]`],
    );
    if (rowCount !== rows.length)
      throw damage(file, end, `block ${number} has ${rows.length} rows, and ${rowCount} could be written`);
    await client.query(
      'insert into import_progress (file, blocks) values ($1, $2) on conflict (file) do update set blocks = excluded.blocks',
      [file, number],
    );
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

async function finish(client: pg.ClientBase, { deployment, id }: Manifest): Promise<void> {
  await client.query('begin');
  await client.query(
    "select setval(pg_get_serial_sequence('operation', 'id'), (select max(id) from operation)) where exists (select 1 from operation)",
  );
  await client.query('update deployment set name = $2, live_generation = $3, created_at = $4 where name = $1', [
    unfinishedName(deployment.name, id),
    deployment.name,
    deployment.liveGeneration,
    deployment.createdAt,
  ]);
  await client.query('drop table import_progress');
  await client.query('commit');
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
