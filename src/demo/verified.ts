import { judge } from '../commands/verify.ts';
import type { Config } from '../config/config.ts';
import type { Report } from '../verify/verify.ts';
import type { Progress } from './progress.ts';

/** Airports that are replayed at the function. */
const REPLAYED = 50;

/** What `stateferry verify` finds. */
export async function verified(config: Config, progress: Progress, signal: AbortSignal): Promise<Report> {
  progress.say('Holding journal and topics against each other, as `stateferry verify` does');
  const silent = { err: { write: () => undefined }, signal };
  return judge(config, { sample: REPLAYED, probes: [], shared: [] }, silent);
}
