import pg from 'pg';
import { inject } from 'vitest';
import { judge } from '../../src/commands/verify.ts';
import type { Assumed } from '../../src/config/load.ts';
import { createDoorClient, type DoorClient } from '../support/door-client.ts';
import { createDatabase } from '../support/postgres.ts';
import type { Scope } from '../support/scope.ts';
import { deploymentName } from '../support/start-runtime.ts';
import { configOf, faultsOf } from '../verify/office.ts';
import { TALLY, TALLY_DESCRIPTOR, type TallyFunction } from './tally.ts';

/** What all processes of one deployment of the function have in common. */
export async function settings(t: Scope, fn: TallyFunction): Promise<Assumed> {
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

/** A client of the function at the door `at`. */
export function clientOf(t: Scope, at: string): Promise<DoorClient> {
  return createDoorClient(t, { at, descriptor: TALLY_DESCRIPTOR });
}

/** One command; answers the counter. */
export async function ask(client: DoorClient, method: string, id: string, amount = 0): Promise<number> {
  const { output } = await client.call(`${TALLY}/${method}`, { id, amount });
  return (output as { value?: number }).value ?? 0;
}

/** What the journal has. */
export async function query<Row extends pg.QueryResultRow>(config: Assumed, sql: string): Promise<Row[]> {
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

/** What `stateferry verify` finds. */
export async function faults(config: Assumed): Promise<string[]> {
  const report = await judge(
    configOf(config),
    { sample: 100, probes: [], shared: [] },
    { err: { write: () => undefined }, signal: new AbortController().signal },
  );
  return faultsOf(report);
}
