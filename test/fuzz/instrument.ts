import { createInstrumenter } from 'istanbul-lib-instrument';

/*
 * A loader hook of Node (module.register): modules whose URL has one of these in it count what of them runs.
 */

const COUNTED = ['/src/codec/', '/src/doors/', '/src/protocol/', '/src/functions/', '/src/config/', '/src/engine/'];
const LIBRARIES = ['/@bufbuild/protobuf/dist/esm/', '/src/topics/'];

const instrumenter = createInstrumenter({
  esModules: true,
  compact: true,
  produceSourceMap: false,
});

interface Loaded {
  readonly format: string;
  readonly source: string | Uint8Array;
}

/** Called by Node for each module. */
export async function load(
  url: string,
  context: unknown,
  next: (url: string, context: unknown) => Promise<Loaded>,
): Promise<Loaded> {
  const loaded = await next(url, context);
  if (loaded.format !== 'module' || ![...COUNTED, ...LIBRARIES].some((part) => url.includes(part))) return loaded;
  const source = typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source).toString('utf8');
  return { ...loaded, source: instrumenter.instrumentSync(source, url) };
}
