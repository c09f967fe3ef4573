import type { Io } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { StateferryError } from '../errors.ts';
import { linkFunction } from '../function-link.ts';
import type { Discovered } from '../functions/discovery.ts';
import { readFunctionFiles } from '../named-files.ts';

/** How long the function may take to come up, in ms: one that is started beside us has a few seconds. */
const FUNCTION_WITHIN_MS = 10_000;

/**
 * Asks the function what it is, and waits a little where it is not up yet.
 * @throws StateferryError FUNCTION_UNAVAILABLE when the function does not come up in time.
 */
export async function discoverNow(config: Config, io: Io): Promise<Discovered> {
  let reason = 'it does not answer';
  const link = linkFunction(config, {
    devMode: false,
    tls: readFunctionFiles(config),
    onAway(why) {
      reason = why;
      io.err.write(`Waiting for the function at ${config.function.url}: ${why}\n`);
    },
    onBack: () => undefined,
    onRefused: () => undefined,
  });
  const late = AbortSignal.timeout(FUNCTION_WITHIN_MS);
  try {
    return await link.connect(AbortSignal.any([io.signal, late]));
  } catch (error) {
    if (!late.aborted || error instanceof StateferryError) throw error;
    throw new StateferryError(
      'FUNCTION_UNAVAILABLE',
      `no function answered at ${config.function.url} within ${FUNCTION_WITHIN_MS / 1000} s (${reason}). ` +
        'It names the topics and their types: start it, or correct function.url.',
      { cause: error },
    );
  } finally {
    await link.close();
  }
}
