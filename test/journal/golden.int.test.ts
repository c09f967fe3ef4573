import { existsSync } from 'node:fs';
import type pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeInputs } from '../../src/codec/inputs.ts';
import { decodeOutbox } from '../../src/codec/outbox.ts';
import { decodeReplicatedDelta } from '../../src/codec/replicated-record.ts';
import { noteFunctionVersion, readFunctionVersions } from '../../src/journal/function-versions.ts';
import { loadHeads, loadTails, loadValues } from '../../src/journal/load.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { readOutbox } from '../../src/journal/outbox.ts';
import { createPool } from '../../src/journal/pool.ts';
import type { EntityKey } from '../../src/model/chunk.ts';
import type { ReplicatedDelta } from '../../src/model/replicated.ts';
import { readDescriptors } from '../../src/protocol/descriptors.ts';
import { checkSequences } from '../../src/verify/check-sequences.ts';
import { viewJournal } from '../../src/verify/journal.ts';
import { GOLDEN_SCHEMAS, loadGolden, rowsOf, tablesOf } from '../support/golden.ts';
import { createJournal } from '../support/journal.ts';
import { fileScope } from '../support/scope.ts';
import { goldenFile, migrations } from './golden/migrations.ts';

/*
 * Journals as earlier versions wrote them (golden/make.ts): brought up to this version, they have all that they had, and
 * everything that reads a journal reads them.
 */
const steps = { begin: () => undefined, count: () => undefined, say: () => undefined };
const ALL = migrations().map(({ name }) => name);

it('there is a golden journal of every version of the schema', () => {
  const missing = ALL.filter((name) => !existsSync(goldenFile(name)));
  expect(missing, 'make them: golden/make.ts says how').toEqual([]);
});

/** Columns, indexes, views and functions, as text; the schema's own name is left out. */
async function schemaOf(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ name: string; line: string }>(
    `select current_schema as name, format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default) as line
     from information_schema.columns where table_schema = current_schema
     union all select current_schema, indexdef from pg_indexes where schemaname = current_schema
     union all select current_schema, pg_get_viewdef(oid) from pg_class where relkind = 'v' and relnamespace = current_schema::regnamespace
     union all select current_schema, pg_get_functiondef(oid) from pg_proc where pronamespace = current_schema::regnamespace`,
  );
  return rows.map(({ name, line }) => line.replaceAll(`${name}.`, '').replaceAll(`'${name}'`, '')).sort();
}

describe.each(ALL)('a journal as of %s', (name) => {
  const t = fileScope();
  const pools = {} as Record<(typeof GOLDEN_SCHEMAS)[number], pg.Pool>;
  const before = {} as Record<(typeof GOLDEN_SCHEMAS)[number], ReadonlyMap<string, string[]>>;
  const isFrom = (migration: string): boolean => name >= migration;

  const columns = {} as Record<(typeof GOLDEN_SCHEMAS)[number], Map<string, string[]>>;

  beforeAll(async () => {
    const url = await loadGolden(t, name);
    for (const schema of GOLDEN_SCHEMAS) {
      const pool = createPool({
        url,
        schema,
        size: 2,
        statementTimeoutMs: 20_000,
        applicationName: 'test',
        onIdleError: () => undefined,
      });
      t.onTestFinished(() => pool.end());
      pools[schema] = pool;
      columns[schema] = await tablesOf(pool);
      before[schema] = await rowsOf(pool, columns[schema]);
      await migrate({ url, schema });
    }
  });

  it.each(GOLDEN_SCHEMAS)('%s: has every row of before, and the whole schema', async (schema) => {
    const pool = pools[schema];
    const after = await rowsOf(pool, columns[schema]);
    for (const [table, rows] of before[schema]) {
      // A migration may add rows of its own.
      expect(after.get(table), table).toEqual(expect.arrayContaining(rows));
    }
    expect(before[schema].get('event')?.length).toBeGreaterThan(10);
    const { rows: applied } = await pool.query('select name from migration order by name');
    expect(applied.map((row) => row.name)).toEqual(ALL);
  });

  it.each(GOLDEN_SCHEMAS)('%s: has the schema that a new journal has', async (schema) => {
    expect(await schemaOf(pools[schema])).toEqual(await schemaOf(await createJournal(t)));
  });

  it.each(GOLDEN_SCHEMAS)('%s: holds by the checks of verify', async (schema) => {
    const view = await viewJournal(pools[schema]);
    if (view === undefined) throw new Error('there is no deployment');
    try {
      const shards = new Map((await view.shards()).map((row) => [row.shard, row]));
      const result = await checkSequences(view, {
        shards,
        steps,
      });
      expect(result.findings).toEqual([]);
      expect(result.counts.events).toBe(before[schema].get('event')?.length);
    } finally {
      await view.close();
    }
  });

  it('gives every entity as it was', async () => {
    const pool = pools.office;
    const { rows } = await pool.query<EntityKey & { last: number }>(
      'select entity_type as "entityType", entity_id as "entityId", max(seq) as last from event group by 1, 2',
    );
    const heads = await loadHeads(pool, 1, rows);
    expect(heads.map(({ seq }) => seq)).toEqual(rows.map(({ last }) => last));
    expect(heads.some(({ snapshot }) => snapshot !== undefined)).toBe(true);
    const tails = await loadTails(
      pool,
      1,
      rows.map((key, i) => ({ key, after: 0, through: heads[i]?.seq ?? 0 })),
    );
    expect(tails.map((events) => events.length)).toEqual(rows.map(({ last }) => last));
    const key = (entityId: string): EntityKey => ({ entityType: 'boxes', entityId });
    const [value, nothing] = await loadValues(pool, 1, [key('b1'), key('none')]);
    expect(Buffer.from(value?.payload?.value ?? []).toString()).toContain('t0');
    expect(nothing).toEqual({ revision: 0, payload: undefined });
  });

  it('gives every replicated entity as it was', async () => {
    const key = (entityId: string): EntityKey => ({ entityType: 'tallies', entityId });
    const [a, b] = [key('a'), key('b')];
    const [head] = await loadHeads(pools.tallies, 1, [a]);
    expect(head).toMatchObject({ seq: 101, snapshot: { seq: 100 } });
    const tails = await loadTails(pools.tallies, 1, [
      { key: a, after: 100, through: 101 },
      { key: b, after: 0, through: 1 },
    ]);
    const deltas = tails.map((events) => events.map(({ payload }) => decodeReplicatedDelta(payload)));
    const snapshot = decodeReplicatedDelta(head?.snapshot?.payload as never);
    const change = (list: readonly ReplicatedDelta[]) =>
      list.reduce((sum, delta) => sum + (delta.kind === 'counter' ? delta.change : Number.NaN), 0);
    expect([change([snapshot, ...(deltas[0] ?? [])]), change(deltas[1] ?? [])]).toEqual([101, -3]);
  });

  it.each(GOLDEN_SCHEMAS)('%s: gives its outputs and its inputs as they were', async (schema) => {
    const pool = pools[schema];
    const shards = (await pool.query<{ shard: number }>('select shard from shard order by 1')).rows.map(
      ({ shard }) => shard,
    );
    const outbox = (await Promise.all(shards.map((shard) => readOutbox(pool, 1, shard, 0)))).flat();
    const outputs = outbox.flatMap(({ records }) => decodeOutbox(records));
    expect(outputs.length).toBeGreaterThan(3);
    const { rows: shown } = await pool.query(
      'select topic, partition, key_bytes, value_bytes from outputs order by shard, chunk, ordinal',
    );
    expect(shown).toEqual(
      outputs.map(({ topic, partition, key, value }) => ({
        topic,
        partition,
        key_bytes: key === null ? null : Buffer.from(key),
        value_bytes: value === null ? null : Buffer.from(value),
      })),
    );
    const { rows } = await pool.query<{ records: Buffer; count: number }>(
      'select i.records, c.records as count from input i join chunk c using (generation, shard, chunk) order by shard, chunk',
    );
    const inputs = rows.map((row) => decodeInputs(row.records));
    expect(inputs.map((list) => list.length)).toEqual(rows.map(({ count }) => count));
    expect(inputs.length > 0).toBe(isFrom('0006'));
    const commands = await pool.query<{ offset: number }>(
      'select "offset" from commands order by shard, chunk, ordinal',
    );
    expect(commands.rows.map(({ offset }) => BigInt(offset))).toEqual(inputs.flat().map(({ offset }) => offset));
  });

  it('shows its events in JSON, once the version that wrote them is known', async () => {
    const decoded = async (schema: (typeof GOLDEN_SCHEMAS)[number]) =>
      (
        await pools[schema].query<{ all: number; decoded: number }>(
          'select count(*) as all, count(data) as decoded from events',
        )
      ).rows[0];
    const tallies = await decoded('tallies');
    expect(tallies?.decoded).toBe(tallies?.all);

    const pool = pools.office;
    expect((await decoded('office'))?.decoded).toBe(isFrom('0007') ? (await decoded('office'))?.all : 0);
    // As that version does when it starts.
    for (const version of await readFunctionVersions(pool)) {
      const spec = { ...version, protocolVersion: '', supportLibrary: version.sdk, components: new Map() };
      await noteFunctionVersion(pool, spec, version.descriptors, readDescriptors(version.descriptors).registry);
    }
    const office = await decoded('office');
    expect(office?.decoded).toBe(isFrom('0006') ? office?.all : 0);
  });
});
