import type { Dialect } from './dialect.ts';
import { createEntityDialect, type EntityDialectTable } from './entity-dialect.ts';
import { loadWire } from './wire.ts';

/** Dialect A: the first Cloudstate protocol (JavaScript SDK 0.0.3, Java SDK 0.5.2, Python SDK 0.1.1). */
const TABLE: EntityDialectTable = {
  name: 'cloudstate-first',
  version: { major: 0, minor: 0 },
  hasValues: false,
  hasWholeValues: true,
  action: {
    service: 'cloudstate.function.StatelessFunction',
    command: 'cloudstate.function.FunctionCommand',
    response: 'cloudstate.function.FunctionReply',
    // The JavaScript SDK looks at each message for whom it is for.
    routesFirst: false,
  },
};

export function cloudstateFirst(): Dialect {
  return createEntityDialect(TABLE, loadWire('cloudstate-first'));
}
