import pg from 'pg';
import { describe, expect, inject, it } from 'vitest';
import { judge } from '../../src/commands/verify.ts';
import type { Assumed } from '../../src/config/load.ts';
import { createDoorClient, type DoorClient } from '../support/door-client.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';
import { configOf, faultsOf } from '../verify/office.ts';
import { DIALECTS, startTally, TALLY, TALLY_DESCRIPTOR, type TallyFunction } from './tally.ts';

const file = fileScope();

async function settings(t: Scope, fn: TallyFunction): Promise<Assumed> {
  return {
    'deployment.name': deploymentName(t),
    'deployment.shards': 2,
    'kafka.brokers': inject('brokers'),
    'postgres.url': await createDatabase(t),
    'function.url': fn.url,
    'doors.enabled': true,
    'doors.port': 0,
    'http.port': 0,
    'log.format': 'json',
  };
}

async function clientOf(t: Scope, runtime: ReturnType<typeof startRuntime>): Promise<DoorClient> {
  return createDoorClient(t, { at: await runtime.doors(), descriptor: TALLY_DESCRIPTOR });
}

async function ask(client: DoorClient, method: string, id: string, amount = 0): Promise<number> {
  const { output } = await client.call(`${TALLY}/${method}`, { id, amount });
  return (output as { value?: number }).value ?? 0;
}

async function query<Row extends pg.QueryResultRow>(config: Assumed, sql: string): Promise<Row[]> {
  const client = new pg.Client({
    connectionString: String(config['postgres.url']),
    options: '-c search_path=stateferry',
  });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function faults(config: Assumed): Promise<string[]> {
  const report = await judge(
    configOf(config),
    { sample: 100, probes: [], shared: [] },
    { err: { write: () => undefined }, signal: new AbortController().signal },
  );
  return faultsOf(report);
}

describe.each(DIALECTS)('a replicated entity of %s', async (dialect) => {
  const fn = await startTally(file, dialect);
  const config = await settings(file, fn);

  it('is kept by the journal through passivation, restarts and a deletion, exactly', async (t) => {
    const first = startRuntime(t, config);
    const client = await clientOf(t, first);
    expect(await ask(client, 'Get', 'a')).toBe(0);
    for (let n = 1; n <= 205; n++) expect(await ask(client, 'Add', 'a', 1)).toBe(n);
    expect(await ask(client, 'Add', 'a', -5)).toBe(200);
    await expect(ask(client, 'AddThenFail', 'a', 9)).rejects.toMatchObject({ details: 'as told' });
    // What a failure leaves at the function is not known, so a stream is opened anew.
    expect(await ask(client, 'Get', 'a')).toBe(200);
    expect(await query(config, 'select count(*)::int as events from event')).toEqual([{ events: 206 }]);
    expect(await query(config, 'select seq::int, type_url from snapshot')).toEqual([
      { seq: 200, type_url: 'type.googleapis.com/stateferry.internal.ReplicatedDelta' },
    ]);
    await first.stop();

    const second = startRuntime(t, config);
    const again = await clientOf(t, second);
    expect(await ask(again, 'Get', 'a')).toBe(200);
    expect(await ask(again, 'Add', 'b', 7)).toBe(7);
    await ask(again, 'Delete', 'a');
    expect(fn.tally('a').entity.isOver).toBe(true);
    expect(await ask(again, 'Get', 'a')).toBe(0);
    expect(fn.tally('a').exists).toBe(false);
    expect(await ask(again, 'Add', 'a', 3)).toBe(3);
    await second.stop();

    const third = startRuntime(t, config);
    const last = await clientOf(t, third);
    expect([await ask(last, 'Get', 'a'), await ask(last, 'Get', 'b')]).toEqual([3, 7]);
    expect(await faults(config)).toEqual([]);
  });
});
