import { InvalidArgumentError } from 'commander';
import type { EntityPick, JournalThing, PlaceOfRecord, Point } from './context.ts';

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** What JavaScript's Date can hold, in ms. */
const MAX_MS = 8.64e15;
const SEQ = /^\d{1,15}$/;
const PLACE = /^([^/#]+)\/(\d{1,9})\/(\d{1,18})$/;
/** `topic/partition/offset`, and what it may have behind it: model/command.ts. */
const COMMAND = /^[^/#]+\/\d{1,9}\/\d{1,18}(?:#\d+(?:@[^/#]+)?)*$/;

/**
 * A span back from now, or a time: milliseconds since the epoch.
 * @throws InvalidArgumentError for text that is neither.
 */
export function timeOf(text: string): number {
  const at = readTime(text);
  if (at !== undefined) return at;
  throw new InvalidArgumentError('It is neither a span such as 30m, 2h or 7d nor a time such as 2026-01-31T12:00:00Z.');
}

/**
 * A time as `timeOf` reads it, or a sequence number.
 * @throws InvalidArgumentError for text that is neither.
 */
export function pointOf(text: string): Point {
  if (SEQ.test(text)) return { kind: 'seq', seq: Number(text) };
  const at = readTime(text);
  if (at !== undefined) return { kind: 'time', at };
  throw new InvalidArgumentError(
    'It is neither a sequence number, a span such as 30m, 2h or 7d, nor a time such as 2026-01-31T12:00:00Z.',
  );
}

/**
 * A point as `pointOf` reads it, or `topic/partition/offset`.
 * @throws InvalidArgumentError for text that is neither.
 */
export function momentOf(text: string): Point | ({ readonly kind: 'record' } & PlaceOfRecord) {
  const place = PLACE.exec(text);
  if (place !== null) {
    const [, topic, partition, offset] = place as unknown as [string, string, string, string];
    return { kind: 'record', topic, partition: Number(partition), offset: BigInt(offset) };
  }
  if (!text.includes('/')) return pointOf(text);
  throw new InvalidArgumentError('It is no record: give it as topic/partition/offset, for example orders/3/41.');
}

/**
 * The id of a command: the record that it came of, and its steps of derivation.
 * @throws InvalidArgumentError for text that is none.
 */
export function commandOf(text: string): string {
  if (COMMAND.test(text)) return text;
  throw new InvalidArgumentError(
    'It is no record and no command: give it as topic/partition/offset, with #n for each derivation, for example orders/3/41#1.',
  );
}

/**
 * A command's id, or an entity and the number of its event behind an @.
 * @throws InvalidArgumentError for text that is neither.
 */
export function thingOf(text: string): JournalThing {
  if (COMMAND.test(text)) return { kind: 'command', id: text };
  const [, entityId, seq] = /^(.+)@(\d{1,15})$/s.exec(text) ?? [];
  if (entityId !== undefined && Number(seq) >= 1) return { kind: 'event', entityId, seq: Number(seq) };
  throw new InvalidArgumentError(
    'It is none of: a record or command such as orders/3/41 or orders/3/41#1; an event of an entity such as cart-17@3.',
  );
}

/**
 * An entity id, or with a * behind it, what ids begin with; \\* is the star itself.
 * @throws InvalidArgumentError for no id.
 */
export function entityPickOf(text: string): EntityPick {
  if (text === '' || text.includes('\0')) throw new InvalidArgumentError('It is empty.');
  if (text.endsWith('\\*')) return { id: `${text.slice(0, -2)}*` };
  return text.endsWith('*') ? { prefix: text.slice(0, -1) } : { id: text };
}

function readTime(text: string): number | undefined {
  const span = /^(\d{1,9})([smhd])$/.exec(text);
  if (span !== null) return Date.now() - Number(span[1]) * (UNITS_MS[span[2] as string] as number);
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) || Math.abs(at) > MAX_MS ? undefined : at;
}
