import type { Config } from './config/config.ts';
import { createLink, type FunctionLink, type LinkOptions } from './functions/link.ts';
import { allDialects } from './protocol/dialects.ts';
import { version } from './version.ts';

/** The link to the configured function, in every dialect that this version speaks. */
export function linkFunction(
  config: Config,
  options: { readonly devMode: boolean } & Pick<LinkOptions, 'onAway' | 'onBack' | 'onRefused'>,
): FunctionLink {
  const { devMode, ...handlers } = options;
  return createLink({
    url: new URL(config.function.url),
    dialects: allDialects(),
    proxy: {
      name: 'stateferry',
      version: version(),
      hostname: config.http.host,
      port: config.http.port,
      devMode,
    },
    backoffMinMs: config.function.backoffMinMs,
    backoffMaxMs: config.function.backoffMaxMs,
    ...handlers,
  });
}
