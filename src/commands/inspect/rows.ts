import type { Output, RowFormat } from '../../cli/context.ts';
import { createTable } from '../../cli/table.ts';
import { printable } from '../printable.ts';
import { jsonText, RawJson } from './json-text.ts';

/** What a row has in a column; null: nothing. */
export type Cell = string | number | Date | RawJson | null;

/** A column: its name in JSON and CSV, its head in a table, and what a row has in it. */
export interface Column<Row> {
  readonly name: string;
  readonly head: string;
  /** To the right, as numbers are. */
  readonly right?: boolean;
  /** In a table it is cut here, in characters. */
  readonly width?: number;
  /** For a person alone, or for a program alone; absent: both. */
  readonly only?: 'table' | 'programs';
  value(row: Row): Cell;
}

/** Writes rows as they come. */
export interface RowWriter<Row> {
  /** Resolves when there is room for more. */
  write(rows: readonly Row[]): Promise<void>;
  /** Writes what a table has held back to see how wide its columns are; a head alone, where there were no rows. */
  flush(): Promise<void>;
}

/** A table is made of so many rows at a time. */
const TABLE_ROWS = 500;

/** A table where a person looks at it, JSON lines elsewhere, if nothing else is asked for. */
export function formatFor(asked: RowFormat | undefined, out: Output): RowFormat {
  return asked ?? (out.isTTY === true ? 'table' : 'jsonl');
}

/** Rows in one of the formats. */
export function createRowWriter<Row>(out: Output, format: RowFormat, columns: readonly Column<Row>[]): RowWriter<Row> {
  const shown = columns.filter(({ only }) => only === undefined || (only === 'table') === (format === 'table'));
  const textOf = rowText(format, shown);
  let held: Row[] = [];
  const print = async (rows: readonly Row[]): Promise<void> => {
    const text = textOf(rows);
    if (text === '') return;
    const isTaken = out.write(text);
    if (isTaken === false && out.once !== undefined) await new Promise<void>((resolve) => out.once?.('drain', resolve));
  };
  const flush = async (): Promise<void> => {
    const rows = held;
    held = [];
    await print(rows);
  };
  return {
    async write(rows) {
      if (format !== 'table') return print(rows);
      held.push(...rows);
      if (held.length >= TABLE_ROWS) await flush();
    },
    flush,
  };
}

function rowText<Row>(format: RowFormat, columns: readonly Column<Row>[]): (rows: readonly Row[]) => string {
  switch (format) {
    case 'table': {
      const right = new Set(columns.filter((column) => column.right).map(({ head }) => head));
      const table = createTable(
        columns.map(({ head }) => head),
        right,
      );
      return (rows) =>
        table(rows.map((row) => columns.map((column) => printable(plainText(column.value(row)) ?? '-', column.width))));
    }
    case 'jsonl':
      return (rows) =>
        rows
          .map((row) => `${jsonText(Object.fromEntries(columns.map((column) => [column.name, column.value(row)])))}\n`)
          .join('');
    case 'csv': {
      let isBegun = false;
      return (rows) => {
        const lines = rows.map((row) => columns.map((column) => csvCell(plainText(column.value(row)) ?? '')).join(','));
        if (!isBegun) lines.unshift(columns.map(({ name }) => name).join(','));
        isBegun = true;
        return lines.map((line) => `${line}\r\n`).join('');
      };
    }
  }
}

function plainText(cell: Cell): string | undefined {
  if (cell === null) return undefined;
  if (cell instanceof Date) return cell.toISOString();
  return cell instanceof RawJson ? cell.text : String(cell);
}

/** RFC 4180, section 2: quotes around what has a quote, a comma or a line break in it, and quotes doubled. */
function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
