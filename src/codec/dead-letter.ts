import type { InputRecord, OutputRecord } from '../model/record.ts';
import { DEAD_LETTER_HEADERS } from './header-names.ts';

/** A dead letter's sentence is cut here, in characters: a function's own text may be of any length. */
export const MAX_SENTENCE = 2_000;

const REPLACED: ReadonlySet<string> = new Set(Object.values(DEAD_LETTER_HEADERS));

/**
 * A record that was given up, for the dead-letter topic: the original key and value bytes, all the original headers
 * (repeated ones too), and the headers of DEAD_LETTER_HEADERS that say why and where from. Those of an earlier failure
 * are replaced, so a record that fails again and again does not grow.
 */
export function deadLetter({
  record,
  topic,
  partition,
  error,
  service,
  method,
  at,
}: {
  readonly record: InputRecord;
  /** The dead-letter topic, and the partition of it to write to. */
  readonly topic: string;
  readonly partition: number;
  readonly error: { readonly code: string; readonly message: string };
  /** Whose it would have been, as far as that is known. */
  readonly service?: string;
  readonly method?: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}): OutputRecord {
  const headers: [string, string | Uint8Array][] = [];
  for (const [name, given] of Object.entries(record.headers)) {
    if (given === undefined || REPLACED.has(name)) continue;
    for (const value of Array.isArray(given) ? given : [given]) headers.push([name, value]);
  }
  headers.push(
    [DEAD_LETTER_HEADERS.code, error.code],
    [DEAD_LETTER_HEADERS.sentence, cut(error.message)],
    [DEAD_LETTER_HEADERS.topic, record.topic],
    [DEAD_LETTER_HEADERS.partition, String(record.partition)],
    [DEAD_LETTER_HEADERS.offset, String(record.offset)],
    [DEAD_LETTER_HEADERS.timestamp, String(record.timestamp)],
    [DEAD_LETTER_HEADERS.failedAt, String(at)],
  );
  if (service !== undefined) headers.push([DEAD_LETTER_HEADERS.service, service]);
  if (method !== undefined) headers.push([DEAD_LETTER_HEADERS.method, method]);
  return { topic, partition, key: record.key, value: record.value, headers };
}

function cut(sentence: string): string {
  if (sentence.length <= MAX_SENTENCE) return sentence;
  // Not between the two halves of a character outside the basic plane.
  return `${sentence.slice(0, MAX_SENTENCE).replace(/[\ud800-\udbff]$/, '')}…`;
}
