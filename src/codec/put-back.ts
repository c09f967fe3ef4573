import type { CommandId } from '../model/command.ts';
import type { Place } from '../model/control.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import { NUDGE_HEADER, ORIGIN_HEADER, PLACE_HEADER, PUT_BACK_HEADER } from './header-names.ts';

const PUT_BACK = /^(.+)\/(\d+)\/(\d+)\/(-?\d+)$/;
const PLACE = /^(\d+)\/(\d+)$/;

/** A record of the command topic that is another record once more. */
export interface PutBack {
  /** The record as it came first: its own topic, partition, offset, timestamp and headers. */
  readonly record: InputRecord;
  /** It was parked, here. */
  readonly place: Place | undefined;
}

/**
 * A record that is to be handled once more, for the command topic: its bytes, key and headers as they were, behind a
 * header that names its command, and before one that says which record it is, `topic/partition/offset/timestamp`. So the
 * command keeps its identity, and is decoded as the records of its own topic are.
 */
export function putBack(
  record: InputRecord,
  to: { readonly topic: string; readonly partition: number; readonly commandId: CommandId },
): OutputRecord {
  const headers: [string, string | Uint8Array][] = [[ORIGIN_HEADER, to.commandId]];
  for (const [name, given] of Object.entries(record.headers)) {
    if (given === undefined || name === PUT_BACK_HEADER || name === PLACE_HEADER) continue;
    for (const value of Array.isArray(given) ? given : [given]) headers.push([name, value]);
  }
  const { topic, partition, offset, timestamp } = record;
  headers.push([PUT_BACK_HEADER, `${topic}/${partition}/${offset}/${timestamp}`]);
  return { topic: to.topic, partition: to.partition, key: record.key, value: record.value, headers };
}

/** A record that is put back from its place among the parked ones. */
export function fromPlace(record: OutputRecord, { chunk, ordinal }: Place): OutputRecord {
  return { ...record, headers: [...record.headers, [PLACE_HEADER, `${chunk}/${ordinal}`]] };
}

/** What a record of the command topic was before it was put back; undefined for one that was not. */
export function readPutBack(record: InputRecord): PutBack | undefined {
  const { [PUT_BACK_HEADER]: what, [PLACE_HEADER]: where, [ORIGIN_HEADER]: origins, ...others } = record.headers;
  const from = what === undefined ? null : PUT_BACK.exec(String(what));
  if (from === null) return undefined;
  const [, topic, partition, offset, timestamp] = from as unknown as [string, string, string, string, string];
  // The first is ours; the record may have come with others.
  const own = Array.isArray(origins) ? origins.slice(1) : [];
  const headers: InputRecord['headers'] =
    own.length === 0 ? others : { ...others, [ORIGIN_HEADER]: own.length === 1 ? own[0] : own };
  const place = where === undefined ? null : PLACE.exec(String(where));
  return {
    record: {
      topic,
      partition: Number(partition),
      offset: BigInt(offset),
      timestamp: Number(timestamp),
      key: record.key,
      value: record.value,
      headers,
    },
    place: place === null ? undefined : { chunk: Number(place[1]), ordinal: Number(place[2]) },
  };
}

/**
 * A record that says nothing. A chunk's position is what tells whether Kafka has its outputs, so what operators ask for
 * needs an input record to be journaled with; where none comes, the owner sends itself this one.
 */
export function nudge(topic: string, partition: number): OutputRecord {
  return { topic, partition, key: null, value: null, headers: [[NUDGE_HEADER, '1']] };
}

export function isNudge(record: InputRecord): boolean {
  return record.value === null && record.headers[NUDGE_HEADER] !== undefined;
}
