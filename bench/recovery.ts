import os from 'node:os';
import type { EngineProcess } from './engine-process.ts';
import { measureRun } from './run.ts';
import type { Scene } from './scene.ts';

/** What a process that was killed leaves to the next one. */
export interface History {
  readonly entities: number;
  /** Of each entity. */
  readonly events: number;
}

export interface Recovery extends History {
  /** From the start of the next process until all shards were open: the session of the killed one has to expire first. */
  readonly readyMs: number;
  /** From then on, until each entity had been brought back and had answered one command. */
  readonly answeredMs: number;
  /** The machine's load average over the last minute, before. */
  readonly load: number;
}

/** Builds up the history, kills the process, starts the next one, and has every entity answer once. */
export async function measureRecovery(options: {
  readonly scene: Scene;
  readonly history: History;
  readonly start: () => Promise<EngineProcess>;
}): Promise<Recovery> {
  const { scene, history, start } = options;
  const { entities, events } = history;
  const first = await start();
  await measureRun(scene, entities * events, { meters: {}, failed: first.failed });
  await first.stop('SIGKILL');
  const [load = Number.NaN] = os.loadavg();
  const next = await start();
  const { seconds } = await measureRun(scene, entities, { meters: {}, failed: next.failed });
  await next.stop('SIGTERM');
  return { ...history, readyMs: next.readyMs, answeredMs: seconds * 1_000, load };
}
