import { partitionFor } from '../topics/partition.ts';
import type { AnyRecord, Identity } from './identity.ts';
import type { OutputContext } from './output-context.ts';

/** What one shard makes of one partition of an input stands in its order, on one partition of an output. */
export interface OutputOrder {
  /** The next output of the partition. `where`: for whoever reads the finding. */
  next(identity: Identity, record: AnyRecord, where: string): void;
}

export function createOutputOrder({ ground, found, counts, putBacks }: OutputContext): OutputOrder {
  const commands = ground.after.get(ground.topics.commands)?.values() ?? [];
  const isCommandTopicCut = [...commands].some(({ low }) => low > 0n);
  const newest = new Map<string, { readonly offset: bigint; readonly rank: number; readonly name: string }>();
  return {
    next(identity, { key }, where) {
      const cause = identity.stood ?? (identity.root.derived ? undefined : identity.root);
      // An answer goes where its caller is, whatever shard it is of.
      if (cause === undefined || identity.kind === 'answer' || putBacks.has(identity.origin)) return;
      const home =
        identity.stood !== undefined
          ? ''
          : key === null
            ? '-'
            : `${partitionFor(key, ground.journal.deployment.shards)}`;
      const way = `${cause.topic}/${cause.partition} ${home} ${identity.service}`;
      const before = newest.get(way);
      const rank = rankOf(identity);
      const name = `${identity.kind} ${identity.id}`;
      const isInOrder =
        before === undefined || before.offset < cause.offset || (before.offset === cause.offset && before.rank <= rank);
      if (isInOrder) newest.set(way, { offset: cause.offset, rank, name });
      else if (isCommandTopicCut) counts.unordered++;
      else {
        found.find({
          what: 'an output is out of order',
          where,
          found: `${name} after ${before.name}`,
          expected: 'the order of the input',
        });
      }
    },
  };
}

/** The order of one command's outputs on one topic (engine/decide.ts). */
function rankOf({ kind, id }: Identity): number {
  if (kind === 'event') return Number(id.slice(id.lastIndexOf('-') + 1));
  return kind === 'state' ? Number.MAX_SAFE_INTEGER - 1 : Number.MAX_SAFE_INTEGER;
}
