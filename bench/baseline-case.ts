import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { JobVariables } from './baselines/job.ts';
import type { Ground } from './ground.ts';
import type { BenchOptions } from './options.ts';
import { processMeter } from './proc.ts';
import { measureRun, type Run } from './run.ts';
import { openScene } from './scene.ts';

const READY_WITHIN_MS = 30_000;
const POLL_MS = 50;

/** Programs by hand that do (a part of) the same job, each a file in baselines/. */
export type Baseline = 'per-message' | 'batched';

export interface BaselineResult extends Run {
  readonly problems: readonly string[];
}

export async function measureBaseline(ground: Ground, options: BenchOptions, name: Baseline): Promise<BaselineResult> {
  const commands = name === 'per-message' ? options.baselineCommands : options.commands;
  const { partitions } = options;
  const scene = await openScene(ground, { name, entities: Math.min(options.entities, commands), partitions });
  const variables: JobVariables = {
    BROKERS: ground.brokers.join(','),
    DATABASE_URL: ground.databaseUrl,
    INPUT: scene.input,
    OUTPUT: scene.output,
    GROUP: scene.id,
    PARTITIONS: String(partitions),
  };
  const program = await ground.start(
    name,
    [fileURLToPath(new URL(`baselines/${name}.js`, import.meta.url))],
    variables,
  );

  const admin = ground.kafka.admin();
  await admin.connect();
  const giveUp = performance.now() + READY_WITHIN_MS;
  for (;;) {
    const { groups } = await admin.describeGroups([scene.id]);
    if (groups[0]?.state === 'Stable') break;
    if (performance.now() > giveUp) throw await program.fault('has not joined its group');
    await Promise.race([delay(POLL_MS), program.failed]);
  }
  await admin.disconnect();

  const meters = {
    program: processMeter(program.pid),
    Postgres: ground.meters.postgres,
    Kafka: ground.meters.kafka,
  };
  const run = await measureRun(scene, commands, { meters, failed: program.failed });
  await program.stop('SIGKILL');
  const problems = await scene.verdict();
  await scene.close();
  await dropTable(ground.databaseUrl, scene.id);
  return { ...run, problems };
}

async function dropTable(databaseUrl: string, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(`drop table if exists ${pg.escapeIdentifier(name)}`);
  await client.end();
}
