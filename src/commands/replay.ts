import { createHash } from 'node:crypto';
import type { Io, ReplayRequest } from '../cli/context.ts';
import { type Config, internalTopics } from '../config/config.ts';
import { StateferryError } from '../errors.ts';
import { createPace } from '../history/pace.ts';
import { replay as publish, type ReplaySelection } from '../history/replay.ts';
import { readReach } from '../journal/chunks.ts';
import { type FunctionVersion, readFunctionVersions } from '../journal/function-versions.ts';
import { readRemoved, removedThrough } from '../journal/retention.ts';
import { registerCodecs } from '../topics/codecs.ts';
import { missingTopics, partitionCounts } from '../topics/ensure.ts';
import { messageLimits } from '../topics/limits.ts';
import { committedOffsets } from '../topics/offsets.ts';
import { createTransactor } from '../topics/transactor.ts';
import { quietKafka } from './quiet-kafka.ts';
import { reachable } from './reachable.ts';
import { createSteps } from './verify-steps.ts';
import { withJournal } from './with-journal.ts';

const STOPPED = 1;

/** `stateferry replay`: 0 when all is published, 1 when it was stopped before. */
export async function replay(config: Config, request: ReplayRequest, io: Io): Promise<number> {
  registerCodecs();
  const kafka = quietKafka(config);
  const admin = kafka.admin();
  const steps = createSteps(io.err);
  const name = request.name ?? nameOf(request);
  const groupId = `${config.deployment.name}.replay.${name}`;
  const { commands } = internalTopics(config);
  try {
    return await withJournal(config, async ({ pool, generation }) => {
      await reachable('KAFKA_UNAVAILABLE', `no broker answers at ${config.kafka.brokers.join(', ')}`, () =>
        admin.connect(),
      );
      const versions = await readFunctionVersions(pool);
      const selection = {
        ...(request.component !== undefined && { entityType: entityTypeOf(versions, request.component) }),
        ...(request.entity !== undefined && { entityId: request.entity }),
        ...(request.since !== undefined && { since: new Date(request.since) }),
        ...(request.until !== undefined && { until: new Date(request.until) }),
        ...(request.shard !== undefined && { shard: request.shard }),
      };
      const reach = await readReach(pool, generation);
      if (request.shard !== undefined && request.shard >= reach.length) {
        throw refused(`there is no shard ${request.shard}: the deployment has the shards 0 to ${reach.length - 1}.`);
      }
      if (
        [...reach.flatMap(({ applied }) => Object.keys(applied)), ...Object.values(internalTopics(config))].includes(
          request.to,
        )
      ) {
        throw refused(
          `"${request.to}" is a topic that the deployment reads, or one of its own: what is published there would be applied. Name another one.`,
        );
      }
      if (request.outputs === false) await tellRemoved(pool, generation, selection, io);
      const partitions = (await partitionCounts(admin, [request.to])).get(request.to);
      if (partitions === undefined) throw missingTopics([request.to]);
      const limits = await messageLimits(admin, [request.to]);
      const transactor = request.dryRun
        ? undefined
        : createTransactor({
            connect: () => kafka,
            transactionalId: groupId,
            groupId,
            transactionTimeoutMs: config.kafka.transactionTimeoutMs,
            messageBytes: (topic) => limits.get(topic) ?? 0,
          });
      let published = 0;
      try {
        // Fences one that was killed, so that how far it was stands fast.
        await transactor?.open();
        const offsets = (await committedOffsets(admin, groupId, [commands])).get(commands);
        const total = request.outputs === false ? await countEvents(pool, generation) : 0;
        steps.begin(request.dryRun ? 'counting' : `replaying to ${request.to}`, total);
        await publish({
          pool,
          generation,
          deployment: config.deployment.name,
          name,
          selection,
          target: { topic: request.to, format: request.format, partitions },
          outputs: request.outputs,
          versions,
          progressTopic: commands,
          done: new Map([...(offsets ?? [])].map(([shard, offset]) => [shard, Number(offset)])),
          transactor,
          pace: createPace(request.perSecond, io.signal),
          onRecords(records) {
            published += records;
            steps.count('records', records);
          },
          signal: io.signal,
        });
      } catch (error) {
        if (!io.signal.aborted) throw error;
        steps.end();
        io.out.write(`Stopped after ${published.toLocaleString('en')} records. The same command goes on there.\n`);
        return STOPPED;
      } finally {
        await transactor?.close().catch(() => undefined);
      }
      steps.end();
      const what = request.dryRun ? 'would be published' : `published to ${request.to}`;
      io.out.write(`${published.toLocaleString('en')} records ${what} (replay ${name}).\n`);
      return 0;
    });
  } finally {
    steps.end();
    await admin.disconnect().catch(() => undefined);
  }
}

/** The same for the same request. */
function nameOf({ to, component, entity, since, until, shard, format, outputs }: ReplayRequest): string {
  const text = JSON.stringify({ to, component, entity, since, until, shard, format, outputs });
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

function entityTypeOf(versions: readonly FunctionVersion[], wanted: string): string {
  const known = versions.flatMap(({ components }) => components).filter(({ kind }) => kind === 'event-sourced');
  const found = known.find(({ entityType, service }) => entityType === wanted || service === wanted);
  if (found !== undefined) return found.entityType;
  const names = [...new Set(known.map(({ entityType }) => entityType))];
  throw refused(
    `the function has no event sourced entity type "${wanted}", only ${names.join(', ') || 'none at all'}.`,
  );
}

/** Says what of the events that are asked for retention has removed. */
async function tellRemoved(
  pool: Parameters<typeof readReach>[0],
  generation: number,
  { entityType, entityId, shard }: ReplaySelection,
  io: Io,
): Promise<void> {
  for (const one of await readRemoved(pool, generation)) {
    if (one.kind !== 'events' || (entityType !== undefined && one.entityType !== entityType)) continue;
    if (shard !== undefined && one.shard !== shard) continue;
    const own = entityId === undefined ? undefined : { entityType: one.entityType, entityId };
    const through = own === undefined ? 0 : await removedThrough(pool, generation, own);
    if (own !== undefined && through === 0) continue;
    const what =
      own === undefined
        ? `${one.rows.toLocaleString('en')} events of ${one.entityType} up to event ${one.through} of shard ${one.shard}`
        : `the events of ${one.entityType} "${entityId}" up to ${through}`;
    io.err.write(`Retention has removed ${what}: they are not published.\n`);
    if (own !== undefined) return;
  }
}

async function countEvents(pool: Parameters<typeof readReach>[0], generation: number): Promise<number> {
  const { rows } = await pool.query<{ count: number | null }>(
    'select sum(shard_seq)::bigint as count from shard where generation = $1',
    [generation],
  );
  return rows[0]?.count ?? 0;
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
