import type { InputRecord } from '../model/record.ts';
import { DEAD_LETTER_HEADERS } from './header-names.ts';

/** A dead letter as it stands on its topic: what failed and why, and the record as it was. */
export interface Letter {
  readonly code: string;
  readonly error: string;
  readonly service: string | undefined;
  readonly method: string | undefined;
  /** Milliseconds since the epoch; undefined where the header is missing or holds no time. */
  readonly failedAt: number | undefined;
  /** The record as it came: its own topic, partition, offset, timestamp and headers. */
  readonly record: InputRecord;
  /** What of it the dead-letter topic did not take; undefined: nothing. */
  readonly leftOut: string | undefined;
}

/** A partition, which Kafka holds in 31 bits, and an offset, in 63. */
const PARTITION = /^\d{1,9}$/;
const OFFSET = /^-?\d{1,18}$/;
/** Milliseconds since the epoch; a record without a timestamp has -1. */
const TIME = /^-?\d{1,15}$/;

const OWN: ReadonlySet<string> = new Set(Object.values(DEAD_LETTER_HEADERS));

/** Reads what `deadLetter` wrote. Undefined: the record is no dead letter. */
export function readLetter(record: InputRecord): Letter | undefined {
  const text = (name: keyof typeof DEAD_LETTER_HEADERS): string | undefined => {
    const given = record.headers[DEAD_LETTER_HEADERS[name]];
    return given === undefined ? undefined : String(given);
  };
  const [code, topic, partition, offset] = [text('code'), text('topic'), text('partition'), text('offset')];
  const isLetter =
    code !== undefined && topic !== undefined && PARTITION.test(partition ?? '') && OFFSET.test(offset ?? '');
  if (!isLetter) return undefined;
  const headers = Object.fromEntries(Object.entries(record.headers).filter(([name]) => !OWN.has(name)));
  const time = (name: 'failedAt' | 'timestamp'): number | undefined => {
    const given = text(name);
    return given !== undefined && TIME.test(given) ? Number(given) : undefined;
  };
  return {
    code,
    error: text('sentence') ?? '',
    service: text('service'),
    method: text('method'),
    failedAt: time('failedAt'),
    leftOut: text('leftOut'),
    record: {
      topic,
      partition: Number(partition),
      offset: BigInt(offset ?? 0),
      timestamp: time('timestamp') ?? record.timestamp,
      key: record.key,
      value: record.value,
      headers,
    },
  };
}
