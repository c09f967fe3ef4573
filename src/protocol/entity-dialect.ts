import type protobuf from 'protobufjs';
import type { ComponentKind } from '../model/component.ts';
import { ANY_URLS } from './any-urls.ts';
import type { Dialect, RawSpec } from './dialect.ts';
import {
  type PassivationMessage,
  type ServiceInfoMessage,
  toPassivationMs,
  toProxyInfo,
  toService,
} from './messages.ts';
import { CLOUDSTATE_OPTIONS } from './options.ts';
import { replicatedProtocol } from './replicated.ts';
import { CLOUDSTATE_DELTAS, createDeltaFormat } from './replicated-deltas.ts';
import { actionProtocol, eventSourcedProtocol, valueProtocol } from './streams.ts';

/** All that differs between the two dialects whose discovery lists entities (A and B): see PROTOCOLS 1 to 8. */
export interface EntityDialectTable {
  readonly name: string;
  /** What a function says that it speaks; 0.0: it says nothing. */
  readonly version: { readonly major: number; readonly minor: number };
  /** There are value entities. */
  readonly hasValues: boolean;
  /** Replicated entities are told whole values: at the start, and of what is new in a map. */
  readonly hasWholeValues: boolean;
  readonly action: {
    /** Full name of the protocol's service. */
    readonly service: string;
    readonly command: string;
    readonly response: string;
    /** A stream of commands begins with a message that only says whom it is for; otherwise each message says it. */
    readonly routesFirst: boolean;
  };
}

/** What the reference proxy says of itself to functions of both generations (PROTOCOLS 12). */
const RUNTIME_VERSION = { major: 0, minor: 2 };
const RUNTIME_SUPPORTS = [
  'cloudstate.action.ActionProtocol',
  'cloudstate.valueentity.ValueEntity',
  'cloudstate.eventsourced.EventSourced',
  'cloudstate.crdt.Crdt',
];

interface SpecMessage {
  proto?: Uint8Array;
  entities?: {
    entity_type?: string;
    service_name?: string;
    persistence_id?: string;
    passivation_strategy?: PassivationMessage | null;
  }[];
  service_info?: ServiceInfoMessage | null;
}

/** Builds dialect A or B from its table and its wire messages (`wire` keeps the field names of the .proto files). */
export function createEntityDialect(table: EntityDialectTable, wire: protobuf.Root): Dialect {
  const type = (name: string) => wire.lookupType(`cloudstate.${name}`);
  const { action } = table;
  const kinds = new Map<string, ComponentKind>([
    ['cloudstate.eventsourced.EventSourced', 'event-sourced'],
    ...(table.hasValues ? [['cloudstate.valueentity.ValueEntity', 'value'] as const] : []),
    ['cloudstate.crdt.Crdt', 'replicated'],
    [action.service, 'action'],
  ]);

  const proxyInfo = type('ProxyInfo');
  const spec = type('EntitySpec');
  const userFunctionError = type('UserFunctionError');

  return {
    name: table.name,
    version: table.version,
    discoverPath: '/cloudstate.EntityDiscovery/discover',
    reportErrorPath: '/cloudstate.EntityDiscovery/reportError',
    proxyTerminatedPath: undefined,
    kinds,
    unserved: new Map(),
    options: CLOUDSTATE_OPTIONS,
    anyUrls: ANY_URLS.cloudstate,
    eventSourced: eventSourcedProtocol(
      {
        path: '/cloudstate.eventsourced.EventSourced/handle',
        streamIn: type('eventsourced.EventSourcedStreamIn'),
        streamOut: type('eventsourced.EventSourcedStreamOut'),
      },
      { tellsState: false },
    ),
    ...(table.hasValues && {
      value: valueProtocol({
        path: '/cloudstate.valueentity.ValueEntity/handle',
        streamIn: type('valueentity.ValueEntityStreamIn'),
        streamOut: type('valueentity.ValueEntityStreamOut'),
      }),
    }),
    replicated: replicatedProtocol({
      path: '/cloudstate.crdt.Crdt/handle',
      streamIn: type('crdt.CrdtStreamIn'),
      streamOut: type('crdt.CrdtStreamOut'),
      format: createDeltaFormat(CLOUDSTATE_DELTAS, { addsWhole: table.hasWholeValues }),
      change: table.hasWholeValues ? 'changed' : 'delta',
      streams: true,
    }),
    action: actionProtocol({
      path: (kind) => `/${action.service}/handle${kind}`,
      command: wire.lookupType(action.command),
      response: wire.lookupType(action.response),
      routesFirst: action.routesFirst,
    }),
    encodeProxyInfo: (info) => proxyInfo.encode(toProxyInfo(info, RUNTIME_VERSION, RUNTIME_SUPPORTS)).finish(),
    decodeSpec: (bytes) => toRawSpec(spec.decode(bytes) as SpecMessage),
    encodeError: ({ message }) => userFunctionError.encode({ message }).finish(),
  };
}

function toRawSpec({ proto, entities = [], service_info }: SpecMessage): RawSpec {
  return {
    ...toService(service_info),
    fileDescriptorSet: proto ?? new Uint8Array(),
    components: entities.map(({ entity_type, service_name, persistence_id, passivation_strategy }) => ({
      type: entity_type ?? '',
      service: service_name ?? '',
      entityType: persistence_id ?? '',
      passivationMs: toPassivationMs(passivation_strategy),
    })),
  };
}
