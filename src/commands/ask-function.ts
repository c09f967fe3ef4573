import type { Config } from '../config/config.ts';
import { methodKey } from '../engine/routes.ts';
import { messageOf, StateferryError } from '../errors.ts';
import { createFunctionClient, type FunctionClient } from '../functions/client.ts';
import { type Discovered, discover } from '../functions/discovery.ts';
import type { Method } from '../model/component.ts';
import { readFunctionFiles } from '../named-files.ts';
import { allDialects } from '../protocol/dialects.ts';
import { version } from '../version.ts';

const DISCOVERY_TIMEOUT_MS = 10_000;

/**
 * Asks a function what it is, without telling it afterwards that its runtime has gone: another one may be there.
 * @throws StateferryError FUNCTION_UNAVAILABLE where none answers, and what `discover` throws.
 */
export async function discoverOnce(client: FunctionClient, config: Config): Promise<Discovered> {
  try {
    return await discover({
      client,
      dialects: allDialects(),
      proxy: {
        name: 'stateferry',
        version: version(),
        hostname: config.http.host,
        port: config.http.port,
        devMode: false,
      },
      timeoutMs: DISCOVERY_TIMEOUT_MS,
    });
  } catch (cause) {
    if (!(cause instanceof StateferryError) || cause.code !== 'FUNCTION_UNAVAILABLE') throw cause;
    throw new StateferryError(
      'FUNCTION_UNAVAILABLE',
      `no function answers at ${config.function.url}: ${messageOf(cause)}. Its annotations name the topics, and entities ` +
        'are replayed there: start it, or correct function.url.',
      { cause },
    );
  }
}

/** What the function at `function.url` says of itself, as `discoverOnce` has it, over a connection of its own. */
export async function discoveredAt(config: Config): Promise<Discovered> {
  const client = createFunctionClient(new URL(config.function.url), readFunctionFiles(config));
  try {
    return await discoverOnce(client, config);
  } finally {
    client.close();
  }
}

/**
 * The method of an event sourced entity that `--probe` names, as Service/Method or by its name alone.
 * @throws StateferryError CONFIG_INVALID where there is none, or several.
 */
export function probeNamed({ spec }: Discovered, name: string): Method {
  const methods = [...spec.components.values()]
    .filter(({ kind }) => kind === 'event-sourced')
    .flatMap((component) => [...component.methods.values()]);
  const found = methods.filter((method) => methodKey(method) === name || method.name === name);
  if (found.length === 1 && found[0] !== undefined) return found[0];
  throw new StateferryError(
    'CONFIG_INVALID',
    `--probe names ${name}, and the event sourced entities have ${found.length === 0 ? 'no such method' : 'several of that name'}: ` +
      `${methods.map(methodKey).join(', ')}.`,
  );
}
