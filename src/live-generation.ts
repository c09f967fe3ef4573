import type pg from 'pg';
import type { Config } from './config/config.ts';
import { readLiveGeneration } from './journal/deployment.ts';

/** A generation that is about to take over waits for all processes to have looked; the lease that it has is longer. */
const LOOK_MS = 250;

/** What of the generation that serves matters to a process of the deployment. */
export interface LiveGenerationWatch {
  /** Another one serves now. */
  readonly replaced: boolean;
  stop(): void;
}

/**
 * Looks whether the generation serves, until another one does or it is stopped. A look that fails says nothing: whoever writes
 * to the journal finds out by itself.
 */
export function watchLiveGeneration(
  pool: pg.Pool,
  generation: number,
  handlers: {
    /** Whether input from outside is to wait; told when it changes. */
    readonly onHold: (held: boolean) => void;
    readonly onReplaced: (generation: number) => void;
  },
): LiveGenerationWatch {
  let held = false;
  let replaced = false;
  let looking = false;
  async function look(): Promise<void> {
    if (looking) return;
    looking = true;
    try {
      const live = await readLiveGeneration(pool);
      if (live === undefined || timer === undefined) return;
      const isReplaced = live.generation !== generation;
      // Whoever waits is for the one that serves now.
      const holds = live.held && !isReplaced;
      if (holds !== held) handlers.onHold(holds);
      held = holds;
      if (!isReplaced) return;
      stop();
      replaced = true;
      handlers.onReplaced(live.generation);
    } catch {
      // The next look tells.
    } finally {
      looking = false;
    }
  }
  function stop(): void {
    clearInterval(timer);
    timer = undefined;
  }
  let timer: NodeJS.Timeout | undefined = setInterval(() => void look(), LOOK_MS);
  return {
    get replaced() {
      return replaced;
    },
    stop,
  };
}

/** The configuration, with the function of the generation that serves: a promotion may have brought its own. */
export async function servingConfig(pool: Pick<pg.ClientBase, 'query'>, config: Config): Promise<Config> {
  const url = (await readLiveGeneration(pool))?.functionUrl;
  return url === undefined ? config : { ...config, function: { ...config.function, url } };
}
