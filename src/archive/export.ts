import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import type pg from 'pg';
import { messageOf, StateferryError } from '../errors.ts';
import { writing } from '../writing.ts';
import { FORMAT_VERSION, MANIFEST_FILE, type Manifest, UNFINISHED_FILE, Unfinished } from './manifest.ts';
import type { FileTotals } from './read-blocks.ts';
import { ARCHIVED_TABLES, type ArchivedTable, archivedTable, type Section } from './tables.ts';
import { type BlockWriter, openBlocks } from './write-blocks.ts';

/** What is told while it goes on. */
export type Told = (line: string) => void;

/** One column list and the rows' JSON, by the cursor of a section. */
interface Reader {
  readonly columns: readonly string[];
  rows(): AsyncGenerator<readonly string[]>;
}

/**
 * Writes the whole journal into a folder: one file for each entity type, one for the history of chunks, one for the rest,
 * and a manifest, which comes last. What is written is the journal at one instant, even where the deployment runs.
 *
 * A folder with an export that was interrupted is gone on with, if the journal is still the same. False: it was
 * interrupted by the signal, and can be gone on with.
 * @throws StateferryError OPERATION_REFUSED for a folder that has something else in it or an export of another state of the
 * journal; ARCHIVE_DAMAGED where what is there already is not what was written.
 */
export async function exportJournal(
  pool: pg.Pool,
  options: { readonly folder: string; readonly signal: AbortSignal; readonly tell: Told },
): Promise<boolean> {
  const { folder, signal, tell } = options;
  const client = await pool.connect();
  try {
    await client.query('begin isolation level repeatable read read only');
    const plan = await planOf(client, folder, tell);
    const files: Manifest['files'] = [];
    for (const { name, sections } of plan.files) {
      const totals = await writeFile(client, { folder, name, sections, id: plan.id, signal });
      if (totals === undefined) return false;
      tell(`${name}: ${totals.rows} rows, ${totals.bytes} bytes`);
      files.push({ name, ...totals });
    }
    const { format, version, id, deployment, migrations } = plan;
    const manifest: Manifest = {
      format,
      version,
      id,
      deployment,
      migrations,
      finishedAt: new Date().toISOString(),
      files,
    };
    await writeWhole(folder, MANIFEST_FILE, manifest);
    await unlink(path.join(folder, UNFINISHED_FILE));
    return true;
  } finally {
    await client.query('rollback').catch(() => undefined);
    client.release();
  }
}

/** The plan of the export that the folder has, or a new one. */
async function planOf(client: pg.ClientBase, folder: string, tell: Told): Promise<Unfinished> {
  await writing(folder, () => mkdir(folder, { recursive: true }));
  // A draft alone is what a first attempt left that found no room.
  const there = (await readdir(folder)).filter((name) => name !== draftOf(UNFINISHED_FILE));
  const fingerprint = await fingerprintOf(client);
  if (there.includes(MANIFEST_FILE)) {
    throw refused(`${folder} has a finished export already. Name an empty folder.`);
  }
  if (there.includes(UNFINISHED_FILE)) {
    const plan = parsePlan(await readFile(path.join(folder, UNFINISHED_FILE), 'utf8'), folder);
    if (plan.fingerprint !== fingerprint) {
      throw refused(
        `${folder} has an unfinished export of the deployment "${plan.deployment.name}" and the journal is another or has moved on ` +
          'since. Name an empty folder; stop the deployment first if an export is to survive interruptions.',
      );
    }
    tell('Going on with the export that was interrupted');
    return plan;
  }
  if (there.length > 0) throw refused(`${folder} is not empty, and holds no export. Name an empty folder.`);
  const plan: Unfinished = {
    format: 'stateferry journal',
    version: FORMAT_VERSION,
    id: randomUUID(),
    fingerprint,
    ...(await aboutOf(client)),
    files: await filesOf(client),
  };
  await writeWhole(folder, UNFINISHED_FILE, plan);
  return plan;
}

function parsePlan(text: string, folder: string): Unfinished {
  try {
    return Unfinished.parse(JSON.parse(text));
  } catch (error) {
    throw refused(`${path.join(folder, UNFINISHED_FILE)} cannot be read: ${messageOf(error)}. Name an empty folder.`);
  }
}

/** Every chunk and every request of an operator changes it. */
async function fingerprintOf(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query<{ state: string }>(
    `select jsonb_build_array(
       (select to_jsonb(d) from deployment d),
       (select jsonb_agg(s order by generation, shard) from shard s),
       (select jsonb_agg(g order by generation) from generation g),
       (select jsonb_agg(digest order by digest) from function_version),
       (select jsonb_build_array(max(id), count(*), count(done_at)) from operation),
       (select jsonb_build_array(count(*), max(marked_at)) from dead_letter)
     )::text as state`,
  );
  return createHash('sha256')
    .update(rows[0]?.state ?? '')
    .digest('hex');
}

async function aboutOf(client: pg.ClientBase): Promise<Pick<Unfinished, 'deployment' | 'migrations'>> {
  const { rows } = await client.query<Unfinished['deployment']>(
    `select name, shards, live_generation as "liveGeneration", to_json(created_at) #>> '{}' as "createdAt" from deployment`,
  );
  const found = await client.query<{ name: string }>('select name from migration order by name');
  const [deployment] = rows;
  if (deployment === undefined) throw refused('the journal has no deployment yet, so there is nothing to export.');
  return { deployment, migrations: found.rows.map(({ name }) => name) };
}

async function filesOf(client: pg.ClientBase): Promise<Unfinished['files']> {
  const shared = ARCHIVED_TABLES.filter(({ byType }) => byType === undefined).map(({ name: table }) => ({ table }));
  const isChunk = ({ table }: Section) => ['chunk', 'input', 'outbox', 'held_output'].includes(table);
  const { rows } = await client.query<{ generation: number }>(
    'select distinct generation from shard order by generation',
  );
  const types = new Map<string, Section[]>();
  for (const { generation } of rows) {
    for (const { name: table } of ARCHIVED_TABLES.filter(({ byType }) => byType)) {
      for (const entityType of await typesIn(client, table, generation)) {
        const sections = types.get(entityType) ?? [];
        sections.push({ table, generation, entityType });
        types.set(entityType, sections);
      }
    }
  }
  return [
    { name: 'journal.jsonl', sections: shared.filter((section) => !isChunk(section)) },
    { name: 'chunks.jsonl', sections: shared.filter(isChunk) },
    ...[...types]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([entityType, sections], i) => ({
        name: `${String(i + 1).padStart(3, '0')}-${fileNameOf(entityType)}.jsonl`,
        sections,
      })),
  ];
}

/** By leaps over the primary key, since a table may have very many rows of few types. */
async function typesIn(client: pg.ClientBase, table: string, generation: number): Promise<string[]> {
  const next = (after: string) =>
    `select t.entity_type from ${table} t where t.generation = $1 ${after} order by t.generation, t.entity_type limit 1`;
  const { rows } = await client.query<{ entityType: string }>(
    `with recursive types as (
       (${next('')})
       union all
       select (${next('and t.entity_type > types.entity_type')}) from types where types.entity_type is not null
     )
     select entity_type as "entityType" from types where entity_type is not null`,
    [generation],
  );
  return rows.map(({ entityType }) => entityType);
}

/** A part of a file's name that every file system takes; the number before it makes it the only one. */
function fileNameOf(entityType: string): string {
  return entityType.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 100);
}

/** Undefined: the signal came. */
async function writeFile(
  client: pg.ClientBase,
  options: {
    readonly folder: string;
    readonly name: string;
    readonly sections: readonly Section[];
    readonly id: string;
    readonly signal: AbortSignal;
  },
): Promise<FileTotals | undefined> {
  const { folder, name, id, signal } = options;
  const opened = await openBlocks(folder, name, id);
  if (!isWriter(opened)) return opened;
  let closed = false;
  try {
    const { last } = opened;
    const done = last === undefined ? 0 : options.sections.findIndex((section) => isSame(section, last.section));
    for (const section of options.sections.slice(done)) {
      const after = last !== undefined && isSame(section, last.section) ? last.rows.at(-1) : undefined;
      const { columns, rows } = await readSection(client, section, after);
      for await (const some of rows()) {
        await opened.write({ ...section, columns }, some);
        if (signal.aborted) {
          await opened.cut();
          return undefined;
        }
      }
    }
    const totals = await opened.finish();
    closed = true;
    return totals;
  } finally {
    if (!closed) await opened.close();
  }
}

function isWriter(opened: BlockWriter | FileTotals): opened is BlockWriter {
  return 'finish' in opened;
}

function isSame(a: Section, b: Section): boolean {
  return a.table === b.table && a.generation === b.generation && a.entityType === b.entityType;
}

/** The rows of a section in order of their key; `after`: the JSON of the last row that is written already. */
async function readSection(client: pg.ClientBase, section: Section, after: string | undefined): Promise<Reader> {
  const table = archivedTable(section.table) as ArchivedTable;
  const { rows } = await client.query<{ column: string }>(
    `select attname::text as column from pg_attribute
     where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum`,
    [table.name],
  );
  const columns = rows.map(({ column }) => column);
  const key = table.key.map((column) => client.escapeIdentifier(column)).join(', ');
  const values: unknown[] = [];
  const given = (value: unknown): string => `$${values.push(value)}`;
  const conditions = [
    ...(table.where === undefined ? [] : [table.where]),
    ...(section.generation === undefined ? [] : [`generation = ${given(section.generation)}`]),
    ...(section.entityType === undefined ? [] : [`entity_type = ${given(section.entityType)}`]),
  ];
  if (after !== undefined) {
    const row = JSON.parse(after) as Record<string, unknown>;
    conditions.push(`(${key}) > (${table.key.map((column) => given(row[column])).join(', ')})`);
  }
  const cursor = 'archived';
  return {
    columns,
    async *rows() {
      await client.query(
        `declare ${cursor} no scroll cursor for select row_to_json(t)::text as row from ${table.name} t
         ${conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`} order by ${key}`,
        values,
      );
      try {
        for (;;) {
          const found = await client.query<{ row: string }>(`fetch ${table.fetch} from ${cursor}`);
          yield found.rows.map(({ row }) => row);
          if (found.rows.length < table.fetch) return;
        }
      } finally {
        await client.query(`close ${cursor}`).catch(() => undefined);
      }
    },
  };
}

/** There whole or not at all. */
async function writeWhole(folder: string, name: string, content: object): Promise<void> {
  const file = path.join(folder, name);
  await writing(file, async () => {
    const handle = await open(draftOf(file), 'w');
    try {
      await handle.writeFile(`${JSON.stringify(content, undefined, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draftOf(file), file);
  });
}

function draftOf(file: string): string {
  return `${file}.draft`;
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
