import type { Admin, Kafka } from 'kafkajs';
import type pg from 'pg';
import { aborted } from './abort.ts';
import type { Config } from './config/config.ts';
import { planDeployment } from './deployment-plan.ts';
import { Engine, type EngineOptions } from './engine/engine.ts';
import { shardStatuses } from './engine/status.ts';
import { engineParts } from './engine-parts.ts';
import { messageOf, type StateferryError } from './errors.ts';
import { linkFunction } from './function-link.ts';
import type { Discovered } from './functions/discovery.ts';
import type { FunctionLink } from './functions/link.ts';
import { createSwitchableLink, type SwitchableLink } from './functions/switchable-link.ts';
import { claimDeployment, type Deployment, readLiveGeneration } from './journal/deployment.ts';
import { noteFunctionVersion } from './journal/function-versions.ts';
import { keepPruned } from './journal/idempotency.ts';
import { migrate } from './journal/migrate.ts';
import { readOwners } from './journal/owners.ts';
import { createPool } from './journal/pool.ts';
import { kafkaClient } from './kafka-connection.ts';
import { watchLiveGeneration } from './live-generation.ts';
import { readNamedFiles } from './named-files.ts';
import { createHttp } from './observe/http.ts';
import { type Log, scoped } from './observe/log.ts';
import { createMetrics } from './observe/metrics.ts';
import { placeShards, type ShardPlace } from './observe/places.ts';
import { createSignals } from './observe/signals.ts';
import { healthOf, type Status } from './observe/status.ts';
import { createTally, totalsOf } from './observe/tally.ts';
import { persist } from './persist.ts';
import { type DoorLog, openDoors, type ProcessDoors } from './process-doors.ts';
import { descriptorSetOf } from './protocol/descriptors.ts';
import { keepRetained, retentionScopes } from './retention.ts';
import { openSchemas, planSchemas } from './schemas.ts';
import { registerCodecs } from './topics/codecs.ts';
import { DEFAULT_MESSAGE_BYTES } from './topics/limits.ts';
import { assignedMembers } from './topics/members.ts';
import { ensureTopics } from './topics/plan.ts';
import { type TopicWatch, watchTopics } from './topics/watch.ts';

/** Of a journal that is made anew. */
const FIRST_GENERATION = 1;

/** A runtime in this process: the function's link, the engine, and the server for metrics, health and status. */
export interface Runtime {
  /**
   * Waits for Kafka, Postgres and the function, joins the group, and runs until `signal` is aborted; then everything is
   * released and closed. The server for metrics answers from the start.
   * @throws StateferryError when something is wrong that only a person can mend.
   */
  run(signal: AbortSignal): Promise<void>;
  status(): Status;
}

export interface RuntimeOptions {
  readonly config: Config;
  readonly log: Log;
  /** A developer's function may end at once when it is told to (PROTOCOLS 2). */
  readonly devMode: boolean;
  /** Missing output topics are created instead of refused. */
  readonly createTopics: boolean;
  /** Where the server for metrics, health and status listens. */
  readonly onListening?: (address: { host: string; port: number }) => void;
  /** Where the doors are open. */
  readonly onDoors?: (address: { host: string; port: number }) => void;
  /** Missing input topics are created too, with so many partitions where no other input topic sets the number. */
  readonly inputPartitions?: number;
  /** Replaces single parts of each engine before it is made: how tests crash, delay or watch one step. */
  readonly replace?: (parts: EngineOptions) => EngineOptions;
}

/** @throws StateferryError CONFIG_INVALID for files with tokens, keys or certificates that cannot be used. */
export function createRuntime(options: RuntimeOptions): Runtime {
  const { config, log } = options;
  const hub = createSignals();
  const tally = createTally(hub);
  let engine: Engine | undefined;
  let link: SwitchableLink | undefined;
  let discovered: Discovered | undefined;
  let doors: ProcessDoors | undefined;
  const {
    accessOf,
    selfToken,
    doorTls,
    functionTls,
    kafka: kafkaSecurity,
    postgres: server,
    httpToken,
    httpTls,
  } = readNamedFiles(config, log);
  /** Input from outside waits: another generation is about to serve. */
  let held = false;
  let survey = async (): Promise<readonly ShardPlace[]> => [];

  const status = (): Status => ({
    deployment: config.deployment.name,
    processId: engine?.transactionalId ?? '',
    state: engine?.state ?? 'starting',
    function: {
      url: link?.url ?? config.function.url,
      up: link?.isUp() ?? false,
      serviceName: discovered?.spec.serviceName ?? '',
      dialect: discovered?.dialect.name ?? null,
      components: [...(discovered?.spec.components.values() ?? [])].map(({ kind, service, entityType }) => ({
        kind,
        service,
        entityType,
      })),
    },
    doors: config.doors.enabled ? { address: doors?.address() ?? null } : null,
    shards: engine === undefined ? [] : shardStatuses(engine),
    totals: totalsOf(tally),
  });
  const registry = createMetrics({ hub, tally, status, processMetrics: true });
  const http = createHttp({
    config: config.http,
    registry,
    health: () => healthOf(status()),
    status,
    places: () => survey(),
    log,
    token: httpToken,
    tls: httpTls,
  });

  /** One engine for one version of the function; true when the function came back as another one. */
  async function runEngine(parts: Parts, found: Discovered, changed: AbortSignal, signal: AbortSignal): Promise<void> {
    const built = await buildEngine(options, parts, found, hub.signals, signal);
    const { engine: current, watch, stopPruning, retaining } = built;
    engine = current;
    survey = built.survey;
    watch.failure.catch((error: StateferryError) =>
      scoped(log, 'engine').fatal({ code: error.code, error: error.message }, 'The engine cannot go on'),
    );
    current.hold(held);
    current.start();
    try {
      const open = doors;
      if (open !== undefined) {
        const opened = persist({ log, signal }, 'Kafka', 'KAFKA_UNAVAILABLE', () => open.serve(found, built.log));
        await Promise.race([opened, current.failure, watch.failure]);
      }
      await Promise.race([aborted(AbortSignal.any([signal, changed])), current.failure, watch.failure]);
    } finally {
      // Whoever is in the middle of a call gets its answer, which the engine has to give.
      if (!changed.aborted) await doors?.close();
      watch.stop();
      stopPruning();
      await Promise.all([current.stop(), retaining.stop()]);
    }
  }

  return {
    status,
    async run(signal) {
      registerCodecs();
      const address = await http.start();
      options.onListening?.(address);
      const newKafka = (onConnectionLost?: () => void) =>
        kafkaClient(config.kafka, kafkaSecurity, log, onConnectionLost);
      const kafka = newKafka();
      const admin = kafka.admin();
      const pool = createPool({
        ...server,
        schema: config.postgres.schema,
        size: config.postgres.poolSize,
        statementTimeoutMs: config.postgres.statementTimeoutMs,
        applicationName: `stateferry ${config.deployment.name}`,
        onIdleError: (error) => log.debug({ error: messageOf(error) }, 'An idle connection to Postgres was lost'),
      });
      let changed = new AbortController();
      let refused: StateferryError | undefined;
      const functionLog = scoped(log, 'function');
      const linkTo = (url: string): FunctionLink =>
        linkFunction(
          { ...config, function: { ...config.function, url } },
          {
            devMode: options.devMode,
            tls: functionTls,
            ...(config.doors.enabled && { selfToken }),
            onAway(reason) {
              functionLog.warn({ url, reason }, 'Waiting for the function');
              hub.signals.functionDown(reason);
              doors?.changed();
            },
            onBack(found) {
              functionLog.info('The function is back');
              hub.signals.functionUp();
              doors?.changed();
              const same = found.spec.digest === discovered?.spec.digest;
              discovered = found;
              if (same) engine?.functionBack();
              else changed.abort();
            },
            onRefused(error) {
              refused = error;
              changed.abort();
            },
          },
        );
      const own = createSwitchableLink(config.function.url, linkTo);
      link = own;
      try {
        const deps = { log, signal };
        await Promise.all([
          persist(deps, 'Kafka', 'KAFKA_UNAVAILABLE', () => admin.connect()),
          persist(deps, 'Postgres', 'POSTGRES_UNAVAILABLE', () =>
            migrate({ ...server, schema: config.postgres.schema }),
          ),
        ]);
        const readLive = () => persist(deps, 'Postgres', 'POSTGRES_UNAVAILABLE', () => readLiveGeneration(pool));
        let live = FIRST_GENERATION;
        /** The function of the generation that serves. */
        const connect = async (): Promise<Discovered> => {
          const { generation, functionUrl = config.function.url } = (await readLive()) ?? {
            generation: FIRST_GENERATION,
          };
          live = generation;
          if (functionUrl !== own.url) await own.switchTo(functionUrl);
          return own.connect(signal);
        };
        discovered = await connect();
        if (config.doors.enabled)
          doors = openDoors(config, {
            kafka,
            link: own,
            accessOf,
            tls: doorTls,
            log: scoped(log, 'doors'),
            onListening: options.onDoors,
          });
        hub.signals.functionUp();
        while (!signal.aborted) {
          changed = new AbortController();
          logDiscovery(functionLog, discovered);
          const watching = watchLiveGeneration(pool, live, {
            onHold(wanted) {
              held = wanted;
              engine?.hold(held);
              doors?.hold(held);
            },
            onReplaced(generation) {
              log.info({ generation }, 'Another generation serves now');
              changed.abort();
            },
          });
          try {
            await runEngine({ kafka, newKafka, admin, pool, link }, discovered, changed.signal, signal);
          } finally {
            watching.stop();
          }
          if (refused !== undefined) throw refused;
          if (watching.replaced && !signal.aborted) discovered = await connect();
        }
      } catch (error) {
        if (!signal.aborted) throw error;
      } finally {
        await doors?.close();
        await own.close();
        await http.stop();
        await admin.disconnect().catch(() => undefined);
        await pool.end().catch(() => undefined);
      }
    },
  };
}

interface Parts {
  readonly kafka: Kafka;
  readonly newKafka: (onConnectionLost: () => void) => Kafka;
  readonly admin: Admin;
  readonly pool: pg.Pool;
  readonly link: FunctionLink;
}

/** All parts of an engine, wired in one place. Waits for Kafka and Postgres where they are away. */
async function buildEngine(
  options: RuntimeOptions,
  { kafka, newKafka, admin, pool, link }: Parts,
  { dialect, spec, descriptors }: Discovered,
  signals: ConstructorParameters<typeof Engine>[0]['signals'],
  signal: AbortSignal,
): Promise<{
  engine: Engine;
  watch: TopicWatch;
  stopPruning: () => void;
  /** Removes what the journal need not keep. */
  retaining: { stop(): Promise<void> };
  /** Where all shards of the deployment are. */
  survey: () => Promise<ShardPlace[]>;
  /** What the doors have to know of it. */
  log: DoorLog;
}> {
  const { config, log } = options;
  const { routes: routePlan, topics } = planDeployment(config, spec);
  const { internal } = topics;
  for (const what of routePlan.unserved) log.warn({ what }, 'Part of the function is not served');
  const deps = { log, signal };
  const schemas = await openSchemas(config, planSchemas(routePlan, descriptors), {
    log: scoped(log, 'registry'),
    persist: (attempt) => persist(deps, 'the schema registry', 'REGISTRY_UNAVAILABLE', attempt),
    signal,
    onAsked: (asked) => signals.registryAsked(asked),
  });
  const { shards, partitions, messageBytes } = await persist(deps, 'Kafka', 'KAFKA_UNAVAILABLE', () =>
    ensureTopics(admin, topics, {
      createOutputs: options.createTopics,
      ownPartitions: config.deployment.shards,
      ...(options.inputPartitions !== undefined && { inputPartitions: options.inputPartitions }),
      replicationFactor: config.kafka.replicationFactor,
    }),
  );
  const deployment: Deployment = await persist(deps, 'Postgres', 'POSTGRES_UNAVAILABLE', () =>
    claimDeployment(pool, config.deployment.name, shards),
  );
  await persist(deps, 'Postgres', 'POSTGRES_UNAVAILABLE', () =>
    noteFunctionVersion(pool, spec, descriptorSetOf(descriptors), descriptors.registry),
  );
  const { generation } = deployment;
  const rules = config.journal.retention;
  // It refuses a rule for a component that there never was.
  await persist(deps, 'Postgres', 'POSTGRES_UNAVAILABLE', () => retentionScopes(pool, generation, rules));
  const groupId = config.deployment.name;
  const consumed = [...topics.inputs, internal.commands];
  const parts = engineParts({
    config,
    log,
    kafka,
    newKafka,
    admin,
    pool,
    link,
    function: { dialect, spec, descriptors },
    routePlan,
    place: { generation, groupId, consumed, internal, shards, partitions, messageBytes },
    signals,
    schemas,
  });
  const watch = watchTopics({
    admin,
    sharded: consumed,
    shards,
    published: [...topics.outputs, internal.deadLetters, internal.answers],
    intervalMs: config.kafka.topicCheckMs,
  });
  const stopPruning = keepPruned({
    pool,
    generation,
    windowMs: config.idempotency.windowMs,
    onError: (error) => log.warn({ error: messageOf(error) }, 'Old idempotency keys could not be deleted'),
  });
  const retaining = keepRetained({
    pool,
    generation,
    rules,
    everyMs: config.journal.retentionCheckMs,
    onRemoved: ({ kind }, { rows, bytes }) => signals.retentionRemoved(kind, rows, bytes),
    onError: (error) => log.warn({ error: messageOf(error) }, 'What the journal need not keep could not be removed'),
  });
  const engine = new Engine(options.replace?.(parts) ?? parts);
  const survey = async (): Promise<ShardPlace[]> => {
    const [rows, members] = await Promise.all([
      readOwners(pool, generation),
      assignedMembers(admin, groupId, internal.commands).catch((error: unknown) => {
        log.debug({ error: messageOf(error) }, 'The group could not be described');
        return undefined;
      }),
    ]);
    const own = { shards: shardStatuses(engine), opening: engine.opening };
    return placeShards({ count: shards, rows, members, own, now: Date.now() });
  };
  const ofLog: DoorLog = {
    commandTopic: internal.commands,
    commandBytes: messageBytes.get(internal.commands) ?? DEFAULT_MESSAGE_BYTES,
    answerTopic: internal.answers,
    answerPartitions: partitions.get(internal.answers) ?? 1,
    shards,
  };
  return { engine, watch, stopPruning, retaining, survey, log: ofLog };
}

function logDiscovery(log: Log, { dialect, spec, unserved }: Pick<Discovered, 'dialect' | 'spec' | 'unserved'>): void {
  log.info(
    {
      dialect: dialect.name,
      protocol: spec.protocolVersion,
      sdk: spec.supportLibrary,
      components: [...spec.components.keys()],
    },
    'Discovered the function',
  );
  for (const what of unserved) log.warn({ what }, 'Part of the function is not served');
}
