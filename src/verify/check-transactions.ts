import { setTimeout as delay } from 'node:timers/promises';
import type { PartitionLogs } from '../topics/partition-log.ts';
import { type CheckResult, gather, number } from './findings.ts';
import type { Ranges } from './ground.ts';

const POLL_MS = 100;

/**
 * Waits until every transaction that is open now has ended, and reports those that do not: a stable offset that stays
 * where it is for `patienceMs`, with records above it. Resolves to the ranges of the last look.
 */
export async function checkTransactions(options: {
  readonly logs: Pick<PartitionLogs, 'ranges'>;
  readonly topics: readonly string[];
  /** Longer than any transaction of ours may be open. */
  readonly patienceMs: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}): Promise<{ result: CheckResult; ranges: Ranges }> {
  const { logs, topics, patienceMs, signal } = options;
  const found = gather('transactions');
  let ranges: Ranges = await logs.ranges(topics);
  const first = ranges;
  const since = new Map<string, { stable: bigint; at: number }>();
  let said = false;
  for (;;) {
    const open: string[] = [];
    let hangs = true;
    for (const [topic, partitions] of ranges) {
      for (const [partition, { stable }] of partitions) {
        const goal = first.get(topic)?.get(partition)?.high ?? stable;
        if (stable >= goal) continue;
        const where = `${topic}/${partition}`;
        open.push(where);
        const known = since.get(where);
        if (known === undefined || known.stable !== stable) since.set(where, { stable, at: performance.now() });
        if (performance.now() - (since.get(where)?.at ?? 0) < patienceMs) hangs = false;
      }
    }
    if (open.length === 0 || hangs) break;
    if (!said && [...since.values()].some(({ at }) => performance.now() - at > 1_000)) {
      said = true;
      options.say(
        `Waiting for open transactions on ${open.length} partitions, ${Math.ceil(patienceMs / 1_000)} s at most`,
      );
    }
    await delay(POLL_MS, undefined, { signal });
    ranges = await logs.ranges(topics);
  }
  let partitions = 0;
  for (const [topic, byPartition] of ranges) {
    for (const [partition, { stable, high }] of byPartition) {
      partitions++;
      const goal = first.get(topic)?.get(partition)?.high ?? stable;
      if (stable >= goal) continue;
      found.find({
        what: 'a transaction hangs',
        where: `"${topic}" partition ${partition}`,
        found: `the last stable offset stays at ${stable}`,
        expected: `${goal} within ${Math.ceil(patienceMs / 1_000)} s; the partition ends at ${high}, and read_committed readers stand still`,
      });
    }
  }
  return {
    ranges,
    result: found.result({
      compared: `${number(partitions)} partitions of ${topics.length} topics`,
      claim: 'no transaction is left open',
      counts: { partitions },
    }),
  };
}
