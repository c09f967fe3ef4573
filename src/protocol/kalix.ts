import { ANY_URLS } from './any-urls.ts';
import { type ComponentDialectTable, createComponentDialect } from './component-dialect.ts';
import type { Dialect } from './dialect.ts';
import { KALIX_DELTAS } from './replicated-deltas.ts';
import { loadWire } from './wire.ts';

/** Dialect D: Kalix, protocol 1.1 (JavaScript SDK 1.1.0, Java SDK 1.4.1). */
const TABLE: ComponentDialectTable = {
  name: 'kalix',
  version: { major: 1, minor: 1 },
  root: 'kalix',
  anyUrls: ANY_URLS.kalix,
  unserved: [
    ['view.Views', 'view'],
    ['workflow.WorkflowEntities', 'workflow'],
  ],
  namesProxy: true,
  callerKeys: { source: '_kalix-src', service: '_kalix-src-svc', claimPrefix: '_kalix-jwt-claim-' },
  tellsState: true,
  deltas: KALIX_DELTAS,
};

export function kalix(): Dialect {
  return createComponentDialect(TABLE, loadWire('kalix'));
}
