import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { exportJournal } from '../../src/archive/export.ts';
import { importJournal } from '../../src/archive/import.ts';
import { ARCHIVED_TABLES } from '../../src/archive/tables.ts';
import { claimDeployment } from '../../src/journal/deployment.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { createPool } from '../../src/journal/pool.ts';
import { temporaryFolder } from '../support/folder.ts';
import { GOLDEN_SCHEMAS, loadGoldenUp, rowsOf, tablesOf } from '../support/golden.ts';
import { createDatabase } from '../support/postgres.ts';
import { createRandom } from '../support/random.ts';
import { fileScope, type Scope } from '../support/scope.ts';

const file = fileScope();
const never = new AbortController().signal;
const silent = () => undefined;
let source: string;

beforeAll(async () => {
  source = await loadGoldenUp(file);
  // More rows than one block or one read has, and an entity type that no file can be named after.
  const pool = poolOf(file, source, 'office');
  await pool.query(
    `insert into event (generation, entity_type, entity_id, seq, shard, shard_seq, epoch, type_url, payload, command_id)
     select 1, 'größe/../x "y"', 'e' || n % 7, n / 7 + 1, 9, n + 1, 1, 't', decode(repeat('00ff', 700), 'hex'), 'in/0/' || n
     from generate_series(0, 2499) n`,
  );
});

function poolOf(t: Scope, url: string, schema: string): pg.Pool {
  const pool = createPool({
    url,
    schema,
    size: 2,
    statementTimeoutMs: 20_000,
    applicationName: 'test',
    onIdleError: () => undefined,
  });
  t.onTestFinished(() => pool.end());
  return pool;
}

/** An empty journal in a database of its own. */
async function empty(t: Scope): Promise<pg.Pool> {
  const url = await createDatabase(t);
  await migrate({ url, schema: 'fresh' });
  return poolOf(t, url, 'fresh');
}

const nameOf = async (pool: pg.Pool): Promise<string> =>
  (await pool.query<{ name: string }>('select name from deployment')).rows[0]?.name ?? '';

async function exported(t: Scope, schema = 'office'): Promise<{ folder: string; pool: pg.Pool; name: string }> {
  const pool = poolOf(t, source, schema);
  const folder = path.join(await temporaryFolder(t), 'archive');
  expect(await exportJournal(pool, { folder, signal: never, tell: silent })).toBe(true);
  return { folder, pool, name: await nameOf(pool) };
}

/** A signal that comes after so many looks at it. */
function signalAfter(looks: number): AbortSignal {
  let left = looks;
  return {
    get aborted() {
      left -= 1;
      return left < 0;
    },
  } as AbortSignal;
}

const filesOf = (folder: string) =>
  new Map(
    readdirSync(folder)
      .filter((name) => name !== 'manifest.json')
      .map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]),
  );
/** Without what is another one's in each export. */
const content = (folder: string) => [...filesOf(folder)].map(([name, text]) => [name, text.replace(/^.*\n/, '')]);

it('has every table of the journal, by what no two of its rows share', async (t) => {
  const pool = poolOf(t, source, 'office');
  const tables = [...(await tablesOf(pool)).keys()].filter((name) => name !== 'deployment').sort();
  expect(ARCHIVED_TABLES.map(({ name }) => name).sort()).toEqual(tables);
  for (const { name, key, byType } of ARCHIVED_TABLES) {
    const { rows } = await pool.query<{ columns: string[] }>(
      `select array_agg(a.attname::text order by a.attnum) as columns from pg_index i
       join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
       where i.indrelid = to_regclass($1) and i.indisprimary`,
      [name],
    );
    const whole = byType ? ['generation', 'entity_type', ...key] : key;
    expect([...whole].sort(), name).toEqual(rows[0]?.columns.toSorted());
  }
});

describe.each(GOLDEN_SCHEMAS)('the journal of %s', (schema) => {
  it('is the same in another database, row by row, and goes on from there', async (t) => {
    const { folder, pool, name } = await exported(t, schema);
    const target = await empty(t);
    expect(await importJournal(target, { folder, deployment: name, signal: never, tell: silent })).toBe(true);
    const tables = await tablesOf(pool);
    expect([...(await tablesOf(target))].sort()).toEqual([...tables].sort());
    const [before, now] = [await rowsOf(pool, tables), await rowsOf(target, tables)];
    for (const table of tables.keys()) expect(now.get(table), table).toEqual(before.get(table));
    const shards = (await pool.query('select shards from deployment')).rows[0].shards;
    expect(await claimDeployment(target, name, shards)).toMatchObject({ name, generation: 1 });
    const ids = await target.query<{ id: number }>(
      "insert into operation (generation, shard, kind, reason, asked_by) values (1, 0, 'pause', '', '') returning id",
    );
    const { rows } = await pool.query<{ most: number }>('select coalesce(max(id), 0) as most from operation');
    expect(ids.rows[0]?.id).toBe((rows[0]?.most ?? 0) + 1);
  });
});

it('has a file for each entity type, and checksums that sha256sum gives, too', async (t) => {
  const { folder } = await exported(t);
  const manifest = JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8'));
  const names = manifest.files.map((one: { name: string }) => one.name);
  expect(names.slice(0, 2)).toEqual(['journal.jsonl', 'chunks.jsonl']);
  expect(names.some((name: string) => /^\d{3}-ledgers\.jsonl$/.test(name))).toBe(true);
  expect(readdirSync(folder).sort()).toEqual([...names, 'manifest.json'].sort());
  const { createHash } = await import('node:crypto');
  for (const { name, sha256, bytes } of manifest.files) {
    const data = readFileSync(path.join(folder, name));
    expect([name, createHash('sha256').update(data).digest('hex'), data.length]).toEqual([name, sha256, bytes]);
  }
});

describe('an export that was interrupted', () => {
  it('goes on after its last whole block, wherever it was interrupted, to the same', async (t) => {
    const { folder, pool } = await exported(t);
    const whole = content(folder);
    const random = createRandom(5);
    for (const looks of [0, 1, 3, 7, 12, 17]) {
      const other = path.join(await temporaryFolder(t), 'archive');
      expect(await exportJournal(pool, { folder: other, signal: signalAfter(looks), tell: silent })).toBe(false);
      expect(existsSync(path.join(other, 'manifest.json'))).toBe(false);
      // As a killed process leaves it: some of the last file never came to the disk.
      const last = readdirSync(other)
        .filter((name) => name.endsWith('.jsonl'))
        .sort((a, b) => readFileSync(path.join(other, a)).length - readFileSync(path.join(other, b)).length)
        .at(-1);
      const torn = path.join(other, last as string);
      truncateSync(torn, Math.max(0, readFileSync(torn).length - random.int(3_000)));
      const told: string[] = [];
      expect(await exportJournal(pool, { folder: other, signal: never, tell: (line) => told.push(line) })).toBe(true);
      expect(told[0]).toBe('Going on with the export that was interrupted');
      // Where it went on, a section and a block begin; the rows are the same.
      const rows = (text: string) => text.split('\n').filter((line) => line.startsWith('{"row"'));
      expect(content(other).map(([name, text]) => [name, rows(text as string)])).toEqual(
        whole.map(([name, text]) => [name, rows(text as string)]),
      );
      const target = await empty(t);
      expect(
        await importJournal(target, { folder: other, deployment: await nameOf(pool), signal: never, tell: silent }),
      ).toBe(true);
    }
  });

  it('is not gone on with when the journal has moved on', async (t) => {
    const url = await loadGoldenUp(t);
    const pool = poolOf(t, url, 'office');
    const folder = path.join(await temporaryFolder(t), 'archive');
    expect(await exportJournal(pool, { folder, signal: signalAfter(3), tell: silent })).toBe(false);
    await pool.query('update shard set chunk = chunk + 1 where shard = 1');
    await expect(exportJournal(pool, { folder, signal: never, tell: silent })).rejects.toMatchObject({
      code: 'OPERATION_REFUSED',
      message: expect.stringContaining('has moved on'),
    });
  });

  it('is not taken for a whole one', async (t) => {
    const pool = poolOf(t, source, 'office');
    const folder = path.join(await temporaryFolder(t), 'archive');
    await exportJournal(pool, { folder, signal: signalAfter(3), tell: silent });
    const asked = { folder, deployment: await nameOf(pool), signal: never, tell: silent };
    await expect(importJournal(await empty(t), asked)).rejects.toMatchObject({ code: 'OPERATION_REFUSED' });
  });
});

it('an export goes into no folder that has something else in it', async (t) => {
  const { folder, pool } = await exported(t);
  await expect(exportJournal(pool, { folder, signal: never, tell: silent })).rejects.toThrow('finished export');
  const other = await temporaryFolder(t);
  writeFileSync(path.join(other, 'mine.txt'), 'x');
  await expect(exportJournal(pool, { folder: other, signal: never, tell: silent })).rejects.toThrow('not empty');
  expect(readdirSync(other)).toEqual(['mine.txt']);
});

describe('an import', () => {
  it('that was interrupted goes on, and nobody can start on the half of it', async (t) => {
    const { folder, pool, name } = await exported(t);
    const target = await empty(t);
    const go = (signal: AbortSignal) => importJournal(target, { folder, deployment: name, signal, tell: silent });
    for (const looks of [2, 30, 34, 38]) expect(await go(signalAfter(looks))).toBe(false);
    await expect(claimDeployment(target, name, 3)).rejects.toMatchObject({ code: 'JOURNAL_FOREIGN' });
    expect(await go(never)).toBe(true);
    const tables = await tablesOf(pool);
    expect(await rowsOf(target, tables)).toEqual(await rowsOf(pool, tables));
    await expect(go(never)).rejects.toMatchObject({
      code: 'OPERATION_REFUSED',
      message: expect.stringContaining('a journal already'),
    });
  });

  it('is refused for another deployment, and into a journal of one, or with rows', async (t) => {
    const { folder, name } = await exported(t);
    const target = await empty(t);
    const go = (deployment: string) => importJournal(target, { folder, deployment, signal: never, tell: silent });
    await expect(go('another')).rejects.toMatchObject({ code: 'JOURNAL_FOREIGN' });
    await target.query(
      "insert into snapshot (generation, entity_type, entity_id, seq, type_url, payload) values (1, 't', 'e', 1, '', '')",
    );
    await expect(go(name)).rejects.toThrow('has rows in its table snapshot');
    await target.query('delete from snapshot');
    await claimDeployment(target, 'another', 3);
    await expect(go(name)).rejects.toMatchObject({ code: 'JOURNAL_FOREIGN' });
  });

  it('is refused wherever a byte is not as it was written, and writes nothing then', async (t) => {
    const { folder, name } = await exported(t);
    const target = await empty(t);
    const random = createRandom(6);
    const damaged = async (what: string, harm: (copy: string) => void): Promise<void> => {
      const copy = path.join(await temporaryFolder(t), 'copy');
      mkdirSync(copy);
      cpSync(folder, copy, { recursive: true });
      harm(copy);
      const failure = await importJournal(target, { folder: copy, deployment: name, signal: never, tell: silent }).then(
        () => undefined,
        (error: unknown) => error as Error,
      );
      expect(failure, what).toMatchObject({
        code: 'ARCHIVE_DAMAGED',
        message: expect.stringMatching(/^\S+\.json\S* is damaged at byte \d+: /),
      });
    };
    const names = [...filesOf(folder).keys()];
    for (let round = 0; round < 40; round++) {
      const one = random.pick(names);
      await damaged(one, (copy) => {
        const bytes = readFileSync(path.join(copy, one));
        const at = random.int(bytes.length);
        bytes[at] = ((bytes[at] as number) + 1 + random.int(255)) % 256;
        writeFileSync(path.join(copy, one), bytes);
      });
    }
    const ledgers = names.find((one) => one.includes('ledgers')) as string;
    const rewrite = (change: (lines: string[]) => string[]) => (copy: string) => {
      const lines = readFileSync(path.join(copy, ledgers), 'utf8').split('\n');
      writeFileSync(path.join(copy, ledgers), change(lines).join('\n'));
    };
    await damaged('cut short', (copy) => truncateSync(path.join(copy, ledgers), 500));
    await damaged('a file that is missing', (copy) => {
      mkdirSync(path.join(copy, 'away'));
      cpSync(path.join(copy, ledgers), path.join(copy, 'away', ledgers));
      writeFileSync(path.join(copy, ledgers), '');
    });
    await damaged(
      'a row that is missing',
      rewrite((lines) => lines.filter((_, i) => i !== 3)),
    );
    await damaged(
      'two rows that have changed places',
      rewrite(([a, b, c, d, ...rest]) => [a, b, d, c, ...rest] as string[]),
    );
    await damaged('another file in its place', (copy) =>
      cpSync(path.join(copy, 'journal.jsonl'), path.join(copy, ledgers)),
    );
    expect((await target.query('select * from deployment')).rows).toEqual([]);
    expect(await importJournal(target, { folder, deployment: name, signal: never, tell: silent })).toBe(true);
  });
});
