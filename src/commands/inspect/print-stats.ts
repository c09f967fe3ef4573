import type { Io, JournalRequest } from '../../cli/context.ts';
import { componentNamed, type History } from '../../inspect/scope.ts';
import { type ComponentStats, countJournal, type JournalStats, type Kept } from '../../inspect/stats.ts';
import type { Progress } from './progress.ts';
import { type Column, createRowWriter, formatFor } from './rows.ts';

const COLUMNS: readonly Column<ComponentStats>[] = [
  { name: 'component', head: 'COMPONENT', value: ({ component }) => component.entityType },
  { name: 'kind', head: 'KIND', value: ({ component }) => component.kind },
  { name: 'service', head: 'SERVICE', value: ({ component }) => component.service ?? null },
  { name: 'entities', head: 'ENTITIES', right: true, value: ({ entities }) => entities },
  { name: 'events', head: 'EVENTS', right: true, value: ({ events }) => events },
  { name: 'bytes', head: 'BYTES', right: true, value: ({ bytes }) => bytes },
  {
    name: 'meanEvents',
    head: 'MEAN',
    right: true,
    value: ({ eventsPerEntity: per }) => (per ? Math.round(per.mean * 100) / 100 : null),
  },
  { name: 'maxEvents', head: 'MAX', right: true, value: ({ eventsPerEntity: per }) => per?.max ?? null },
  { name: 'removed', head: 'REMOVED', right: true, value: ({ removed }) => removed },
  { name: 'snapshots', head: 'SNAPSHOTS', right: true, value: ({ snapshots }) => snapshots },
  { name: 'snapshotBytes', head: 'BYTES', right: true, only: 'programs', value: ({ snapshotBytes }) => snapshotBytes },
  { name: 'values', head: 'VALUES', right: true, value: ({ values }) => values },
  { name: 'deletions', head: 'DELETIONS', right: true, value: ({ deletions }) => deletions },
  { name: 'first', head: 'FIRST', value: ({ first }) => first ?? null },
  { name: 'last', head: 'LAST', value: ({ last }) => last ?? null },
];

interface StoreRow {
  readonly table: string;
  readonly bytes: number;
  readonly rows: number | undefined;
  readonly kept: Kept | undefined;
}

const STORE_COLUMNS: readonly Column<StoreRow>[] = [
  { name: 'table', head: 'TABLE', value: ({ table }) => table },
  { name: 'bytes', head: 'SIZE', right: true, only: 'programs', value: ({ bytes }) => bytes },
  { name: 'size', head: 'SIZE', right: true, only: 'table', value: ({ bytes }) => sizeText(bytes) },
  { name: 'rowsEstimated', head: 'ROWS, ABOUT', right: true, value: ({ rows }) => rows ?? null },
  { name: 'chunks', head: 'CHUNKS', right: true, value: ({ kept }) => kept?.chunks ?? null },
  { name: 'oldest', head: 'OLDEST', value: ({ kept }) => kept?.oldest ?? null },
];

/** `stateferry journal stats`. */
export async function printStats(
  history: History,
  request: JournalRequest & { kind: 'stats' },
  io: Io,
  progress: Progress,
): Promise<number> {
  const only = request.component === undefined ? undefined : componentNamed(history, request.component).entityType;
  progress.now(`counting events, a shard at a time, ${history.shards} in all`);
  const stats = await countJournal(history, (shard, events) => {
    io.signal.throwIfAborted();
    progress.now(`counting events: ${events.toLocaleString('en')} up to shard ${shard} of ${history.shards}`);
  });
  const components = stats.components.filter(({ component }) => only === undefined || component.entityType === only);
  const format = formatFor(request.format, io.out);
  const ofComponents = createRowWriter(io.out, format, COLUMNS);
  await ofComponents.write(components);
  await ofComponents.flush();
  // Two sheets in one: an empty line is between them, and in JSON lines the fields tell them apart.
  if (format !== 'jsonl') io.out.write(format === 'csv' ? '\r\n' : '\n');
  const ofTables = createRowWriter(io.out, format, STORE_COLUMNS);
  await ofTables.write(storeRows(stats));
  await ofTables.flush();
  return 0;
}

function storeRows({ tables, chunks, outbox, inputs }: JournalStats): StoreRow[] {
  const kept: Readonly<Record<string, Kept>> = { chunk: chunks, outbox, input: inputs };
  return tables.map(({ name, bytes, rows }) => ({ table: name, bytes, rows, kept: kept[name] }));
}

function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes;
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}
