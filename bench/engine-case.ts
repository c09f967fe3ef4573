import pg from 'pg';
import { ENTITY_TYPE } from './counter.ts';
import { startEngine } from './engine-process.ts';
import { startCounter } from './functions.ts';
import type { Ground } from './ground.ts';
import { type Latencies, latencies } from './latencies.ts';
import { type Levels, sampleMemory } from './memory.ts';
import type { BenchOptions, FunctionName } from './options.ts';
import { processMeter, residentBytes } from './proc.ts';
import { type Meters, measureRun, type Run } from './run.ts';
import { openScene, type Scene } from './scene.ts';

/** Passes over all entities that bring a fresh engine up to temperature where no cold run was asked for. */
const WARM_UP_PASSES = 2;
const PACED_WARM_UP_S = 3;

export type Paced = Latencies & { readonly rate: number };

/** What was measured of the engine with one function; a part that was not asked for is absent. */
export interface EngineResult {
  /** From the start of the process until it owned every shard. */
  readonly readyMs: number;
  /** No entity active at the start, and a process that has done nothing yet. */
  readonly cold?: Run;
  /** Every entity active at the start. */
  readonly warm?: Run & { readonly activeEntities: number; readonly residentBytes: number };
  readonly paced?: Paced;
  readonly long?: Run & { readonly memory: Levels };
  readonly problems: readonly string[];
}

/** All parts that were asked for, one after the other on one engine. `say`: which part is being measured. */
export async function measureEngine(
  ground: Ground,
  options: BenchOptions,
  name: FunctionName,
  say: (what: string) => void,
): Promise<EngineResult> {
  const { commands, entities, partitions, parts } = options;
  const scene = await openScene(ground, { name, entities, partitions });
  const schema = scene.id.replaceAll('-', '_');
  const fn = await startCounter(ground, name);
  const engine = await startEngine(ground, {
    deployment: scene.id,
    label: name,
    schema,
    input: scene.input,
    output: scene.output,
    shards: partitions,
    maxStreams: Math.max(entities, 10_000),
    functionUrl: fn.url,
    settings: options.settings,
    nodeFlags: options.nodeFlags,
    profile: options.profile,
  });
  const failed = Promise.race([engine.failed, fn.failed]);
  failed.catch(() => undefined);
  const meters: Meters = {
    engine: processMeter(engine.pid),
    function: processMeter(fn.pid),
    Postgres: ground.meters.postgres,
    Kafka: ground.meters.kafka,
  };
  const measured = <T>(part: string, work: () => Promise<T>): Promise<T> => {
    say(`${name}, ${part}`);
    return engine.profiled(part, work);
  };
  const run = (part: string, count: number): Promise<Run> =>
    measured(part, () => measureRun(scene, count, { meters, failed }));
  const result: { -readonly [K in keyof EngineResult]: EngineResult[K] } = { readyMs: engine.readyMs, problems: [] };

  if (parts.has('cold')) result.cold = await run('cold', commands);
  else await measureRun(scene, WARM_UP_PASSES * entities, { meters, failed });
  if (parts.has('warm')) {
    const warm = await run('warm', commands);
    result.warm = {
      ...warm,
      activeEntities: await engine.activeEntities(),
      residentBytes: residentBytes(engine.pid),
    };
  }
  if (parts.has('paced')) result.paced = await measured('paced', () => measurePaced(scene, options, failed));
  if (parts.has('long')) {
    const memory = sampleMemory(engine.pid, scene.reader);
    const long = await run('long', commands * options.longFactor);
    result.long = { ...long, memory: memory.stop() };
  }

  await engine.stop('SIGTERM');
  await fn.stop('SIGKILL');
  result.problems = [...(await scene.verdict()), ...(await checkJournal(ground, schema, scene))];
  await scene.close();
  return result;
}

/** From just before a command is sent until a read_committed consumer has its output. */
async function measurePaced(scene: Scene, options: BenchOptions, failed: Promise<never>): Promise<Paced> {
  const { publisher, reader } = scene;
  const { rate, pacedSeconds } = options;
  const first = publisher.published;
  const warm = first + rate * PACED_WARM_UP_S;
  const total = rate * (PACED_WARM_UP_S + pacedSeconds);
  const sent = new Float64Array(total);
  const took = new Float64Array(rate * pacedSeconds);
  const before = reader.outputs;
  reader.onOutput = (k, now) => {
    if (k >= warm) took[k - warm] = now - (sent[k - first] as number);
  };
  await publisher.pace(rate, PACED_WARM_UP_S + pacedSeconds, (k, at) => {
    sent[k - first] = at;
  });
  await Promise.race([reader.until(before + total), failed]);
  reader.onOutput = undefined;
  return { ...latencies(took), rate };
}

/** One event for each command, numbered from 1 without a gap, and nothing left to emit. */
export async function checkJournal(ground: Ground, schema: string, { publisher }: Scene): Promise<string[]> {
  const client = new pg.Client({ connectionString: ground.databaseUrl });
  await client.connect();
  try {
    const name = pg.escapeIdentifier(schema);
    const { rows } = await client.query<{ events: number; gaps: number }>(
      `select coalesce(sum(events), 0)::int as events, count(*) filter (where events <> last)::int as gaps
       from (select count(*) as events, max(seq) as last from ${name}.event where entity_type = $1 group by entity_id) e`,
      [ENTITY_TYPE],
    );
    await client.query(`drop schema ${name} cascade`);
    const { events = 0, gaps = 0 } = rows[0] ?? {};
    const problems: string[] = [];
    if (events !== publisher.published) problems.push(`${publisher.published} commands gave ${events} events`);
    if (gaps > 0) problems.push(`the events of ${gaps} entities have gaps`);
    return problems;
  } finally {
    await client.end();
  }
}
