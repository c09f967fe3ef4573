import type { Config } from './config/config.ts';
import { createLink, type FunctionLink, type LinkOptions } from './functions/link.ts';
import { allDialects } from './protocol/dialects.ts';
import type { ClientTls } from './secure.ts';
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
    /** As `function.tls` says; read by `readNamedFiles`. */
    readonly tls: ClientTls | undefined;
  } & Pick<LinkOptions, 'shared' | 'onAway' | 'onBack' | 'onRefused'>,
): FunctionLink {
  const { devMode, selfToken, tls, ...handlers } = options;
  return createLink({
    url: new URL(config.function.url),
    tls,
    dialects: allDialects(),
    proxy: {
      name: 'stateferry',
      version: version(),
      ...doorsOf(config.doors),
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

/** Where the function's component clients find the runtime. They speak clear text (PROTOCOLS 2). */
function doorsOf({ host, port, tls }: Config['doors']): { readonly hostname: string; readonly port: number } {
  if (tls.plainPort !== undefined) return { hostname: '127.0.0.1', port: tls.plainPort };
  return { hostname: ANY_ADDRESS.has(host) ? 'localhost' : host, port };
}
