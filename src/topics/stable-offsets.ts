import type { Kafka } from 'kafkajs';
import { withCluster } from './cluster.ts';
import {
  ask,
  checkCode,
  type FlexibleBroker,
  type FlexibleRequest,
  readPartitions,
  writePartitions,
} from './flexible.ts';

const UNSTABLE_OFFSET_COMMIT = 88;

/** A group's offsets of some partitions, and where a transaction that is not ended has others. */
export interface GroupOffsets {
  /** Topic → partition → offset; what has none, or pending ones, is absent. A topic that is not there has no partitions. */
  readonly offsets: Map<string, Map<number, bigint>>;
  /** Partitions for which some transaction has written offsets and is neither committed nor aborted, by topic. */
  readonly pending: Map<string, number[]>;
}

/**
 * The group's committed offsets of exactly these partitions of every topic, and which of them are pending (KIP-447). With
 * `stable: false` nothing is pending: what a transaction has written and not committed is passed over, as kafkajs does.
 */
export async function groupOffsets(
  kafka: Kafka,
  groupId: string,
  asked: { readonly topics: readonly string[]; readonly partitions: readonly number[]; readonly stable: boolean },
): Promise<GroupOffsets> {
  const answer = await withCluster<FlexibleBroker, Fetched>(kafka, async (cluster) => {
    const { topics, partitions, stable } = asked;
    const wanted = new Map(topics.map((topic) => [topic, partitions]));
    return ask(await cluster.findGroupCoordinator({ groupId }), offsetFetch(groupId, wanted, stable));
  });
  checkCode(answer.code);
  const found: GroupOffsets = { offsets: new Map(asked.topics.map((topic) => [topic, new Map()])), pending: new Map() };
  for (const { topic, partition, offset, code } of answer.partitions) {
    if (code === UNSTABLE_OFFSET_COMMIT) {
      found.pending.set(topic, [...(found.pending.get(topic) ?? []), partition]);
      continue;
    }
    checkCode(code);
    if (offset >= 0n) found.offsets.get(topic)?.set(partition, offset);
  }
  return found;
}

interface Fetched {
  readonly code: number;
  readonly partitions: readonly { topic: string; partition: number; offset: bigint; code: number }[];
}

function offsetFetch(
  groupId: string,
  partitions: ReadonlyMap<string, readonly number[]>,
  stable: boolean,
): FlexibleRequest<Fetched> {
  return {
    name: 'OffsetFetch',
    key: 9,
    version: 7,
    write(to) {
      to.writeUVarIntString(groupId);
      writePartitions(to, partitions);
      to.writeBoolean(stable);
    },
    read(from) {
      from.readInt32();
      const fetched = readPartitions(from, (topic, partition) => {
        const offset = BigInt(from.readInt64().toString());
        from.readInt32();
        from.readUVarIntString();
        return { topic, partition, offset, code: from.readInt16() };
      });
      return { partitions: fetched, code: from.readInt16() };
    },
  };
}
