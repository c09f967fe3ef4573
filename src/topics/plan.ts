import type { Admin } from 'kafkajs';
import { StateferryError } from '../errors.ts';
import { createTopics, missingTopics, partitionCounts, shardCount } from './ensure.ts';
import { messageLimits } from './limits.ts';

/** Room for our own headers and envelope around a record of the largest size, in bytes. */
const ENVELOPE_BYTES = 64 * 1024;
/** Nobody waits for an answer for so long. */
const ANSWER_RETENTION_MS = 3_600_000;

/** Every topic that a deployment has to do with. */
export interface TopicPlan {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Ours: created where they are missing. */
  readonly internal: { readonly commands: string; readonly answers: string; readonly deadLetters: string };
  /** max.message.bytes of our own topics, at least: what came in must fit with all that we add to it. */
  readonly internalMessageBytes: number;
}

/** @throws StateferryError FUNCTION_SPEC for a route that reads one of our own topics, or writes commands or answers. */
export function topicPlan(options: {
  inputs: readonly string[];
  outputs: readonly string[];
  internal: TopicPlan['internal'];
  maxRecordBytes: number;
}): TopicPlan {
  const { commands, answers, deadLetters } = options.internal;
  const misused = [
    ...[commands, answers, deadLetters]
      .filter((topic) => options.inputs.includes(topic))
      .map((topic) => `read "${topic}"`),
    ...[commands, answers].filter((topic) => options.outputs.includes(topic)).map((topic) => `write to "${topic}"`),
  ];
  if (misused.length > 0) {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `the routes ${misused.join(' and ')}: these are the deployment's own topics, for its commands, answers and dead letters. ` +
        "Name other topics in the function's annotations and in topics.*, or change deployment.name or deadLetters.topic.",
    );
  }
  return {
    inputs: [...new Set(options.inputs)],
    outputs: [...new Set(options.outputs)],
    internal: options.internal,
    internalMessageBytes: 2 * options.maxRecordBytes + ENVELOPE_BYTES,
  };
}

/**
 * Checks that the topics fit together and creates our own where they are missing; output topics too, where asked; and
 * with `inputPartitions` input topics, with as many partitions as those that are there have, or so many if there is none.
 * A deployment without input topics has `ownPartitions` shards, if its command topic does not exist yet.
 * Answers the number of shards, every topic's partition count, and the largest batch that each takes, in bytes.
 * @throws StateferryError TOPIC_MISSING or TOPIC_PARTITIONS, naming every topic that does not fit.
 */
export async function ensureTopics(
  admin: Admin,
  plan: TopicPlan,
  options: { createOutputs: boolean; inputPartitions?: number; ownPartitions: number; replicationFactor: number },
): Promise<{
  shards: number;
  partitions: ReadonlyMap<string, number>;
  messageBytes: ReadonlyMap<string, number>;
}> {
  const { createOutputs, inputPartitions } = options;
  const { commands, answers, deadLetters } = plan.internal;
  const all = [...new Set([...plan.inputs, ...plan.outputs, commands, answers, deadLetters])];
  const found = await partitionCounts(admin, all);
  const absent = all.filter((topic) => !found.has(topic));
  const inputs = new Set(plan.inputs);
  const outputs = new Set(plan.outputs);
  // A missing output is told together with missing inputs, so that one look shows them all.
  const refused = absent.filter((topic) =>
    inputs.has(topic) ? inputPartitions === undefined : outputs.has(topic) && !createOutputs,
  );
  if (refused.length > 0) throw missingTopics(refused);
  // The command topic has a partition for each shard: where it is left from before, it counts as an input does.
  const sharded = [...plan.inputs, commands].filter((topic) => found.has(topic));
  const free = plan.inputs.length === 0 ? options.ownPartitions : inputPartitions;
  const shards = sharded.length === 0 && free !== undefined ? free : shardCount(sharded, found);
  const present = plan.inputs.filter((topic) => found.has(topic));
  const largest = present.length === 0 ? 0 : Math.max(...(await messageLimits(admin, present)).values());
  // Whatever an input topic takes may become a dead letter.
  const internalMessageBytes = Math.max(plan.internalMessageBytes, largest + ENVELOPE_BYTES);
  await createTopics(
    admin,
    absent.map((topic) => ({
      topic,
      numPartitions: shards,
      replicationFactor: options.replicationFactor,
      configEntries: [
        ...(topic === commands || topic === answers || topic === deadLetters
          ? [{ name: 'max.message.bytes', value: String(internalMessageBytes) }]
          : []),
        ...(topic === answers ? [{ name: 'retention.ms', value: String(ANSWER_RETENTION_MS) }] : []),
      ],
    })),
  );
  const partitions = await partitionCounts(admin, all);
  shardCount([...plan.inputs, commands], partitions);
  return { shards, partitions, messageBytes: await messageLimits(admin, all) };
}
