import type { InputRecord, OutputRecord } from '../model/record.ts';
import { DEAD_LETTER_HEADERS } from './header-names.ts';

/** A dead letter's sentence is cut here, in characters: a function's own text may be of any length. */
export const MAX_SENTENCE = 2_000;

const REPLACED: ReadonlySet<string> = new Set(Object.values(DEAD_LETTER_HEADERS));

/**
 * A record that was given up, for the dead-letter topic: the original key and value bytes, all the original headers
 * (repeated ones too), and the headers of DEAD_LETTER_HEADERS that say why and where from. Those of an earlier failure
 * are replaced, so a record that fails again and again does not grow.
 *
 * A record that is too large even for the dead-letter topic goes without its value, and where that is not enough without
 * its headers and its key; a header says so. It stands where the other headers say, for as long as its topic keeps it.
 */
export function deadLetter({
  record,
  topic,
  partition,
  error,
  service,
  method,
  at,
  fits = () => true,
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
  /** Whether the dead-letter topic takes a record of this size. */
  readonly fits?: (letter: OutputRecord) => boolean;
}): OutputRecord {
  const original: [string, string | Uint8Array][] = [];
  for (const [name, given] of Object.entries(record.headers)) {
    if (given === undefined || REPLACED.has(name)) continue;
    for (const value of Array.isArray(given) ? given : [given]) original.push([name, value]);
  }
  const reason: [string, string][] = [
    [DEAD_LETTER_HEADERS.code, error.code],
    [DEAD_LETTER_HEADERS.sentence, cut(error.message)],
    [DEAD_LETTER_HEADERS.topic, record.topic],
    [DEAD_LETTER_HEADERS.partition, String(record.partition)],
    [DEAD_LETTER_HEADERS.offset, String(record.offset)],
    [DEAD_LETTER_HEADERS.timestamp, String(record.timestamp)],
    [DEAD_LETTER_HEADERS.failedAt, String(at)],
  ];
  if (service !== undefined) reason.push([DEAD_LETTER_HEADERS.service, service]);
  if (method !== undefined) reason.push([DEAD_LETTER_HEADERS.method, method]);
  const { key, value } = record;
  const whole = { topic, partition, key, value, headers: [...original, ...reason] };
  if (fits(whole)) return whole;
  const without = (parts: string): [string, string] => [DEAD_LETTER_HEADERS.leftOut, parts];
  const valueless = { ...whole, value: null, headers: [...whole.headers, without('value')] };
  if (fits(valueless)) return valueless;
  const bare = { ...valueless, headers: [...reason, without('value, headers')] };
  if (fits(bare)) return bare;
  return { ...bare, key: null, headers: [...reason, without('value, headers, key')] };
}

function cut(sentence: string): string {
  if (sentence.length <= MAX_SENTENCE) return sentence;
  // Not between the two halves of a character outside the basic plane.
  return `${sentence.slice(0, MAX_SENTENCE).replace(/[\ud800-\udbff]$/, '')}…`;
}
