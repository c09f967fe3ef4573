import { ANY_URLS } from './any-urls.ts';
import { type ComponentDialectTable, createComponentDialect } from './component-dialect.ts';
import type { Dialect } from './dialect.ts';
import { AKKA_SERVERLESS_DELTAS } from './replicated-deltas.ts';
import { loadWire } from './wire.ts';

/** Dialect C: Akka Serverless, protocol 0.7 (JavaScript SDK 0.32.0, Python SDK 0.1.13). */
const TABLE: ComponentDialectTable = {
  name: 'akkaserverless',
  version: { major: 0, minor: 7 },
  root: 'akkaserverless',
  anyUrls: ANY_URLS.akkaserverless,
  unserved: [['view.Views', 'view']],
  namesProxy: false,
  tellsState: false,
  deltas: AKKA_SERVERLESS_DELTAS,
};

export function akkaServerless(): Dialect {
  return createComponentDialect(TABLE, loadWire('akkaserverless'));
}
