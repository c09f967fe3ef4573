import type { Dialect } from './dialect.ts';
import { createEntityDialect, type EntityDialectTable } from './entity-dialect.ts';
import { loadWire } from './wire.ts';

/** Dialect B: the last Cloudstate protocol, 0.2 (the Go SDK and others that were never in a registry). */
const TABLE: EntityDialectTable = {
  name: 'cloudstate',
  version: { major: 0, minor: 2 },
  hasValues: true,
  hasWholeValues: false,
  action: {
    service: 'cloudstate.action.ActionProtocol',
    command: 'cloudstate.action.ActionCommand',
    response: 'cloudstate.action.ActionResponse',
    routesFirst: true,
  },
};

export function cloudstate(): Dialect {
  return createEntityDialect(TABLE, loadWire('cloudstate'));
}
