import type { Section } from './tables.ts';

/*
 * An archive file is lines of JSON:
 *
 *   {"archive": id, "file": name}                          first
 *   {"section": {"table", "generation"?, "entityType"?, "columns"}}
 *   {"row": {column: value}}                               as Postgres' row_to_json writes it
 *   {"block": {"number", "rows", "sha256"}}                of all bytes since the last such line, or the first line
 *   {"end": {"blocks", "rows"}}                            last
 */

/** What a line says beside a row, whose text is not parsed. */
export type Line =
  | { readonly archive: string; readonly file: string }
  | { readonly section: Section & { readonly columns: readonly string[] } }
  | { readonly block: { readonly number: number; readonly rows: number; readonly sha256: string } }
  | { readonly end: { readonly blocks: number; readonly rows: number } };

const ROW = '{"row":';

/** A row's line, given its JSON. */
export function rowLine(json: string): string {
  return `${ROW}${json}}`;
}

/** The JSON of a row's line; undefined: it is another line. */
export function rowOf(line: string): string | undefined {
  return line.startsWith(ROW) ? line.slice(ROW.length, -1) : undefined;
}
