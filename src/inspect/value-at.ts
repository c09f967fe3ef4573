import { StateferryError } from '../errors.ts';
import type { Payload } from '../model/payload.ts';
import { rootOf } from '../verify/identity.ts';
import { locateRecord } from './locate-record.ts';
import type { History } from './scope.ts';
import type { Moment } from './state-at.ts';
import { rootTextOf } from './stories.ts';

/** What a value was from one change on, until the next. */
export interface ValueChange {
  /** Its number among the changes of this value, from 1 on. */
  readonly revision: number;
  readonly shard: number;
  readonly chunk: number;
  /** Undefined: deleted. */
  readonly payload: Payload | undefined;
  readonly commandId: string;
  readonly at: Date;
}

interface Row {
  readonly revision: number;
  readonly shard: number;
  readonly chunk: number;
  readonly type_url: string | null;
  readonly payload: Buffer | null;
  readonly command_id: string;
  readonly at: Date;
}

const COLUMNS = 'revision, shard, chunk, type_url, payload, command_id, at';
/** Changes of one value that are looked at together, newest first. */
const PAGE = 100;

/**
 * What a value is, or was at a moment, and the number of its last change.
 * @throws StateferryError OPERATION_REFUSED for a moment outside of its history, or of which the journal does not keep what it was.
 */
export async function valueAt(
  history: History,
  { entityType, entityId }: { readonly entityType: string; readonly entityId: string },
  moment: Moment | undefined,
): Promise<{ readonly change: ValueChange; readonly last: number }> {
  const { db, generation } = history;
  const key = [generation, entityType, entityId] as const;
  const { rows } = await db.query<Row>(
    `select ${COLUMNS} from value where generation = $1 and entity_type = $2 and entity_id = $3`,
    [...key],
  );
  const present = rows[0] && changeOf(rows[0]);
  if (present === undefined) throw refused(`"${entityId}" of "${entityType}" has no value.`);
  const last = present.revision;
  if (moment === undefined) return { change: present, last };
  if (moment.kind === 'seq' && moment.seq > last) {
    throw refused(`"${entityId}" has ${last} revisions, and --at names number ${moment.seq}.`);
  }
  const counts = await judgeOf(history, moment, present.shard);
  if (counts(present)) return { change: present, last };
  let oldest = present;
  for (;;) {
    const page = await db.query<Row>(
      `select ${COLUMNS} from value_revision
       where generation = $1 and entity_type = $2 and entity_id = $3 and revision < $4 order by revision desc limit ${PAGE}`,
      [...key, oldest.revision],
    );
    for (const row of page.rows) {
      const change = changeOf(row);
      // One was not kept between them.
      if (change.revision !== oldest.revision - 1) break;
      oldest = change;
      if (counts(change)) return { change, last };
    }
    if (page.rows.length < PAGE || page.rows.at(-1)?.revision !== oldest.revision) break;
  }
  if (oldest.revision === 1) {
    throw refused(
      `"${entityId}" has its first value of ${oldest.at.toISOString()}, and --at names a moment before it.`,
    );
  }
  const kept =
    oldest === present
      ? `the present one alone: revision ${last}`
      : `those from revision ${oldest.revision} to ${last}, the first of them`;
  throw refused(
    `of the values that "${entityId}" has had the journal keeps ${kept} of ${oldest.at.toISOString()}. Choose a later moment, or leave --at out; ` +
      'with journal.keepValues, what comes from then on is kept.',
  );
}

/** Tells whether a change had been made at a moment. */
async function judgeOf(history: History, moment: Moment, shard: number): Promise<(change: ValueChange) => boolean> {
  if (moment.kind === 'seq') return ({ revision }) => revision <= moment.seq;
  if (moment.kind === 'time') return ({ at }) => at <= moment.at;
  const chunk = await locateRecord(history, moment);
  // It is from before the journal noted what was applied.
  if (chunk === undefined) return () => false;
  // Shards have no order in common but time.
  if (chunk.shard !== shard) return ({ at }) => at < chunk.at;
  return (change) => {
    if (change.chunk !== chunk.chunk) return change.chunk < chunk.chunk;
    const wrote = rootOf(rootTextOf(change.commandId));
    const isOfLater =
      wrote?.topic === moment.topic && wrote.partition === moment.partition && wrote.offset > moment.offset;
    return !isOfLater;
  };
}

function changeOf({ revision, shard, chunk, type_url, payload, command_id: commandId, at }: Row): ValueChange {
  const isDeleted = type_url === null || payload === null;
  return {
    revision,
    shard,
    chunk,
    payload: isDeleted ? undefined : { typeUrl: type_url, value: payload },
    commandId,
    at,
  };
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
