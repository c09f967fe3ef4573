/** Rows that an archive file has one after another: of one table and, where it is an entity's, one type. */
export interface Section {
  readonly table: string;
  readonly generation?: number | undefined;
  readonly entityType?: string | undefined;
}

/** A table of the journal, as it is archived. */
export interface ArchivedTable {
  readonly name: string;
  /** Columns that order its rows within a section; no two rows have the same. */
  readonly key: readonly string[];
  /** The rows are of entities, and go to the file of their type. */
  readonly byType?: true;
  /** Rows that no other journal needs are left out. */
  readonly where?: string;
  /** Rows that are read at a time: those of some tables hold megabytes. */
  readonly fetch: number;
}

const CHUNK = ['generation', 'shard', 'chunk'];
const FEW = 20;
const MANY = 500;

/** Every table of the journal, each after those that it refers to; `deployment` is what the manifest says. */
export const ARCHIVED_TABLES: readonly ArchivedTable[] = [
  { name: 'function_version', key: ['digest'], fetch: FEW },
  // Those of no version come with the migrations.
  { name: 'message_type', key: ['function', 'name'], where: "function <> ''", fetch: MANY },
  { name: 'generation', key: ['generation'], fetch: MANY },
  { name: 'shard', key: ['generation', 'shard'], fetch: MANY },
  { name: 'feed', key: ['generation', 'name', 'source', 'entity_type', 'shard'], fetch: MANY },
  { name: 'operation', key: ['id'], fetch: MANY },
  { name: 'dead_letter', key: ['topic', 'partition', 'offset', 'written'], fetch: MANY },
  { name: 'entity_control', key: ['generation', 'entity_type', 'entity_id'], fetch: MANY },
  { name: 'parked', key: [...CHUNK, 'ordinal'], fetch: MANY },
  { name: 'idempotency_key', key: ['generation', 'shard', 'key'], fetch: MANY },
  { name: 'removed', key: ['generation', 'shard', 'kind', 'entity_type'], fetch: MANY },
  { name: 'chunk', key: CHUNK, fetch: MANY },
  { name: 'input', key: CHUNK, fetch: FEW },
  { name: 'outbox', key: CHUNK, fetch: FEW },
  { name: 'emission', key: ['generation'], fetch: MANY },
  { name: 'held_output', key: CHUNK, fetch: FEW },
  { name: 'event', key: ['entity_id', 'seq'], byType: true, fetch: MANY },
  { name: 'snapshot', key: ['entity_id'], byType: true, fetch: MANY },
  { name: 'value', key: ['entity_id'], byType: true, fetch: MANY },
  { name: 'value_revision', key: ['entity_id', 'revision'], byType: true, fetch: MANY },
  { name: 'deletion', key: ['entity_id'], byType: true, fetch: MANY },
];

/** The table of that name; undefined: an archive has none of that name. */
export function archivedTable(name: string): ArchivedTable | undefined {
  return ARCHIVED_TABLES.find((table) => table.name === name);
}
