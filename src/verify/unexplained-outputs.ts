import { partitionFor } from '../topics/partition.ts';
import { beyondApplied } from './check-sequences.ts';
import type { Finding } from './findings.ts';
import type { AnyRecord, Identity } from './identity.ts';
import type { OutputContext, OutputPass } from './output-context.ts';

/**
 * What is wrong with an output that neither the outbox nor an event has, though its headers are those of one; undefined where it may be
 * older than what the journal keeps.
 */
export async function unexplained(
  context: OutputContext,
  { lanes }: Pick<OutputPass, 'lanes'>,
  identity: Identity,
  record: AnyRecord,
  place: { readonly topic: string; readonly partition: number },
): Promise<Pick<Finding, 'found' | 'expected'> | undefined> {
  const { ground, covered, journaled } = context;
  const name = `${identity.kind} ${identity.id}`;
  const beyond = beyondApplied(identity.origin, ground.shards);
  if (beyond !== undefined) return { found: name, expected: beyond.expected };
  const shard = shardOf(context, identity, record);
  if (covered.isWhole() || (shard !== undefined && mustHave(shard))) {
    return { found: name, expected: 'the outbox to have it, which keeps what was journaled then' };
  }
  if (identity.kind === 'event' && journaled.eventTopics.has(place.topic)) {
    const entityId = record.key === null ? '' : Buffer.from(record.key).toString();
    if (!(await ground.journal.hasEventOf(journaled.eventTypes, entityId, identity.origin))) {
      return { found: name, expected: 'the journal to have an event of this command' };
    }
  }
  return undefined;

  /** What the outbox has of the shard begins before this output: it follows one that the outbox has, or its cause is covered. */
  function mustHave(shard: number): boolean {
    const lane = lanes.find('outbox', shard, place.topic, place.partition);
    if (covered.isReadable(shard) && lane !== undefined && lane.last !== -1) return true;
    const { stood, root } = identity;
    const cause = stood ?? (root.derived || root.partition !== shard ? undefined : root);
    return cause !== undefined && covered.has(shard, cause.topic, cause.offset);
  }
}

/** The shard that wrote an output, where that can be told. */
function shardOf({ ground, putBacks }: OutputContext, identity: Identity, { key }: AnyRecord): number | undefined {
  const { kind, stood, root, origin, service } = identity;
  if (kind === 'put back' || kind === 'answer' || (stood !== undefined && putBacks.has(origin))) return undefined;
  if (stood !== undefined) return stood.partition;
  if (kind === 'command') return root.derived ? undefined : root.partition;
  const component = ground.components.get(service);
  if (component === undefined) return undefined;
  if (component.kind === 'action' && !root.derived) return root.partition;
  return key === null ? 0 : partitionFor(key, ground.journal.deployment.shards);
}
