import type pg from 'pg';

let cursors = 0;

/** The rows of a query, `size` at a time, by a cursor: the client must be in a transaction. */
export async function* streamRows<T extends pg.QueryResultRow>(
  client: Pick<pg.ClientBase, 'query'>,
  sql: string,
  values: readonly unknown[],
  size: number,
): AsyncGenerator<T> {
  const cursor = `stateferry_${++cursors}`;
  await client.query(`declare ${cursor} no scroll cursor for ${sql}`, [...values]);
  try {
    for (;;) {
      const { rows } = await client.query<T>(`fetch ${size} from ${cursor}`);
      yield* rows;
      if (rows.length < size) return;
    }
  } finally {
    await client.query(`close ${cursor}`);
  }
}
