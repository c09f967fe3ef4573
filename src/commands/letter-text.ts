import { isUtf8 } from 'node:buffer';
import { formatTable } from '../cli/table.ts';
import type { Letter } from '../codec/letter.ts';
import type { LetterMark } from '../journal/dead-letters.ts';
import { printable } from './printable.ts';

const ERROR_CHARACTERS = 60;
const KEY_CHARACTERS = 32;
/** Bytes of a payload that are shown as they are. */
const DUMP_BYTES = 4_096;
const DUMP_WIDTH = 16;

/** A dead letter with what somebody has made of it. */
export interface KnownLetter {
  /** partition/offset in the dead-letter topic. */
  readonly id: string;
  readonly letter: Letter;
  readonly mark: LetterMark | undefined;
}

/** Letters as a table, one line each. */
export function letterTable(letters: readonly KnownLetter[]): string {
  const rows = letters.map(({ id, letter, mark }) => [
    id,
    timeOf(letter.failedAt),
    letter.code,
    placeOf(letter),
    methodOf(letter),
    textOf(letter.record.key, KEY_CHARACTERS),
    mark?.state ?? 'open',
    printable(letter.error, ERROR_CHARACTERS),
  ]);
  return formatTable(['ID', 'FAILED AT', 'CODE', 'RECORD', 'METHOD', 'KEY', 'STATE', 'ERROR'], rows);
}

/** One letter, whole, for a person. */
export function letterText({ id, letter, mark }: KnownLetter): string {
  const { record } = letter;
  const state = mark === undefined ? 'open' : `${mark.state} by ${printable(mark.by)} at ${mark.at.toISOString()}`;
  const lines = [
    ['Dead letter', id],
    ['State', state],
    ['Error', `${letter.code}: ${printable(letter.error)}`],
    ['Failed at', timeOf(letter.failedAt)],
    ['Record', `${placeOf(letter)}, written at ${timeOf(record.timestamp)}`],
    ['Method', methodOf(letter)],
    ['Key', textOf(record.key)],
    ...(letter.leftOut === undefined
      ? []
      : [['Left out', `${letter.leftOut}: too large for the dead-letter topic; the record itself has it`]]),
  ].map(([name, text]) => `${`${name}:`.padEnd(13)} ${text}\n`);
  const headers = headersOf(letter).map(([name, value]) => `  ${printable(name)}: ${textOf(value)}\n`);
  return [
    ...lines,
    headers.length === 0 ? 'Headers:      none\n' : `Headers:\n${headers.join('')}`,
    record.value === null
      ? 'Payload:      none\n'
      : `Payload, ${record.value.length} bytes:\n${payloadOf(record.value)}`,
  ].join('');
}

/** One letter for a program: key, value and header values in base64, and as text where they are. */
export function letterJson({ id, letter, mark }: KnownLetter): unknown {
  const bytes = (value: Buffer | null) =>
    value === null
      ? null
      : { base64: value.toString('base64'), ...(isUtf8(value) && { text: value.toString('utf8') }) };
  const { record } = letter;
  return {
    id,
    state: mark?.state ?? 'open',
    ...(mark !== undefined && { markedBy: mark.by, markedAt: mark.at.toISOString() }),
    code: letter.code,
    error: letter.error,
    failedAt: letter.failedAt === undefined ? null : timeOf(letter.failedAt),
    service: letter.service ?? null,
    method: letter.method ?? null,
    leftOut: letter.leftOut ?? null,
    record: {
      topic: record.topic,
      partition: record.partition,
      offset: record.offset.toString(),
      timestamp: timeOf(record.timestamp),
      key: bytes(record.key),
      value: bytes(record.value),
      headers: headersOf(letter).map(([name, value]) => ({ name, value: bytes(value) })),
    },
  };
}

/** As `letterJson`, without value and headers: for a list. */
export function letterSummary(known: KnownLetter): unknown {
  const { record, ...rest } = letterJson(known) as { record: Record<string, unknown> };
  const { value: _value, headers: _headers, ...place } = record;
  return { ...rest, record: place };
}

function headersOf({ record }: Letter): [string, Buffer][] {
  return Object.entries(record.headers).flatMap(([name, given]) =>
    (Array.isArray(given) ? given : given === undefined ? [] : [given]).map((value): [string, Buffer] => [
      name,
      Buffer.from(value),
    ]),
  );
}

function placeOf({ record }: Letter): string {
  return `${record.topic}/${record.partition}/${record.offset}`;
}

function methodOf({ service, method }: Letter): string {
  return service === undefined ? '-' : printable(`${service}/${method}`);
}

function timeOf(ms: number | undefined): string {
  const date = new Date(ms ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? '-' : date.toISOString();
}

function textOf(bytes: Buffer | null, limit?: number): string {
  if (bytes === null) return '-';
  return isUtf8(bytes) ? printable(bytes.toString('utf8'), limit) : printable(`0x${bytes.toString('hex')}`, limit);
}

/** JSON as JSON; anything else as bytes and the letters among them. */
function payloadOf(value: Buffer): string {
  if (isUtf8(value)) {
    try {
      const json = JSON.stringify(JSON.parse(value.toString('utf8')), null, 2);
      return json.replace(/^/gm, '  ').concat('\n');
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  const lines: string[] = [];
  for (let at = 0; at < Math.min(value.length, DUMP_BYTES); at += DUMP_WIDTH) {
    const row = value.subarray(at, at + DUMP_WIDTH);
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = [...row].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`  ${at.toString(16).padStart(8, '0')}  ${hex.padEnd(DUMP_WIDTH * 3)} ${text}\n`);
  }
  if (value.length > DUMP_BYTES) lines.push(`  … ${value.length - DUMP_BYTES} bytes more; --json has all\n`);
  return lines.join('');
}
