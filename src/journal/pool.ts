import pg from 'pg';
import { clientOf, type PostgresServer } from './connection.ts';

const INT8_OID = 20;

/** Reads int8 as a number: our counters stay below 2^53. Everything else as node-postgres does. */
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8_OID && format !== 'binary' ? Number : pg.types.getTypeParser(oid, format as 'text')) as never,
};

/**
 * Connections whose search_path is the journal's schema, so that no statement names it.
 * A lost idle connection is reported to `onIdleError`, never thrown.
 */
export function createPool(
  options: PostgresServer & {
    schema: string;
    size: number;
    statementTimeoutMs: number;
    applicationName: string;
    onIdleError: (error: Error) => void;
  },
): pg.Pool {
  const pool = new pg.Pool({
    Client: clientOf(options),
    max: options.size,
    options: `-c search_path=${quoteIdentifier(options.schema)}`,
    application_name: options.applicationName,
    statement_timeout: options.statementTimeoutMs,
    // A connection that swallows everything must not hold the journal for ever: the client gives up a little later.
    query_timeout: options.statementTimeoutMs + 5_000,
    connectionTimeoutMillis: 5_000,
    types,
  });
  pool.on('error', options.onIdleError);
  return pool;
}

/** The configuration admits only [a-z_][a-z0-9_]* as a schema, which needs no escape inside `options`. */
function quoteIdentifier(name: string): string {
  if (!/^[a-z_][a-z0-9_]*$/.test(name)) throw new TypeError(`not a plain schema name: ${name}`);
  return name;
}
