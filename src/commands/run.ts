import type { Io } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { createLog } from '../observe/log.ts';
import { createRuntime } from '../runtime.ts';

/** `stateferry run`: one process of the deployment until the signal. */
export async function run(config: Config, io: Io): Promise<number> {
  const log = createLog(config.log);
  await createRuntime({ config, log, devMode: false, createTopics: false }).run(io.signal);
  return 0;
}
