import { setTimeout as delay } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import type pg from 'pg';
import { aborted } from './abort.ts';
import { type Config, internalTopics } from './config/config.ts';
import { planDeployment } from './deployment-plan.ts';
import { Engine, type EngineOptions } from './engine/engine.ts';
import { createFailures } from './engine/failures.ts';
import { type EnginePlace, engineParts } from './engine-parts.ts';
import { StateferryError } from './errors.ts';
import { linkFunction } from './function-link.ts';
import type { Discovered } from './functions/discovery.ts';
import { restOf } from './history/at-rest.ts';
import { History } from './history/history.ts';
import { createHistoryConsumer } from './history/history-consumer.ts';
import { createPace } from './history/pace.ts';
import { createReprocessIntake } from './history/reprocess-intake.ts';
import { lastChunkWithin, positionsAfter, readChunks, readReach } from './journal/chunks.ts';
import { noteFunctionVersion } from './journal/function-versions.ts';
import { findGeneration, type Generation, setGenerationState, workOnGeneration } from './journal/generations.ts';
import { createPool } from './journal/pool.ts';
import { connectKafka } from './kafka-connection.ts';
import type { Positions } from './model/record.ts';
import { readFunctionFiles } from './named-files.ts';
import type { Log } from './observe/log.ts';
import { createSignals } from './observe/signals.ts';
import { persist } from './persist.ts';
import { postgresServer } from './postgres-connection.ts';
import { descriptorSetOf } from './protocol/descriptors.ts';
import { openSchemas, planSchemas } from './schemas.ts';
import { registerCodecs } from './topics/codecs.ts';
import { partitionCounts } from './topics/ensure.ts';
import { onlyTo } from './topics/held-back.ts';
import { openPartitionLogs, type PartitionLogs } from './topics/partition-log.ts';
import { ensureTopics, type TopicPlan } from './topics/plan.ts';

/** How often it is looked how far it is, and what has been asked for meanwhile. */
const LOOK_MS = 250;
/** Chunks of a generation in the making are never deleted from its outbox: it is all that there is of its outputs. */
const KEEP_ALL = Number.MAX_SAFE_INTEGER;

/** How far a generation is. */
export interface ReprocessProgress {
  /** Input records of history that it has applied, its shards together. */
  readonly applied: number;
  /** Those that its source had applied when it was looked. */
  readonly total: number;
}

export interface ReprocessOptions {
  readonly config: Config;
  readonly name: string;
  /** Go on with what the source applies, when all that there was has been given. */
  readonly follow: boolean;
  readonly log: Log;
  readonly onProgress?: (progress: ReprocessProgress) => void;
}

/** complete: all of history that there was at the start is applied. paused: somebody asked for that. */
export type ReprocessOutcome = 'complete' | 'paused' | 'stopped';

/** The command topic of a generation: what its entities send each other. */
export function generationCommands(deployment: string, name: string): string {
  return `${deployment}.${name}-commands`;
}

/** The consumer group of a generation while it is made. */
export function generationGroup(deployment: string, name: string): string {
  return `${deployment}.${name}`;
}

/**
 * One process that makes a generation: gives the function the history of the source, journals what comes of it, and
 * publishes nothing. Others may do the same for the same generation; each makes some of the shards. What was made when one
 * dies stays made, and another goes on from there.
 * @throws StateferryError what the parts throw; OPERATION_REFUSED for a generation that is no longer in the making.
 */
export async function reprocess(options: ReprocessOptions, signal: AbortSignal): Promise<ReprocessOutcome> {
  const { config, log } = options;
  registerCodecs();
  const pool = createPool({
    ...postgresServer(config),
    schema: config.postgres.schema,
    size: config.postgres.poolSize,
    statementTimeoutMs: config.postgres.statementTimeoutMs,
    applicationName: `stateferry ${config.deployment.name} ${options.name}`,
    onIdleError: () => undefined,
  });
  const newKafka = (onConnectionLost?: () => void) => connectKafka(config, log, onConnectionLost);
  const kafka = newKafka();
  const admin = kafka.admin();
  const closing: (() => Promise<unknown>)[] = [() => pool.end()];
  try {
    const generation = await workOnGeneration(pool, options.name, options);
    await admin.connect();
    closing.push(() => admin.disconnect());
    const changed = new AbortController();
    const link = linkFunction(configOf(config, generation), {
      devMode: false,
      tls: readFunctionFiles(config, log),
      shared: true,
      onAway: (reason) => log.warn({ reason }, 'Waiting for the function'),
      onBack(found) {
        if (found.spec.digest !== discovered.spec.digest) changed.abort();
        else engine.functionBack();
      },
      onRefused: () => changed.abort(),
    });
    closing.push(() => link.close());
    const discovered: Discovered = await link.connect(signal);
    await noteFunctionVersion(
      pool,
      discovered.spec,
      descriptorSetOf(discovered.descriptors),
      discovered.descriptors.registry,
    );

    const sourceCommands = internalTopics(config).commands;
    const { routes: routePlan, topics } = planDeployment(configOf(config, generation), discovered.spec);
    const commands = generationCommands(config.deployment.name, generation.name);
    const plan: TopicPlan = { ...topics, internal: { ...topics.internal, commands } };
    const found = await ensureTopics(admin, plan, {
      createOutputs: false,
      ownPartitions: config.deployment.shards,
      replicationFactor: config.kafka.replicationFactor,
    });
    const reach = await readReach(pool, generation.source);
    const applied = [...new Set(reach.flatMap((shard) => Object.keys(shard.applied)))];
    const existing = await partitionCounts(admin, applied);
    const historyTopics = applied.filter((topic) => existing.has(topic));
    const logs = await openPartitionLogs(kafka, [...historyTopics, commands]);
    closing.push(() => logs.close());

    const place: EnginePlace = {
      ...found,
      generation: generation.generation,
      groupId: generationGroup(config.deployment.name, generation.name),
      consumed: [commands],
      internal: plan.internal,
      sourceCommands,
    };
    const schemas = await openSchemas(config, planSchemas(routePlan, discovered.descriptors), {
      log,
      persist: (attempt) => persist({ log, signal }, 'the schema registry', 'REGISTRY_UNAVAILABLE', attempt),
      signal,
    });
    const parts = engineParts({
      config,
      log,
      kafka,
      newKafka,
      admin,
      pool,
      link,
      function: discovered,
      routePlan,
      place,
      signals: createSignals().signals,
      schemas,
      outboxRetention: KEEP_ALL,
    });
    const history = historyOf(pool, generation, logs, new Map(reach.map(({ shard, start }) => [shard, start])));
    let fail: (error: StateferryError) => void = () => undefined;
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    const taken = new Set([commands, sourceCommands, ...routePlan.inputs.map(({ topic }) => topic)]);
    const made: EngineOptions = {
      ...parts,
      keepInputs: false,
      // What would wait for an operator is told by the difference that it makes.
      failures: createFailures([]),
      intake: createReprocessIntake({
        name: generation.name,
        mode: generation.mode,
        intake: parts.intake,
        wasParked: (record) => history.wasParked(record),
        sourceCommands,
        taken,
        components: generation.options.components && new Set(generation.options.components),
      }),
      createTransactor(id, onLost) {
        // An isolated generation's derived commands are told by what they are, and do nothing.
        return onlyTo(generation.mode === 'cascade' ? commands : '', parts.createTransactor(id, onLost));
      },
      createConsumer: (handlers) =>
        createHistoryConsumer({
          group: parts.createConsumer(handlers),
          commandTopic: commands,
          read: (at, reading) => history.read(at, reading),
          pace: createPace(generation.options.perSecond, signal),
          onRecords: handlers.onRecords,
          onCrash: handlers.onCrash,
          onFailed: fail,
        }),
    };
    const engine = new Engine(made);
    engine.start();
    try {
      return await Promise.race([
        engine.failure,
        failed,
        aborted(signal).then((): ReprocessOutcome => 'stopped'),
        aborted(changed.signal).then((): never => {
          throw new StateferryError(
            'FUNCTION_SPEC',
            `the function at ${generation.functionUrl ?? config.function.url} has become another version while generation ` +
              `"${generation.name}" was made: discard it, and start another one.`,
          );
        }),
        watch(
          { onProgress: options.onProgress, generation, pool, admin, logs, place, topics: historyTopics },
          signal,
        ).catch((error: unknown) => {
          if (signal.aborted) return 'stopped' as const;
          throw error;
        }),
      ]);
    } finally {
      await engine.stop();
    }
  } finally {
    for (const close of closing.reverse()) await close().catch(() => undefined);
  }
}

function configOf(config: Config, { functionUrl }: Generation): Config {
  return functionUrl === undefined ? config : { ...config, function: { ...config.function, url: functionUrl } };
}

/** The input of a generation's source, up to the goal. `starts`: where each of its shards began. */
export function historyOf(
  pool: pg.Pool,
  { source: generation, goal }: Pick<Generation, 'source' | 'goal'>,
  logs: PartitionLogs,
  starts: ReadonlyMap<number, Positions>,
): History {
  return new History({
    logs,
    until: (shard) => goal?.get(shard),
    store: {
      chunks: (shard, after, limit) => readChunks(pool, { generation, shard, after, limit }),
      lastWithin: (shard, positions) => lastChunkWithin(pool, { generation, shard, positions }),
      positionsAfter: async (shard, chunk) => ({
        ...starts.get(shard),
        ...(await positionsAfter(pool, { generation, shard, chunk })),
      }),
    },
  });
}

interface Watched {
  readonly onProgress: ReprocessOptions['onProgress'];
  readonly generation: Generation;
  readonly pool: pg.Pool;
  readonly admin: Admin;
  readonly logs: PartitionLogs;
  readonly place: EnginePlace;
  /** Of history. */
  readonly topics: readonly string[];
}

/** Looks how far the generation is until it is complete, or somebody wants it otherwise. */
async function watch(watched: Watched, signal: AbortSignal): Promise<ReprocessOutcome> {
  const { generation, pool, onProgress } = watched;
  const goal = await goalOf(pool, generation);
  const total = (reach: readonly { readonly start: Positions; readonly applied: Positions }[]) =>
    reach.reduce((sum, { start, applied }) => sum + distance(start, applied, watched.topics), 0);
  for (;;) {
    const { state } = await findGeneration(pool, generation.name);
    if (state === 'paused' || state === 'complete') return state;
    if (state !== 'running') {
      throw new StateferryError(
        'OPERATION_REFUSED',
        `generation "${generation.name}" is ${state} now: it is not made any more.`,
      );
    }
    const reach = await readReach(pool, generation.generation);
    const starts = new Map(reach.map(({ shard, start }) => [shard, start]));
    const towards = (goal ?? (await readReach(pool, generation.source))).map(({ shard, applied }) => ({
      start: starts.get(shard) ?? {},
      applied,
    }));
    onProgress?.({ applied: total(reach), total: total(towards) });
    if (goal !== undefined && (await isComplete(watched, goal, reach, signal))) {
      await setGenerationState(pool, generation.generation, ['running'], 'complete');
      return 'complete';
    }
    await delay(LOOK_MS, undefined, { signal });
  }
}

/** Where the source's shards stood after the last chunk that is given; undefined: all is given that comes. */
async function goalOf(
  pool: pg.Pool,
  { source, goal }: Generation,
): Promise<{ readonly shard: number; readonly applied: Positions }[] | undefined> {
  if (goal === undefined) return undefined;
  return Promise.all(
    [...goal].map(async ([shard, chunk]) => ({
      shard,
      applied: (await positionsAfter(pool, { generation: source, shard, chunk })) ?? {},
    })),
  );
}

function distance(from: Positions, to: Positions, topics: readonly string[]): number {
  return topics.reduce((sum, topic) => sum + Number((to[topic] ?? 0n) - (from[topic] ?? to[topic] ?? 0n)), 0);
}

/**
 * Every shard has applied what its source had, and of what followed from that nothing is on its way: it is committed,
 * and the generation's own command topic holds nothing that is not applied.
 */
async function isComplete(
  { generation, pool, admin, logs, place, topics }: Watched,
  goal: readonly { readonly shard: number; readonly applied: Positions }[],
  reach: readonly { readonly shard: number; readonly applied: Positions }[],
  signal: AbortSignal,
): Promise<boolean> {
  const made = new Map(reach.map((shard) => [shard.shard, shard]));
  const isBehind = ({ shard, applied }: { readonly shard: number; readonly applied: Positions }) =>
    topics.some((topic) => (applied[topic] ?? 0n) > (made.get(shard)?.applied[topic] ?? 0n));
  if (goal.some(isBehind)) return false;
  if (generation.mode === 'isolated') return true;
  const { generation: number, groupId, internal } = place;
  const at = { pool, admin, logs, generation: number, groupId, commands: internal.commands, signal };
  return (await restOf(at)) !== undefined;
}
