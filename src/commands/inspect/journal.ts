import type { Io, JournalRequest } from '../../cli/context.ts';
import type { Config } from '../../config/config.ts';
import { printEntities } from './print-entities.ts';
import { printEvents } from './print-events.ts';
import { printStats } from './print-stats.ts';
import { createProgress } from './progress.ts';
import { showThing } from './show-thing.ts';
import { withHistory } from './with-history.ts';

/** `stateferry journal entities|events|show|tail|stats`. */
export async function journal(config: Config, request: JournalRequest, io: Io): Promise<number> {
  const isFollowing = request.kind === 'events' && request.follow !== 'no';
  const progress = createProgress(io.err);
  // Who follows knows that there is something to wait for.
  if (isFollowing) progress.end();
  try {
    return await withHistory(
      config,
      request.generation,
      io,
      async (history) => {
        switch (request.kind) {
          case 'entities':
            return printEntities(history, request, io, progress);
          case 'events':
            return printEvents(history, request, io, progress);
          case 'show':
            return showThing(history, request, io);
          case 'stats':
            return printStats(history, request, io, progress);
        }
      },
      isFollowing ? 0 : 1,
    );
  } finally {
    progress.end();
  }
}
