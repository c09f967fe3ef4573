import { describe, expect, inject, it } from 'vitest';
import { freePorts } from '../../src/local/ports.ts';
import { createDoorClient, type DoorClient } from '../support/door-client.ts';
import type { Point } from '../support/engine-points.ts';
import { compileEngine, type EngineProcess, startEngine } from '../support/engine-process.ts';
import { startFunction } from '../support/function-process.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';

const LEDGER = 'trouble.LedgerService';
const SHARDS = 4;

const file = fileScope();
const program = await compileEngine(file);
const fn = await startFunction(file, { source: 'trouble' });

/** What all processes of one deployment have in common. */
async function settings() {
  return {
    'deployment.name': deploymentName(file),
    'deployment.shards': SHARDS,
    'postgres.url': await createDatabase(file),
    'kafka.brokers': inject('brokers'),
    'kafka.fetchMaxWaitMs': 20,
    'kafka.sessionTimeoutMs': 3_000,
    'kafka.heartbeatIntervalMs': 300,
    'engine.takeoverGraceMs': 100,
    'function.url': `http://${fn.url}`,
    'http.port': 0,
    'log.format': 'json',
  } as const;
}

const ownsAll = ({ shards }: { readonly shards: readonly unknown[] }) => shards.length === SHARDS;
let lastId = 0;
const fresh = () => `c${++lastId}`;

async function balances(client: DoorClient, ids: readonly string[]) {
  const answers = await Promise.all(ids.map((id) => client.call(`${LEDGER}/Get`, { id }, { deadlineMs: 30_000 })));
  return answers.map(({ output }) => output);
}

describe('a command and its synchronous effect take effect once when the process that has both is killed', async () => {
  const common = await settings();
  const [port] = (await freePorts(1)) as [number];
  const client = await createDoorClient(file, { at: `127.0.0.1:${port}`, source: 'trouble' });
  const start = async (): Promise<EngineProcess> => {
    const started = await startEngine(file, {
      program,
      config: { ...common, 'doors.enabled': true, 'doors.port': port },
    });
    await started.ready(ownsAll);
    // Its doors open after its shards.
    await eventually('the doors are open', () =>
      client.call(`${LEDGER}/Get`, { id: 'x' }).then(
        () => true,
        () => false,
      ),
    );
    return started;
  };
  let engine = await start();

  const points: readonly Point[] = [
    'arrived',
    'answered',
    'journaling',
    'journaled',
    'sent',
    'commit-sent',
    'committed',
  ];
  it.each(points)('%s', async (point) => {
    const [id, other] = [fresh(), fresh()];
    await engine.arm({ point, nth: 1, signal: 'SIGKILL' });
    const call = client.call(`${LEDGER}/AddWithEffects`, { id, amount: 1, to: [other], synchronous: true });
    const told = call.then(
      () => 'answered',
      () => 'unknown',
    );
    expect(await engine.exited).toBe('SIGKILL');
    expect(await told).toBe('unknown');
    engine = await start();
    // The command is in the log; the effect follows it.
    const once = { balance: 1, changes: 1 };
    await eventually('both have taken effect', async () => {
      const found = await balances(client, [id, other]);
      return found.every((ledger) => (ledger as typeof once).changes >= 1);
    });
    expect(await balances(client, [id, other])).toMatchObject([once, once]);
  });
});

describe('a caller at the door of one process', () => {
  it('gets its answers when the process that owns the entities is killed, and each command took effect once', async (t) => {
    const common = await settings();
    const doomed = await startEngine(t, { program, config: { ...common, 'doors.enabled': true, 'doors.port': 0 } });
    await doomed.ready(ownsAll);
    const runtime = startRuntime(t, { ...common, 'doors.enabled': true, 'doors.port': 0 });
    const client = await createDoorClient(t, { at: await runtime.doors(), source: 'trouble' });
    await doomed.ready(({ shards }) => shards.length < SHARDS);
    await runtime.ready();
    await doomed.arm({ point: 'decided', nth: 3, signal: 'SIGKILL' });
    const ids = Array.from({ length: 24 }, fresh);
    const answers = await Promise.all(
      ids.map((id) => client.call(`${LEDGER}/Add`, { id, amount: 1 }, { deadlineMs: 60_000 })),
    );
    expect(await doomed.exited).toBe('SIGKILL');
    expect(answers.map(({ output }) => output)).toMatchObject(ids.map((id) => ({ id, balance: 1, changes: 1 })));
    expect(await balances(client, ids)).toMatchObject(ids.map(() => ({ balance: 1, changes: 1 })));
  });
});
