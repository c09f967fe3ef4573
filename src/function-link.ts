import type { Config } from './config/config.ts';
import { createLink, type FunctionLink, type LinkOptions } from './functions/link.ts';
import { allDialects } from './protocol/dialects.ts';
import { version } from './version.ts';

/** Addresses to listen on that are none to call. */
const ANY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** The link to the configured function, in every dialect that this version speaks. */
export function linkFunction(
  config: Config,
  options: {
    readonly devMode: boolean;
    /** By which the doors know the function's own calls; absent: they do not. */
    readonly selfToken?: string;
  } & Pick<LinkOptions, 'onAway' | 'onBack' | 'onRefused'>,
): FunctionLink {
  const { devMode, selfToken, ...handlers } = options;
  return createLink({
    url: new URL(config.function.url),
    dialects: allDialects(),
    proxy: {
      name: 'stateferry',
      version: version(),
      // Where its component clients find the runtime: its own services.
      hostname: ANY_ADDRESS.has(config.doors.host) ? 'localhost' : config.doors.host,
      port: config.doors.port,
      devMode,
      ...(selfToken !== undefined && {
        selfIdentification: { header: 'authorization', value: `Bearer ${selfToken}` },
      }),
    },
    backoffMinMs: config.function.backoffMinMs,
    backoffMaxMs: config.function.backoffMaxMs,
    ...handlers,
  });
}
