import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { writing } from '../writing.ts';
import { type Line, rowLine } from './block-lines.ts';
import { type Block, type FileTotals, readBlocks } from './read-blocks.ts';
import type { Section } from './tables.ts';

/** A block ends with the row that makes it reach this. */
const BLOCK_BYTES = 1024 * 1024;

/** An archive file that is being written. */
export interface BlockWriter {
  /** The last block that the file had when it was opened; undefined: none. */
  readonly last: Block | undefined;
  /** Writes rows of a section; they are in the file with the block that they end in. */
  write(section: Section & { readonly columns: readonly string[] }, rows: readonly string[]): Promise<void>;
  /** Ends the block. */
  cut(): Promise<void>;
  /** Ends the file: everything is on the disk. */
  finish(): Promise<FileTotals>;
  close(): Promise<void>;
}

/**
 * Opens a file of an archive, new or to go on after its last whole block; what an interruption left behind it is cut off.
 * Resolves to what the file is in all where it is whole already.
 * @throws StateferryError ARCHIVE_DAMAGED where a block of it is not what was written.
 */
export async function openBlocks(folder: string, name: string, id: string): Promise<BlockWriter | FileTotals> {
  const file = path.join(folder, name);
  const handle = await writing(file, () => open(file, 'a+'));
  try {
    let last: Block | undefined;
    let rows = 0;
    if ((await handle.stat()).size > 0) {
      const blocks = readBlocks(folder, name, id);
      for (;;) {
        const { done, value } = await blocks.next();
        if (done === true) {
          if (value !== undefined) {
            await handle.close();
            return value;
          }
          break;
        }
        last = value;
        rows += value.rows.length;
      }
    }
    await handle.truncate(last?.end ?? 0);
    return await writer(handle, { id, file, name, last, rows });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function writer(
  handle: FileHandle,
  from: {
    readonly id: string;
    readonly file: string;
    readonly name: string;
    readonly last: Block | undefined;
    readonly rows: number;
  },
): Promise<BlockWriter> {
  const whole = createHash('sha256');
  let bytes = 0;
  if (from.last !== undefined) {
    for await (const piece of handle.createReadStream({ start: 0, autoClose: false }) as AsyncIterable<Buffer>) {
      whole.update(piece);
      bytes += piece.length;
    }
  }
  let block = createHash('sha256');
  let pending: string[] = [];
  let pendingBytes = 0;
  let pendingRows = 0;
  let blocks = from.last?.number ?? 0;
  let allRows = from.rows;
  let section: string | undefined;

  const put = async (text: string): Promise<void> => {
    const data = Buffer.from(text);
    await writing(from.file, () => handle.appendFile(data));
    whole.update(data);
    bytes += data.length;
  };
  const say = (line: Line): string => `${JSON.stringify(line)}\n`;
  const add = (text: string): void => {
    pending.push(text);
    pendingBytes += text.length;
    block.update(text);
  };

  async function cut(): Promise<void> {
    if (pendingRows === 0) return;
    blocks += 1;
    allRows += pendingRows;
    pending.push(say({ block: { number: blocks, rows: pendingRows, sha256: block.digest('hex') } }));
    const text = pending.join('');
    pending = [];
    pendingBytes = 0;
    pendingRows = 0;
    block = createHash('sha256');
    await put(text);
  }

  if (from.last === undefined) await put(say({ archive: from.id, file: from.name }));
  return {
    last: from.last,
    async write(next, rows) {
      const said = say({ section: next });
      if (section !== said && rows.length > 0) {
        await cut();
        section = said;
        add(said);
      }
      for (const row of rows) {
        add(`${rowLine(row)}\n`);
        pendingRows += 1;
        if (pendingBytes >= BLOCK_BYTES) await cut();
      }
    },
    cut,
    async finish() {
      await cut();
      await put(say({ end: { blocks, rows: allRows } }));
      await writing(from.file, () => handle.sync());
      await handle.close();
      return { bytes, blocks, rows: allRows, sha256: whole.digest('hex') };
    },
    close: () => handle.close(),
  };
}
