import type { WireDialect } from '../../src/protocol/wire.ts';

/** What a test that plays the runtime has to know of a dialect besides its messages. Methods are `<service>/<method>`. */
export interface WireNames {
  /** The root of its protobuf packages: services and messages are named below it. */
  readonly root: string;
  readonly discover: string;
  readonly proxyInfo: string;
  readonly spec: string;
  readonly eventSourced: string;
  readonly value: string;
  /** Major and minor: what the SDKs speak. */
  readonly version: readonly [number, number];
}

const ENTITIES = {
  root: 'cloudstate',
  discover: 'EntityDiscovery/discover',
  proxyInfo: 'ProxyInfo',
  spec: 'EntitySpec',
  eventSourced: 'eventsourced.EventSourced/handle',
  value: 'valueentity.ValueEntity/handle',
  version: [0, 2],
} as const satisfies WireNames;

const COMPONENTS = {
  discover: 'protocol.Discovery/Discover',
  proxyInfo: 'protocol.ProxyInfo',
  spec: 'protocol.Spec',
  eventSourced: 'component.eventsourcedentity.EventSourcedEntities/Handle',
  value: 'component.valueentity.ValueEntities/Handle',
} as const satisfies Partial<WireNames>;

export const WIRE_NAMES: Readonly<Record<WireDialect, WireNames>> = {
  'cloudstate-first': ENTITIES,
  cloudstate: ENTITIES,
  akkaserverless: { ...COMPONENTS, root: 'akkaserverless', version: [0, 7] },
  kalix: { ...COMPONENTS, root: 'kalix', version: [1, 1] },
};
