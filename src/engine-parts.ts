import { randomUUID } from 'node:crypto';
import type { Admin, Kafka } from 'kafkajs';
import type pg from 'pg';
import { decodeCommandRecord } from './codec/command-record.ts';
import { createDecoder } from './codec/decode.ts';
import { createEncoder } from './codec/encode.ts';
import { createPassedHeaders } from './codec/passed-headers.ts';
import type { Config } from './config/config.ts';
import { decide } from './engine/decide.ts';
import type { EngineOptions } from './engine/engine.ts';
import { createFailures } from './engine/failures.ts';
import { feedCommand } from './engine/feed-command.ts';
import { createIdempotencyKeys } from './engine/idempotency-key.ts';
import { createIntake, originOf } from './engine/intake.ts';
import { createLivingOwners } from './engine/living-owners.ts';
import { repeated } from './engine/refusal.ts';
import { createRoutes, type RoutePlan } from './engine/routes.ts';
import { createStreamOutputs } from './engine/streams.ts';
import type { Discovered } from './functions/discovery.ts';
import type { FunctionLink } from './functions/link.ts';
import { streamLimit } from './functions/stream-limit.ts';
import { hangingOutputs } from './hanging-outputs.ts';
import { appendChunks } from './journal/append.ts';
import { loadControls, loadOperations, loadParked } from './journal/control.ts';
import { readFedEvents, readFedValues, settleFeeds } from './journal/feeds.ts';
import { findIdempotencyKeys } from './journal/idempotency.ts';
import { readInDoubt } from './journal/in-doubt.ts';
import { loadHeads, loadTails, loadValues } from './journal/load.ts';
import { heldShards, openShards, releaseShard, settleShards } from './journal/open.ts';
import { readOutbox } from './journal/outbox.ts';
import { type Log, scoped } from './observe/log.ts';
import type { Schemas } from './schemas.ts';
import { createConsumption } from './topics/consumption.ts';
import { partitionCounts } from './topics/ensure.ts';
import { fenceProducers } from './topics/fence.ts';
import { beforeCompression, DEFAULT_MESSAGE_BYTES } from './topics/limits.ts';
import { memberProcesses } from './topics/members.ts';
import { offsetRanges } from './topics/offsets.ts';
import type { TopicPlan } from './topics/plan.ts';
import { groupOffsets } from './topics/stable-offsets.ts';
import { createTransactor } from './topics/transactor.ts';

/** Where an engine works: one generation of a deployment, and the topics around it. */
export interface EnginePlace {
  readonly generation: number;
  /** The consumer group whose offsets say what was emitted. */
  readonly groupId: string;
  /** Topics that the group consumes, the internal command topic included. */
  readonly consumed: readonly string[];
  readonly internal: TopicPlan['internal'];
  /** The command topic of the generation whose history this one is made of. */
  readonly sourceCommands?: string;
  readonly shards: number;
  /** Partitions of every topic that there is to do with. */
  readonly partitions: ReadonlyMap<string, number>;
  /** The largest batch that each topic takes, in bytes. */
  readonly messageBytes: ReadonlyMap<string, number>;
}

/** Everything that an engine's parts are made of. */
export interface Surroundings {
  readonly config: Config;
  readonly log: Log;
  readonly kafka: Kafka;
  /** As `connect` of `createTransactor`. */
  readonly newKafka: (onConnectionLost: () => void) => Kafka;
  readonly admin: Admin;
  readonly pool: pg.Pool;
  readonly link: FunctionLink;
  readonly function: Pick<Discovered, 'dialect' | 'spec' | 'descriptors'>;
  readonly routePlan: RoutePlan;
  readonly place: EnginePlace;
  readonly signals: EngineOptions['signals'];
  /** Absent: no topic has schemas in the registry. */
  readonly schemas?: Schemas | undefined;
  /** As `AppendOptions.outboxRetention`; absent: as the configuration says. */
  readonly outboxRetention?: number;
}

/** All parts of an engine, wired in one place. Nothing is started. */
export function engineParts(surroundings: Surroundings): EngineOptions {
  const { config, kafka, newKafka, admin, pool, link, routePlan, place, signals, log, schemas } = surroundings;
  const { dialect, spec, descriptors } = surroundings.function;
  const { outboxRetention = config.journal.outboxRetentionChunks } = surroundings;
  const { generation, groupId, consumed, internal, shards, partitions, messageBytes } = place;
  const routes = createRoutes(spec, routePlan, partitions, schemas?.writers);
  const { compression } = config.kafka;
  const messageBytesOf = (topic: string) => {
    const most = messageBytes.get(topic) ?? DEFAULT_MESSAGE_BYTES;
    return compression === 'none' ? most : beforeCompression(most);
  };
  const decoder = createDecoder({
    descriptors,
    anyUrls: dialect.anyUrls,
    subscriptions: routePlan.inputs,
    maxBytes: config.engine.maxRecordBytes,
    ...(schemas && { readers: schemas.readers }),
  });
  const commandTopics = new Set([
    internal.commands,
    ...(place.sourceCommands === undefined ? [] : [place.sourceCommands]),
  ]);
  // Python SDKs number snapshots wrongly and cannot start from one (PROTOCOLS 5, 10).
  const ignoreSnapshots = spec.supportLibrary.includes('python-support');
  const context = {
    encode: createEncoder({ descriptors }),
    routes,
    deployment: config.deployment.name,
    commandTopic: internal.commands,
    answerTopic: internal.answers,
    shards,
    ignoreSnapshots,
    passed: createPassedHeaders(config.topics.passHeaders),
    maxOutputBytes: config.engine.maxRecordBytes,
    messageBytes: messageBytesOf,
  };
  const ownProcess = randomUUID();
  // A generation beside the live one writes nowhere else, and the others' topics are not its own to end anything on.
  const written = place.sourceCommands === undefined ? [...partitions.keys()] : [internal.commands];
  const hanging = hangingOutputs({
    kafka,
    admin,
    deployment: config.deployment.name,
    groupId,
    topics: written,
    signals,
    log: scoped(log, 'engine'),
  });
  const living = createLivingOwners({ process: ownProcess, members: () => memberProcesses(admin, groupId) });
  return {
    deployment: config.deployment.name,
    process: ownProcess,
    topics: consumed,
    deadLetterTopic: {
      name: internal.deadLetters,
      partitions: partitions.get(internal.deadLetters) ?? 1,
      messageBytes: messageBytesOf(internal.deadLetters),
    },
    commandTopic: { name: internal.commands, messageBytes: messageBytesOf(internal.commands) },
    answerTopic: internal.answers,
    failures: createFailures(config.failures.policies),
    control: {
      load: (numbers) => loadControls(pool, generation, numbers),
      operations: (numbers) => loadOperations(pool, generation, numbers),
      parked: (key, limit) => loadParked(pool, generation, key, limit),
    },
    feeds: {
      all: routePlan.feeds,
      store: {
        settle: (opened) => settleFeeds(pool, generation, opened, routePlan.feeds),
        events: ({ feed: { entityType }, ...read }) => readFedEvents(pool, generation, { ...read, entityType }),
        values: ({ feed: { entityType }, ...read }) => readFedValues(pool, generation, { ...read, entityType }),
      },
      command: (feed, change) => feedCommand(feed, change, context),
    },
    start: config.kafka.start,
    limits: { maxRecords: config.engine.maxRecordsInFlight, maxBytes: config.engine.maxBytesInFlight },
    maxChunkRecords: config.engine.maxChunkRecords,
    keepInputs: config.journal.keepInputs,
    journalIntervalMs: config.engine.journalIntervalMs,
    emitIntervalMs: config.engine.emitIntervalMs,
    takeoverGraceMs: config.engine.takeoverGraceMs,
    drainTimeoutMs: config.engine.drainTimeoutMs,
    intake: createIntake({
      decode: (record) =>
        commandTopics.has(record.topic) ? decodeCommandRecord(record, routes.resolve) : decoder.decode(record),
      commandTopics,
      commandTopic: internal.commands,
      commandBytes: messageBytesOf(internal.commands),
      shards,
      idempotencyKey: createIdempotencyKeys(config.idempotency.keys),
    }),
    // A record that was put back is read as what it was first.
    awaits:
      schemas &&
      ((record) =>
        schemas.awaits(commandTopics.has(record.topic) ? (originOf(record, record.topic)?.origin ?? record) : record)),
    entities: {
      client: link.client,
      dialect,
      store: {
        heads: (keys) => loadHeads(pool, generation, keys),
        tails: (wanted) => loadTails(pool, generation, wanted),
        values: (keys) => loadValues(pool, generation, keys),
      },
      maxStreams: config.function.maxStreams || streamLimit(spec.supportLibrary),
      maxCommands: config.function.maxCommandsInFlight,
      passivationMs: config.function.passivationMs,
      deadlineMs: config.function.deadlineMs,
      ignoreSnapshots,
      isFunctionUp: () => link.isUp(),
      decide: (command, position, effect) => decide(command, effect, position, context),
      streams: createStreamOutputs(context),
      repeat: (command) => repeated(command, internal.answers),
      findDuplicates: (items) =>
        findIdempotencyKeys(
          pool,
          generation,
          config.idempotency.windowMs,
          items.map(({ record, command }) => ({
            shard: record.partition,
            idempotencyKey: command?.idempotencyKey ?? '',
          })),
        ),
      onLost: (reason) => link.suspect(reason),
    },
    append: (chunks) =>
      appendChunks(pool, generation, chunks, {
        outboxRetention,
        keepValues: config.journal.keepValues,
        functionDigest: spec.digest,
      }),
    opening: (transactionalId) => ({
      held: async (numbers) => living(await heldShards(pool, { generation, shards: numbers, transactionalId })),
      open: (numbers) =>
        openShards(pool, {
          generation,
          shards: numbers,
          transactionalId,
          whileLive: place.sourceCommands === undefined,
        }),
      fence: (ids) => fenceProducers(kafka, ids, config.kafka.transactionTimeoutMs),
      group: groupId,
      committed: (topics, numbers, stable) => groupOffsets(kafka, groupId, { topics, partitions: numbers, stable }),
      inDoubt: (id) => readInDoubt(pool, generation, id),
      ...hanging,
      existing: async (names) => new Set((await partitionCounts(admin, names)).keys()),
      ranges: (topic) => offsetRanges(admin, topic),
      settle: (list) => settleShards(pool, { generation, shards: list }),
      outbox: (number, after) => readOutbox(pool, generation, number, after),
    }),
    release: (transactionalId, shard) =>
      releaseShard(pool, {
        generation,
        shard: shard.number,
        epoch: shard.epoch,
        transactionalId,
        committed: shard.committed,
        emitted: shard.emittedThrough,
        retention: outboxRetention,
      }),
    createTransactor: (transactionalId, onLost) =>
      createTransactor({
        connect: newKafka,
        onLost,
        transactionalId,
        groupId,
        topics: written,
        transactionTimeoutMs: config.kafka.transactionTimeoutMs,
        messageBytes: messageBytesOf,
        compression,
      }),
    createConsumer: (handlers) =>
      createConsumption({
        kafka,
        groupId,
        process: ownProcess,
        topics: consumed,
        shards,
        sessionTimeoutMs: config.kafka.sessionTimeoutMs,
        heartbeatIntervalMs: config.kafka.heartbeatIntervalMs,
        rebalanceTimeoutMs: config.kafka.rebalanceTimeoutMs,
        fetchMaxWaitMs: config.kafka.fetchMaxWaitMs,
        fetchMaxBytesPartition: config.kafka.fetchMaxBytesPerPartition,
        log: scoped(log, 'topics'),
        ...handlers,
      }),
    signals,
    log: scoped(log, 'engine'),
  };
}
