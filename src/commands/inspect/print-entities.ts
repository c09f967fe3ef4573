import type { Io, JournalRequest } from '../../cli/context.ts';
import { StateferryError } from '../../errors.ts';
import { cursorText, type ListedEntity, listEntities, readCursor } from '../../inspect/entities.ts';
import { componentNamed, componentsOf, entityNamed, type History } from '../../inspect/scope.ts';
import type { Progress } from './progress.ts';
import { type Column, createRowWriter, formatFor } from './rows.ts';

const COLUMNS: readonly Column<ListedEntity>[] = [
  { name: 'component', head: 'COMPONENT', value: ({ component }) => component.entityType },
  { name: 'kind', head: 'KIND', value: ({ component }) => component.kind },
  { name: 'entity', head: 'ENTITY', value: ({ entityId }) => entityId },
  { name: 'shard', head: 'SHARD', right: true, value: ({ shard }) => shard },
  { name: 'seq', head: 'SEQ', right: true, value: ({ seq }) => seq },
  { name: 'events', head: 'EVENTS', right: true, value: ({ events }) => events },
  { name: 'first', head: 'FIRST', value: ({ first }) => first },
  { name: 'last', head: 'LAST', value: ({ last }) => last },
  { name: 'deleted', head: 'DELETED', value: ({ deleted }) => deleted },
];

/** `stateferry journal entities`. */
export async function printEntities(
  history: History,
  request: JournalRequest & { kind: 'entities' },
  io: Io,
  progress: Progress,
): Promise<number> {
  const { component, entity = { prefix: '' }, limit = Number.POSITIVE_INFINITY, after } = request;
  const cursor = after === undefined ? undefined : readCursor(after);
  if (after !== undefined && cursor === undefined) {
    throw new StateferryError(
      'CONFIG_INVALID',
      `--after ${after} is no cursor: give it as the end of the earlier list says it.`,
    );
  }
  let components = component === undefined ? history.components : [componentNamed(history, component)];
  if ('id' in entity) {
    components = await componentsOf(history, entity.id, components);
    // One that there is not is told as everywhere else.
    if (components.length === 0) await entityNamed(history, entity.id, component);
  }
  const format = formatFor(request.format, io.out);
  const writer = createRowWriter(io.out, format, COLUMNS);
  let written = 0;
  let last: ListedEntity | undefined;
  progress.now('reading entities');
  for await (const page of listEntities(history, { components, entity, after: cursor })) {
    io.signal.throwIfAborted();
    const rows = page.slice(0, limit - written);
    await writer.write(rows);
    progress.printed();
    written += rows.length;
    last = rows.at(-1) ?? last;
    if (rows.length < page.length) {
      await writer.flush();
      io.err.write(`There are more: --after '${cursorText(last as ListedEntity)}' goes on behind these.\n`);
      return 0;
    }
  }
  if (written > 0 || format === 'csv') await writer.flush();
  if (written === 0 && format === 'table') io.err.write('No entity.\n');
  return 0;
}
