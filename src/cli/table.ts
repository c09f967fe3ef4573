/** Rows as columns of text under a head, two spaces apart; columns whose head is in `right` are aligned to the right. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: ReadonlySet<string> = new Set(),
): string {
  return createTable(head, right)(rows);
}

/**
 * A table whose rows come a part at a time: each call gives the lines of one part, the first of them behind the head.
 * A column is as wide as what it had to hold so far.
 */
export function createTable(
  head: readonly string[],
  right: ReadonlySet<string> = new Set(),
): (rows: readonly (readonly string[])[]) => string {
  const widths = head.map((title) => title.length);
  const line = (cells: readonly string[]) =>
    head
      .map((title, column) => {
        const cell = cells[column] ?? '';
        const width = widths[column] as number;
        return right.has(title) ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  let isBegun = false;
  return (rows) => {
    for (const row of rows) {
      for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
    }
    const lines = isBegun ? rows.map(line) : [line(head), ...rows.map(line)];
    isBegun = true;
    return lines.map((text) => `${text}\n`).join('');
  };
}
