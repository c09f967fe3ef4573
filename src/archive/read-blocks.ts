import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { messageOf, StateferryError } from '../errors.ts';
import { type Line, rowOf } from './block-lines.ts';
import type { Section } from './tables.ts';

const LINE_FEED = 10;

/** Rows of one section that were written together. */
export interface Block {
  /** From 1, in its file. */
  readonly number: number;
  readonly section: Section & { readonly columns: readonly string[] };
  /** JSON objects. */
  readonly rows: readonly string[];
  /** Bytes of the file up to its end. */
  readonly end: number;
}

/** What a file came to. */
export interface FileTotals {
  readonly bytes: number;
  readonly blocks: number;
  readonly rows: number;
  readonly sha256: string;
}

/**
 * The blocks of an archive file, in order, each checked by its SHA-256 before it is handed on. Memory: one block.
 * Returns what the file is in all, or undefined where it ends after a whole block and before its last line, as one does
 * whose export was interrupted.
 * @throws StateferryError ARCHIVE_DAMAGED with the file and the byte where something is not as it was written.
 */
export async function* readBlocks(
  folder: string,
  name: string,
  id: string,
): AsyncGenerator<Block, FileTotals | undefined> {
  const whole = createHash('sha256');
  let ofBlock: Hash = createHash('sha256');
  let section: Block['section'] | undefined;
  let rows: string[] = [];
  let blocks = 0;
  let allRows = 0;
  let at = 0;
  let begun = false;
  for await (const line of lines(path.join(folder, name))) {
    const start = at;
    at += line.length;
    const damaged = (what: string): StateferryError => damage(name, start, what);
    if (line.at(-1) !== LINE_FEED) return undefined;
    const text = line.toString('utf8', 0, line.length - 1);
    const row = begun ? rowOf(text) : undefined;
    if (row !== undefined) {
      if (section === undefined) throw damaged('a row comes before it is said of which table');
      rows.push(row);
      ofBlock.update(line);
      whole.update(line);
      continue;
    }
    const said = parse(text, damaged);
    if (!begun) {
      if (!('archive' in said) || said.archive !== id || said.file !== name) {
        throw damaged(`it is no file of this archive: it begins with ${text.slice(0, 100)}`);
      }
      begun = true;
      whole.update(line);
    } else if ('section' in said) {
      section = said.section;
      ofBlock.update(line);
      whole.update(line);
    } else if ('block' in said) {
      const { block } = said;
      const found = ofBlock.digest('hex');
      if (
        block.sha256 !== found ||
        block.number !== blocks + 1 ||
        block.rows !== rows.length ||
        section === undefined
      ) {
        throw damaged(
          `block ${block.number} of ${block.rows} rows ends here with the SHA-256 ${block.sha256}, and read were ${rows.length} rows of block ${blocks + 1} with ${found}`,
        );
      }
      blocks += 1;
      allRows += rows.length;
      whole.update(line);
      yield { number: blocks, section, rows, end: at };
      rows = [];
      ofBlock = createHash('sha256');
    } else if ('end' in said) {
      if (said.end.blocks !== blocks || said.end.rows !== allRows || rows.length > 0) {
        throw damaged(
          `it ends after ${said.end.blocks} blocks of ${said.end.rows} rows, and read were ${blocks} of ${allRows}`,
        );
      }
      whole.update(line);
      return { bytes: at, blocks, rows: allRows, sha256: whole.digest('hex') };
    } else throw damaged('it begins a second time');
  }
  return undefined;
}

function parse(text: string, damaged: (what: string) => StateferryError): Line {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch (error) {
    throw damaged(`a line is no JSON (${messageOf(error)})`);
  }
  if (typeof said !== 'object' || said === null) throw damaged('a line is no JSON object');
  const [kind] = Object.keys(said);
  if (kind !== 'archive' && kind !== 'section' && kind !== 'block' && kind !== 'end') {
    throw damaged(`a line says '${kind}', which is none of archive, section, row, block, end`);
  }
  return said as Line;
}

/** With their line feeds; the last may have none. */
async function* lines(file: string): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  for await (const piece of createReadStream(file, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let to = piece.indexOf(LINE_FEED); to >= 0; to = piece.indexOf(LINE_FEED, from)) {
      parts.push(piece.subarray(from, to + 1));
      yield parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
      parts = [];
      from = to + 1;
    }
    if (from < piece.length) parts.push(piece.subarray(from));
  }
  if (parts.length > 0) yield Buffer.concat(parts);
}

/** For what is not as it was written. */
export function damage(file: string, at: number, what: string): StateferryError {
  return new StateferryError(
    'ARCHIVE_DAMAGED',
    `${file} is damaged at byte ${at}: ${what}. Nothing of it can be trusted; copy the file again, or export the journal again.`,
  );
}
