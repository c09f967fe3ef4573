import type { EntityHistoryRequest, Io } from '../../cli/context.ts';
import type { Config } from '../../config/config.ts';
import { commandsOf } from '../../inspect/entity-commands.ts';
import { entityNamed, type History } from '../../inspect/scope.ts';
import { byTime, rootTextOf, tellStories } from '../../inspect/stories.ts';
import { removedThrough } from '../../journal/retention.ts';
import { printable } from '../printable.ts';
import { jsonText } from './json-text.ts';
import { createProgress, type Progress } from './progress.ts';
import { showEntity } from './show-entity.ts';
import { storyJson } from './story-json.ts';
import { shortDigest, storyText } from './story-text.ts';
import { withHistory } from './with-history.ts';

/** `stateferry entity trace` and `entity show`. */
export async function entityHistory(config: Config, request: EntityHistoryRequest, io: Io): Promise<number> {
  const progress = createProgress(io.err);
  try {
    return await withHistory(config, request.generation, io, (history) =>
      request.kind === 'trace'
        ? trace(history, request, io, progress)
        : showEntity(config, history, request, io, progress),
    );
  } finally {
    progress.end();
  }
}

async function trace(
  history: History,
  { entityId, component: name, json, limit = Number.MAX_SAFE_INTEGER }: EntityHistoryRequest & { kind: 'trace' },
  io: Io,
  progress: Progress,
): Promise<number> {
  const component = await entityNamed(history, entityId, name);
  const { entityType } = component;
  progress.now('looking for the commands of the entity');
  const commands = await commandsOf(history, component, entityId, limit);
  progress.now('looking for what they led to');
  const roots = [...new Set(commands.ids.map(rootTextOf))];
  const stories = await tellStories(history, roots, commands.places);
  const told = stories.sort(byTime).slice(-limit);
  const hasOlder = commands.hasOlder || told.length < roots.length;
  const removed = await removedThrough(history.db, history.generation, { entityType, entityId });
  if (json) {
    io.out.write(
      `${jsonText({ component: entityType, entity: entityId, hasOlder, removedThrough: removed, commands: told.map(storyJson) }, 2)}\n`,
    );
    return 0;
  }
  const older = hasOlder ? '; older ones are not shown (--limit)' : '';
  io.out.write(
    `${printable(entityType)} ${printable(entityId)}: ${told.length} ${told.length === 1 ? 'command' : 'commands'} from outside${older}\n\n`,
  );
  if (removed > 0) io.out.write(`Retention has removed its events up to ${removed}.\n\n`);
  const options = {
    nameVersion: (digest: string) => `version ${shortDigest(digest)}`,
    entity: { entityType, entityId },
  };
  io.out.write(told.map((story) => storyText(story, options)).join('\n'));
  return 0;
}
