import type { Admin } from 'kafkajs';
import { createTopics, missingTopics, partitionCounts, shardCount } from './ensure.ts';

/** Room for our own headers and envelope around a record of the largest size, in bytes. */
const ENVELOPE_BYTES = 64 * 1024;

/** Every topic that a deployment has to do with. */
export interface TopicPlan {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Ours: created where they are missing. */
  readonly internal: { readonly commands: string; readonly deadLetters: string };
  /** max.message.bytes of our own topics: what came in must fit with all that we add to it. */
  readonly internalMessageBytes: number;
}

export function topicPlan(options: {
  inputs: readonly string[];
  outputs: readonly string[];
  internal: TopicPlan['internal'];
  maxRecordBytes: number;
}): TopicPlan {
  return {
    inputs: [...new Set(options.inputs)],
    outputs: [...new Set(options.outputs)],
    internal: options.internal,
    internalMessageBytes: 2 * options.maxRecordBytes + ENVELOPE_BYTES,
  };
}

/**
 * Checks that the topics fit together and creates our own where they are missing; output topics too, where asked.
 * Answers the number of shards and every topic's partition count.
 * @throws StateferryError TOPIC_MISSING or TOPIC_PARTITIONS, naming every topic that does not fit.
 */
export async function ensureTopics(
  admin: Admin,
  plan: TopicPlan,
  options: { createOutputs: boolean; replicationFactor: number },
): Promise<{ shards: number; partitions: ReadonlyMap<string, number> }> {
  const { commands, deadLetters } = plan.internal;
  const all = [...plan.inputs, ...plan.outputs, commands, deadLetters];
  const found = await partitionCounts(admin, all);
  // A missing output is told together with missing inputs, so that one look shows them all.
  const missing = (options.createOutputs ? plan.inputs : [...plan.inputs, ...plan.outputs]).filter(
    (t) => !found.has(t),
  );
  if (missing.length > 0) throw missingTopics([...new Set(missing)]);
  const shards = shardCount(plan.inputs, found);
  const toCreate = [...new Set(options.createOutputs ? all : [commands, deadLetters])].filter((t) => !found.has(t));
  await createTopics(
    admin,
    toCreate.map((topic) => ({
      topic,
      numPartitions: shards,
      replicationFactor: options.replicationFactor,
      configEntries:
        topic === commands || topic === deadLetters
          ? [{ name: 'max.message.bytes', value: String(plan.internalMessageBytes) }]
          : [],
    })),
  );
  const partitions = await partitionCounts(admin, all);
  shardCount([...plan.inputs, commands], partitions);
  return { shards, partitions };
}
