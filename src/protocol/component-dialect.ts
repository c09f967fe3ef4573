import type protobuf from 'protobufjs';
import type { ComponentKind } from '../model/component.ts';
import type { AnyUrls } from './any-urls.ts';
import type { CallerKeys, Dialect, RawSpec, SourceLocation } from './dialect.ts';
import {
  type PassivationMessage,
  type ServiceInfoMessage,
  toPassivationMs,
  toProxyInfo,
  toService,
} from './messages.ts';
import { KALIX_OPTIONS } from './options.ts';
import { replicatedProtocol } from './replicated.ts';
import { createDeltaFormat, type DeltaNames } from './replicated-deltas.ts';
import { actionProtocol, eventSourcedProtocol, valueProtocol } from './streams.ts';

/** All that differs between the two dialects whose discovery lists components (C and D): see PROTOCOLS 1 to 8. */
export interface ComponentDialectTable {
  readonly name: string;
  readonly version: { readonly major: number; readonly minor: number };
  /** `kalix` or `akkaserverless`: the root of every package name. */
  readonly root: string;
  readonly anyUrls: AnyUrls;
  /** Component kinds (last package segment and service) that exist and are not served. */
  readonly unserved: readonly (readonly [string, string])[];
  /** ProxyInfo has the fields by which a function reaches the runtime. */
  readonly namesProxy: boolean;
  /** How a function is told who calls it; absent: it is not. */
  readonly callerKeys?: CallerKeys;
  /** An event sourced entity may be asked for its state (`snapshot_request`). */
  readonly tellsState: boolean;
  /** The data types of replicated entities. */
  readonly deltas: DeltaNames;
}

interface SpecMessage {
  proto?: Uint8Array;
  components?: {
    component_type?: string;
    service_name?: string;
    entity?: { entity_type?: string; passivation_strategy?: PassivationMessage | null } | null;
  }[];
  service_info?: ServiceInfoMessage | null;
}

/** Builds dialect C or D from its table and its wire messages (`wire` keeps the field names of the .proto files). */
export function createComponentDialect(table: ComponentDialectTable, wire: protobuf.Root): Dialect {
  const { root } = table;
  const type = (name: string) => wire.lookupType(`${root}.${name}`);
  const kinds = new Map<string, ComponentKind>([
    [`${root}.component.eventsourcedentity.EventSourcedEntities`, 'event-sourced'],
    [`${root}.component.valueentity.ValueEntities`, 'value'],
    [`${root}.component.replicatedentity.ReplicatedEntities`, 'replicated'],
    [`${root}.component.action.Actions`, 'action'],
  ]);
  const supported = [...kinds.keys()];

  const proxyInfo = type('protocol.ProxyInfo');
  const spec = type('protocol.Spec');
  const userFunctionError = type('protocol.UserFunctionError');

  return {
    name: table.name,
    version: table.version,
    discoverPath: `/${root}.protocol.Discovery/Discover`,
    reportErrorPath: `/${root}.protocol.Discovery/ReportError`,
    proxyTerminatedPath: `/${root}.protocol.Discovery/ProxyTerminated`,
    kinds,
    unserved: new Map(table.unserved.map(([name, what]) => [`${root}.component.${name}`, what])),
    options: KALIX_OPTIONS,
    anyUrls: table.anyUrls,
    ...(table.callerKeys !== undefined && { callerKeys: table.callerKeys }),
    eventSourced: eventSourcedProtocol(
      {
        path: `/${root}.component.eventsourcedentity.EventSourcedEntities/Handle`,
        streamIn: type('component.eventsourcedentity.EventSourcedStreamIn'),
        streamOut: type('component.eventsourcedentity.EventSourcedStreamOut'),
      },
      table,
    ),
    value: valueProtocol({
      path: `/${root}.component.valueentity.ValueEntities/Handle`,
      streamIn: type('component.valueentity.ValueEntityStreamIn'),
      streamOut: type('component.valueentity.ValueEntityStreamOut'),
    }),
    replicated: replicatedProtocol({
      path: `/${root}.component.replicatedentity.ReplicatedEntities/Handle`,
      streamIn: type('component.replicatedentity.ReplicatedEntityStreamIn'),
      streamOut: type('component.replicatedentity.ReplicatedEntityStreamOut'),
      format: createDeltaFormat(table.deltas, { addsWhole: false }),
      change: 'delta',
      streams: false,
    }),
    action: actionProtocol({
      path: (kind) => `/${root}.component.action.Actions/Handle${kind}`,
      command: type('component.action.ActionCommand'),
      response: type('component.action.ActionResponse'),
      routesFirst: true,
    }),
    encodeProxyInfo: (info) =>
      proxyInfo
        .encode({
          ...toProxyInfo(info, table.version, supported),
          dev_mode: info.devMode,
          ...(table.namesProxy && {
            proxy_hostname: info.hostname,
            internal_proxy_hostname: info.hostname,
            proxy_port: info.port,
            ...(info.selfIdentification !== undefined && {
              identification_info: {
                self_identification_header: info.selfIdentification.header,
                self_identification_token: info.selfIdentification.value,
              },
            }),
          }),
        })
        .finish(),
    decodeSpec: (bytes) => toRawSpec(spec.decode(bytes) as SpecMessage),
    encodeError: ({ code, message, detail, location }) =>
      userFunctionError
        .encode({
          code,
          message,
          detail,
          ...(location !== undefined && { source_locations: [toSourceLocation(location)] }),
        })
        .finish(),
  };
}

function toSourceLocation({ file, path, startLine, startColumn, endLine, endColumn }: SourceLocation) {
  return {
    file_name: file,
    start_line: startLine,
    start_col: startColumn,
    end_line: endLine,
    end_col: endColumn,
    proto_path: path,
  };
}

function toRawSpec({ proto, components = [], service_info }: SpecMessage): RawSpec {
  return {
    ...toService(service_info),
    fileDescriptorSet: proto ?? new Uint8Array(),
    components: components.map(({ component_type, service_name, entity }) => ({
      type: component_type ?? '',
      service: service_name ?? '',
      entityType: entity?.entity_type ?? '',
      passivationMs: toPassivationMs(entity?.passivation_strategy),
    })),
  };
}
