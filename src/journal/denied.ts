import pg from 'pg';
import { StateferryError } from '../errors.ts';

/** SQLSTATE of insufficient_privilege: waiting does not help, somebody has to grant something. */
const INSUFFICIENT_PRIVILEGE = '42501';

/** Does `work`, with JOURNAL_DENIED in the place of Postgres' refusal. */
export async function orDenied<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof pg.DatabaseError) || cause.code !== INSUFFICIENT_PRIVILEGE) throw cause;
    throw new StateferryError(
      'JOURNAL_DENIED',
      `Postgres does not let the role of postgres.url keep the journal: ${cause.message}. Let the role own the schema ` +
        '(postgres.schema) and its tables, or, where the schema is still missing, grant it CREATE on the database.',
      { cause },
    );
  }
}
