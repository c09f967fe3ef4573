import type { Positions } from '../model/record.ts';
import { partitionFor } from '../topics/partition.ts';
import { type CheckResult, gather, number } from './findings.ts';
import { rootOf } from './identity.ts';
import type { EntityEventRow, EventRow, JournalView, ShardRow } from './journal.ts';
import type { Steps } from './steps.ts';

/** Journal against itself: sequences of entities and shards, epochs, owners, and causes that are below `applied`. */
export async function checkSequences(
  journal: JournalView,
  { shards, steps }: { readonly shards: ReadonlyMap<number, ShardRow>; readonly steps: Steps },
): Promise<CheckResult> {
  const found = gather('sequences');
  const count = journal.deployment.shards;
  const homeOf = (entityId: string) => partitionFor(Buffer.from(entityId), count);
  let entities = 0;
  let events = 0;

  const removed = await journal.removedEvents();
  let entity: EntityEventRow | undefined;
  for await (const event of journal.eventsByEntity()) {
    steps.count('events');
    events++;
    const where = entityOf(event);
    const follows = entity?.entityType === event.entityType && entity.entityId === event.entityId;
    if (!follows) entities++;
    const expected = (follows ? (entity?.seq ?? 0) : event.removedThrough) + 1;
    if (event.seq !== expected) {
      found.find({
        what: 'the event sequence has a gap',
        where,
        found: `after event ${expected - 1}, event ${event.seq}`,
        expected: `event ${expected}`,
      });
    }
    if (follows && entity !== undefined && event.epoch < entity.epoch) {
      found.find({
        what: 'an epoch goes down',
        where: `${where}, event ${event.seq}`,
        found: `epoch ${event.epoch} after epoch ${entity.epoch}`,
        expected: `at least ${entity.epoch}`,
      });
    }
    const home = homeOf(event.entityId);
    if (event.shard !== home) {
      found.find({
        what: 'an event was written by a shard that the entity does not belong to',
        where: `${where}, event ${event.seq}`,
        found: `shard ${event.shard}`,
        expected: `shard ${home}`,
      });
    }
    entity = event;
  }

  let before: EventRow | undefined;
  const last = new Map<number, number>();
  /** Numbers of each shard that no event has, where retention may have removed it. */
  const absent = new Map<number, number>();
  for await (const event of journal.eventsByShard()) {
    steps.count('events');
    const row = shards.get(event.shard);
    const where = `shard ${event.shard}, event ${event.shardSeq} (${entityOf(event)}, event ${event.seq})`;
    const follows = before?.shard === event.shard;
    const expected = follows ? (before?.shardSeq ?? 0) + 1 : 1;
    const gap = event.shardSeq - expected;
    if (gap > 0 && event.shardSeq - 1 <= (removed.get(event.shard)?.through ?? 0)) {
      absent.set(event.shard, (absent.get(event.shard) ?? 0) + gap);
    } else if (gap !== 0) {
      found.find({
        what: "the shard's sequence has a gap",
        where: `shard ${event.shard}`,
        found: `after event ${expected - 1}, event ${event.shardSeq}`,
        expected: `event ${expected}`,
      });
    }
    if (follows && before !== undefined && event.epoch < before.epoch) {
      found.find({
        what: 'an epoch goes down',
        where,
        found: `epoch ${event.epoch} after epoch ${before.epoch}`,
        expected: `at least ${before.epoch}`,
      });
    }
    if (row === undefined || event.epoch > row.epoch) {
      found.find({
        what: 'an event has an epoch that its shard never had',
        where,
        found: `epoch ${event.epoch}`,
        expected: row === undefined ? 'a row of the shard' : `at most ${row.epoch}`,
      });
    }
    const beyond = row === undefined ? undefined : beyondApplied(event.commandId, shards);
    if (beyond !== undefined) found.find({ what: 'an event of a record that is not applied', where, ...beyond });
    last.set(event.shard, event.shardSeq);
    before = event;
  }
  let removedEvents = 0;
  for (const [shard, { events: count, through }] of removed) {
    removedEvents += count;
    const missing = absent.get(shard) ?? 0;
    if (missing === count) continue;
    found.find({
      what: 'the events that are not there are not those that retention has removed',
      where: `shard ${shard}, up to event ${through}`,
      found: `${number(missing)} missing`,
      expected: `${number(count)}, as many as it removed`,
    });
  }
  for (const { shard, shardSeq } of shards.values()) {
    const kept = last.get(shard) ?? 0;
    if (kept < shardSeq) {
      found.find({
        what: "the shard's last events are missing",
        where: `shard ${shard}`,
        found: kept === 0 ? 'no events' : `event ${kept} as the last`,
        expected: `event ${shardSeq} as the last`,
      });
    } else if (kept > shardSeq) {
      found.find({
        what: 'the shard has events beyond its last one',
        where: `shard ${shard}`,
        found: `event ${kept}`,
        expected: `event ${shardSeq} as the last`,
      });
    }
  }
  for (const { entityType, entityId, seq, last: newest } of await journal.strangeSnapshots()) {
    found.find({
      what: 'a snapshot is of an event that is not there',
      where: `${entityType} "${entityId}"`,
      found: `a snapshot of event ${seq}`,
      expected: `at most event ${newest}, the last one`,
    });
  }
  const feeds = await journal.feeds();
  for (const { name, source, entityType, shard, position, through } of feeds) {
    const { shardSeq = 0, chunk = 0 } = shards.get(shard) ?? {};
    const [at, end, what] =
      source === 'value' ? [Math.max(position, through), chunk, 'chunk'] : [position, shardSeq, 'event'];
    if (at <= end) continue;
    found.find({
      what: 'a feed is further than its shard',
      where: `feed "${name}" of ${entityType}, shard ${shard}`,
      found: `${what} ${at}`,
      expected: `at most ${what} ${end}, the last one`,
    });
  }
  let values = 0;
  for await (const { entityType, entityId, shard, epoch, commandId } of journal.values()) {
    values++;
    const where = `${entityType} "${entityId}"`;
    const row = shards.get(shard);
    if (shard !== homeOf(entityId) || row === undefined || epoch > row.epoch) {
      found.find({
        what: 'a value was written by an owner that there never was',
        where,
        found: `shard ${shard}, epoch ${epoch}`,
        expected: `shard ${homeOf(entityId)}, epoch ${row?.epoch ?? 0} at most`,
      });
    }
    const beyond = beyondApplied(commandId, shards);
    if (beyond !== undefined) found.find({ what: 'a value of a record that is not applied', where, ...beyond });
  }
  return found.result({
    compared:
      `${number(events)} events of ${number(entities)} entities, ${number(values)} values` +
      (feeds.length === 0 ? '' : `, ${number(feeds.length)} positions of feeds`),
    claim: 'sequences are dense, epochs never go down, each entity is of one shard',
    counts: { events, entities, values },
    reach:
      removedEvents === 0
        ? []
        : [`events below snapshots that retention has removed, known by their number: ${number(removedEvents)}`],
  });
}

function entityOf({ entityType, entityId }: Pick<EventRow, 'entityType' | 'entityId'>): string {
  return `${entityType} "${entityId}"`;
}

/** What to say of a command whose record the journal has not applied; undefined for one that it has. */
export function beyondApplied(
  commandId: string,
  shards: ReadonlyMap<number, { readonly applied: Positions }>,
): { found: string; expected: string } | undefined {
  const root = rootOf(commandId);
  if (root === undefined) return { found: `command "${commandId}"`, expected: 'topic/partition/offset of a record' };
  const applied = shards.get(root.partition)?.applied[root.topic];
  // A topic that is read no more has no position.
  if (applied === undefined || root.offset < applied) return undefined;
  return {
    found: `command ${commandId}`,
    expected: `an offset below ${applied}, up to where "${root.topic}" partition ${root.partition} is applied`,
  };
}
