import type { Admin } from 'kafkajs';
import type pg from 'pg';
import { type Config, internalTopics } from './config/config.ts';
import { StateferryError } from './errors.ts';
import { heldTopics, publishDifferences, selectDifferences } from './history/emit-differences.ts';
import { readReach } from './journal/chunks.ts';
import { findGeneration } from './journal/generations.ts';
import { dropHeld, type Emission, endEmission, readEmission } from './journal/held-outputs.ts';
import { createPool } from './journal/pool.ts';
import { connectKafka } from './kafka-connection.ts';
import type { Log } from './observe/log.ts';
import { postgresServer } from './postgres-connection.ts';
import { generationCommands } from './reprocess.ts';
import { registerCodecs } from './topics/codecs.ts';
import { missingTopics, partitionCounts } from './topics/ensure.ts';
import { messageLimits } from './topics/limits.ts';
import { committedOffsets, dropGroup } from './topics/offsets.ts';
import { openPartitionLogs } from './topics/partition-log.ts';
import { createTransactor } from './topics/transactor.ts';

export interface EmitOptions {
  readonly config: Config;
  /** Of the generation. */
  readonly name: string;
  readonly topic: string;
  readonly log: Log;
  readonly onNote: (note: string) => void;
  /** How far it is: so many of what `step` says. */
  readonly onProgress: (step: string, items: number) => void;
  /** So many more records are published. */
  readonly onRecords: (records: number) => void;
}

/** The group whose offsets say how far a publication is; its producer has the same name. */
export function emissionGroup(deployment: string, name: string): string {
  return `${deployment}.emission.${name}`;
}

/** Where a generation is, as far as it matters to `promote --emit-differences`. */
export async function openEmission(
  pool: pg.Pool,
  { name, topic }: { readonly name: string; readonly topic: string | undefined },
): Promise<'none' | 'open'> {
  const { generation, state } = await findGeneration(pool, name);
  if (state !== 'live') return 'none';
  const emission = await readEmission(pool, generation);
  if (emission === undefined) {
    if (topic === undefined) return 'none';
    throw refused(
      `generation "${name}" serves already, and no outputs of its past wait to be published: they were published, or not kept when it was promoted.`,
    );
  }
  if (topic === emission.topic) return 'open';
  throw refused(
    `generation "${name}" serves already. What differs of its outputs of the past is on its way to "${emission.topic}": the rest follows with --emit-differences ${emission.topic}.`,
  );
}

/**
 * Refuses a topic that what differs cannot be published to.
 * @throws StateferryError TOPIC_MISSING, OPERATION_REFUSED for one that the deployment reads or one of its own.
 */
export async function checkTarget(
  config: Config,
  admin: Admin,
  pool: pg.Pool,
  { generation, topic }: { readonly generation: number; readonly topic: string },
): Promise<void> {
  const read = (await readReach(pool, generation)).flatMap(({ applied }) => Object.keys(applied));
  const own = `${config.deployment.name}.`;
  if ([...read, ...Object.values(internalTopics(config))].includes(topic) || topic.startsWith(own)) {
    throw refused(
      `"${topic}" is a topic that the deployment reads, or one of its own: what is published there would be applied. Name another one.`,
    );
  }
  if (!(await partitionCounts(admin, [topic])).has(topic)) throw missingTopics([topic]);
}

/**
 * Publishes what differs of the outputs of a generation that serves, of the time before it did, from where that was interrupted: each
 * once. Nothing of it is held afterwards.
 * @throws StateferryError as `openEmission` does, and what the parts throw; the signal's reason. The next time goes on there.
 */
export async function emitDifferences(options: EmitOptions, signal: AbortSignal): Promise<void> {
  const { config, name, topic, log } = options;
  registerCodecs();
  const pool = createPool({
    ...postgresServer(config),
    schema: config.postgres.schema,
    size: 2,
    statementTimeoutMs: config.postgres.statementTimeoutMs,
    applicationName: `stateferry ${config.deployment.name} ${name}`,
    onIdleError: () => undefined,
  });
  const kafka = connectKafka(config, log);
  const admin = kafka.admin();
  const groupId = emissionGroup(config.deployment.name, name);
  const closing: (() => Promise<unknown>)[] = [() => pool.end()];
  try {
    await openEmission(pool, { name, topic });
    const generation = await findGeneration(pool, name);
    await admin.connect();
    closing.push(() => admin.disconnect());
    let emission = await wantedEmission(pool, generation.generation);
    if (!emission.selected) {
      await select(options, { pool, kafka, admin, generation, emission }, signal);
      emission = await wantedEmission(pool, generation.generation);
    }
    const partitions = (await partitionCounts(admin, [topic])).get(topic);
    if (partitions === undefined) throw missingTopics([topic]);
    const limits = await messageLimits(admin, [topic]);
    const { commands } = internalTopics(config);
    const transactor = createTransactor({
      connect: () => kafka,
      transactionalId: groupId,
      groupId,
      transactionTimeoutMs: config.kafka.transactionTimeoutMs,
      messageBytes: (each) => limits.get(each) ?? 0,
    });
    closing.push(() => transactor.close());
    // Fences one that was killed, so that how far it was stands fast.
    await transactor.open();
    const offsets = (await committedOffsets(admin, groupId, [commands])).get(commands);
    await publishDifferences({
      pool,
      emission,
      name,
      partitions,
      progressTopic: commands,
      done: new Map([...(offsets ?? [])].map(([shard, offset]) => [shard, Number(offset)])),
      transactor,
      onRecords: options.onRecords,
      signal,
    });
    // In this order: whoever is interrupted has nothing left that it could publish twice.
    await dropHeld(pool, generation.generation);
    await dropGroup(admin, groupId);
    await endEmission(pool, generation.generation);
  } finally {
    for (const close of closing.reverse()) await close().catch(() => undefined);
  }
}

async function wantedEmission(pool: pg.Pool, generation: number): Promise<Emission> {
  const emission = await readEmission(pool, generation);
  if (emission !== undefined) return emission;
  throw refused('another process has published the rest meanwhile, or the generation was replaced.');
}

async function select(
  { config, name, onNote, onProgress }: EmitOptions,
  at: {
    readonly pool: pg.Pool;
    readonly kafka: ReturnType<typeof connectKafka>;
    readonly admin: Admin;
    readonly generation: Awaited<ReturnType<typeof findGeneration>>;
    readonly emission: Emission;
  },
  signal: AbortSignal,
): Promise<void> {
  const { pool, kafka, admin, generation, emission } = at;
  const internal = internalTopics(config);
  const madeCommands = generationCommands(config.deployment.name, name);
  const client = await pool.connect();
  try {
    await client.query('set statement_timeout = 0');
    await client.query('begin');
    const held = await heldTopics(client, emission.generation);
    await client.query('commit');
    for (const own of [...Object.values(internal), madeCommands]) held.delete(own);
    const outputs = [...(await partitionCounts(admin, [...held])).keys()];
    const logs = await openPartitionLogs(kafka, [...outputs, internal.commands]);
    try {
      await selectDifferences({
        client,
        logs,
        deployment: config.deployment.name,
        generation,
        emission,
        topics: { ...internal, outputs, madeCommands },
        onNote,
        onProgress,
        signal,
      });
    } finally {
      await logs.close();
    }
  } finally {
    client.release(true);
  }
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
