import { decodeReplicatedDelta } from '../codec/replicated-record.ts';
import { StateferryError } from '../errors.ts';
import type { Payload } from '../model/payload.ts';
import type { ReplicatedDelta } from '../model/replicated.ts';
import { fold } from '../replicated/fold.ts';
import { partitionFor } from '../topics/partition.ts';
import { rootOf } from '../verify/identity.ts';
import { eventsOf } from './events.ts';
import { locateRecord, type RecordPlace } from './locate-record.ts';
import { replicatedToJson } from './replicated-json.ts';
import type { History, KnownComponent } from './scope.ts';
import { rootTextOf } from './stories.ts';

/** A moment in the life of an entity. */
export type Moment =
  | { readonly kind: 'seq'; readonly seq: number }
  | { readonly kind: 'time'; readonly at: Date }
  /** When this record had taken effect, and what came after it had not. */
  | ({ readonly kind: 'record' } & RecordPlace);

/** How an entity with events comes to its state at a moment. */
export interface StateSource {
  /** The last event that counts; 0: there was none yet. */
  readonly seq: number;
  /** The last event that there is. */
  readonly last: number;
  /** The newest snapshot, where it is not of later. */
  readonly snapshot: { readonly seq: number; readonly payload: Payload; readonly at: Date } | undefined;
  /** Events up to this one count no more: the entity was deleted. */
  readonly voidThrough: number;
  /** Events up to this one are there no more: retention has removed them. */
  readonly removedThrough: number;
  /** That it was deleted, and has no event since. */
  readonly isDeleted: boolean;
}

/**
 * Finds how far events and snapshot lead to the state of an entity at a moment.
 * @throws StateferryError OPERATION_REFUSED for a moment outside of its history, or for which retention has removed the events.
 */
export async function stateSourceAt(
  history: History,
  key: { readonly entityType: string; readonly entityId: string },
  moment: Moment | undefined,
): Promise<StateSource> {
  const { db, generation } = history;
  const { rows } = await db.query<{
    first: Date;
    last: number;
    void_through: number;
    removed_through: number;
    snapshot_seq: number | null;
    type_url: string;
    payload: Buffer;
    at: Date;
  }>(
    `select f.at as first, l.seq as last, coalesce(d.seq, 0) as void_through, coalesce(s.removed_through, 0) as removed_through,
       s.seq as snapshot_seq, s.type_url, s.payload, s.at
     from (select at from event where generation = $1 and entity_type = $2 and entity_id = $3 order by seq limit 1) f
     cross join (select seq from event where generation = $1 and entity_type = $2 and entity_id = $3 order by seq desc limit 1) l
     left join voided d on d.generation = $1 and d.entity_type = $2 and d.entity_id = $3
     left join snapshot s on s.generation = $1 and s.entity_type = $2 and s.entity_id = $3`,
    [generation, key.entityType, key.entityId],
  );
  const [row] = rows;
  if (row === undefined) throw refused(`"${key.entityId}" of "${key.entityType}" has no events.`);
  const seq = moment === undefined ? row.last : await seqAt(history, key, moment, row);
  // What an earlier life came to be before its deletion was due is its state then.
  const voidThrough = seq > row.void_through ? row.void_through : moment === undefined ? row.void_through : 0;
  const removed = row.removed_through;
  const snapshotSeq = row.snapshot_seq ?? 0;
  if (removed > voidThrough && seq > 0 && seq < snapshotSeq) {
    throw refused(
      `retention has removed the events of "${key.entityId}" up to ${removed}: its states before event ${snapshotSeq}, where its snapshot is, cannot be made any more. Choose a later moment.`,
    );
  }
  const hasSnapshot = row.snapshot_seq !== null && row.snapshot_seq <= seq && row.snapshot_seq > voidThrough;
  return {
    seq,
    last: row.last,
    voidThrough,
    removedThrough: removed,
    isDeleted: voidThrough >= seq && seq > 0,
    snapshot: hasSnapshot
      ? { seq: row.snapshot_seq as number, payload: { typeUrl: row.type_url, value: row.payload }, at: row.at }
      : undefined,
  };
}

async function seqAt(
  history: History,
  key: { readonly entityType: string; readonly entityId: string },
  moment: Moment,
  {
    first,
    last,
    removed_through: removed,
  }: { readonly first: Date; readonly last: number; readonly removed_through: number },
): Promise<number> {
  if (moment.kind === 'seq') {
    if (moment.seq <= last) return moment.seq;
    throw refused(`"${key.entityId}" has ${last} events, and --at names number ${moment.seq}.`);
  }
  if (moment.kind === 'time') {
    if (moment.at >= first) return lastBefore(history, key, moment.at);
    if (removed > 0) {
      throw refused(
        `retention has removed the events of "${key.entityId}" up to ${removed}: the oldest one that is there is of ${first.toISOString()}, and --at names ${moment.at.toISOString()}, before it.`,
      );
    }
    throw refused(
      `"${key.entityId}" has its first event of ${first.toISOString()}, and --at names ${moment.at.toISOString()}, before it.`,
    );
  }
  return seqAfterRecord(history, key, moment);
}

async function lastBefore(
  { db, generation }: History,
  { entityType, entityId }: { readonly entityType: string; readonly entityId: string },
  at: Date,
): Promise<number> {
  const { rows } = await db.query<{ seq: number }>(
    `select coalesce(max(seq), 0) as seq from event
     where generation = $1 and entity_type = $2 and entity_id = $3 and date_trunc('milliseconds', at) <= $4`,
    [generation, entityType, entityId, at],
  );
  return rows[0]?.seq ?? 0;
}

/**
 * The last event that the entity had when a record had taken effect: that of the record or what derives from it, where
 * there is one; else the last one before the chunk of the record or, in it, before what came of later records of its topic.
 */
async function seqAfterRecord(
  history: History,
  key: { readonly entityType: string; readonly entityId: string },
  record: RecordPlace,
): Promise<number> {
  const chunk = await locateRecord(history, record);
  const { db, generation } = history;
  const root = `${record.topic}/${record.partition}/${record.offset}`;
  const { rows: own } = await db.query<{ seq: number | null }>(
    `select max(seq) as seq from event
     where generation = $1 and entity_type = $2 and entity_id = $3 and split_part(command_id, '#', 1) = $4`,
    [generation, key.entityType, key.entityId, root],
  );
  if (typeof own[0]?.seq === 'number') return own[0].seq;
  if (chunk === undefined) {
    throw refused(
      `the journal does not reach back to the chunk that applied ${root}. Name a time or a sequence number.`,
    );
  }
  if (chunk.shard !== partitionFor(Buffer.from(key.entityId), history.shards))
    return lastBefore(history, key, chunk.at);
  const before = chunk.before?.shardSeq ?? 0;
  const values = [generation, key.entityType, key.entityId, before];
  const { rows } = await db.query<{ seq: number; command_id: string }>(
    `select seq, command_id from event
     where generation = $1 and entity_type = $2 and entity_id = $3 and shard_seq > $4 and shard = $5 and shard_seq <= $6
     order by seq`,
    [...values, chunk.shard, chunk.shardSeq],
  );
  const later = rows.find((row) => {
    const of = rootOf(rootTextOf(row.command_id));
    return of?.topic === record.topic && of.partition === record.partition && of.offset > record.offset;
  });
  if (later !== undefined) return later.seq - 1;
  if (rows.length > 0) return rows.at(-1)?.seq ?? 0;
  const { rows: earlier } = await db.query<{ seq: number }>(
    `select seq from event where generation = $1 and entity_type = $2 and entity_id = $3 and shard_seq <= $4
     order by seq desc limit 1`,
    values,
  );
  return earlier[0]?.seq ?? 0;
}

/**
 * The value of a replicated entity, compact JSON, as the runtime makes it of its events; undefined: it has none.
 * @throws StateferryError ENTITY_UNREADABLE for events that are no replicated entity's.
 */
export async function replicatedValueAt(
  history: History,
  component: KnownComponent,
  entityId: string,
  { seq, snapshot, voidThrough }: StateSource,
): Promise<string | undefined> {
  const deltas: ReplicatedDelta[] = snapshot === undefined ? [] : [decodeReplicatedDelta(snapshot.payload)];
  const key = { entityType: component.entityType, entityId };
  for await (const { payload } of eventsOf(history, key, snapshot?.seq ?? voidThrough, seq)) {
    deltas.push(decodeReplicatedDelta(payload));
  }
  const data = fold(deltas);
  return data && JSON.stringify(replicatedToJson(data, (payload) => history.payloads.read(payload)));
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
