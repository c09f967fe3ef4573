import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { FunctionClient } from '../../src/functions/client.ts';
import { discover } from '../../src/functions/discovery.ts';
import { GrpcError } from '../../src/functions/grpc-error.ts';
import { allDialects } from '../../src/protocol/dialects.ts';
import { loadWire } from '../../src/protocol/wire.ts';
import { compileProtos } from '../support/compile-protos.ts';

/* Both Cloudstate protocols answer discovery at the same path: which one a function speaks is told by what it answers. */

const wire = loadWire('cloudstate');
const EVENT_SOURCED = 'cloudstate.eventsourced.EventSourced';

const descriptor = (keys: 'cloudstate' | 'cloudstate-first') =>
  compileProtos({
    'shop.proto': `
      syntax = "proto3";
      package shop;
      import "${keys}/entity_key.proto";
      service Cart { rpc Add(Item) returns (Item); }
      service Desk { rpc Ring(Item) returns (Item); }
      message Item { string id = 1; string cart = 2 [(cloudstate.entity_key) = true]; }
    `,
  });
const FIRST = descriptor('cloudstate-first');
const LAST = descriptor('cloudstate');

interface Entity {
  readonly entity_type: string;
  readonly service_name: string;
  readonly persistence_id?: string;
}
const cart: Entity = { entity_type: EVENT_SOURCED, service_name: 'shop.Cart', persistence_id: 'carts' };
const desk = (entity_type: string): Entity => ({ entity_type, service_name: 'shop.Desk' });

/** Discovers a function that answers with this; `version`: major and minor, if it tells them. */
async function discovered(given: {
  readonly proto?: Uint8Array;
  readonly entities: readonly Entity[];
  readonly version?: readonly [number, number];
}) {
  const { proto = FIRST, entities, version } = given;
  const [protocol_major_version, protocol_minor_version] = version ?? [];
  const spec = { proto, entities, service_info: { protocol_major_version, protocol_minor_version } };
  const calls: { readonly path: string; readonly request: Uint8Array }[] = [];
  const client = {
    async unary(path: string, request: Uint8Array) {
      calls.push({ path, request });
      if (path.endsWith('/discover'))
        return Buffer.from(wire.lookupType('cloudstate.EntitySpec').encode(spec).finish());
      if (path.endsWith('/reportError')) return Buffer.alloc(0);
      throw new GrpcError(status.UNIMPLEMENTED, 'no such method');
    },
  } as unknown as FunctionClient;
  const proxy = { name: 'test', version: '1', hostname: 'h', port: 9, devMode: false };
  const result = await discover({ client, dialects: allDialects(), proxy, timeoutMs: 1 }).then(
    ({ dialect, spec: { protocolVersion, components }, unserved }) => ({
      dialect: dialect.name,
      protocolVersion,
      components,
      unserved,
    }),
    (error: { code: string; message: string }) => ({ error }),
  );
  return { ...result, calls: calls.filter(({ path }) => path.startsWith('/cloudstate.')) };
}

describe('a function that answers cloudstate.EntityDiscovery', () => {
  it.each([
    ['tells no version', { entities: [cart] }, 'cloudstate-first', 'none'],
    [
      'has functions without state',
      { entities: [desk('cloudstate.function.StatelessFunction')] },
      'cloudstate-first',
      'none',
    ],
    ['tells version 0.2', { proto: LAST, entities: [cart], version: [0, 2] }, 'cloudstate', '0.2'],
    [
      'has actions',
      { proto: LAST, entities: [desk('cloudstate.action.ActionProtocol')], version: [0, 2] },
      'cloudstate',
      '0.2',
    ],
  ] as const)('and %s is known by that, with one call', async (_what, answer, dialect, protocolVersion) => {
    const { calls, ...result } = await discovered(answer);

    expect(result).toMatchObject({ dialect, protocolVersion, unserved: [] });
    expect(calls.map(({ path }) => path)).toEqual(['/cloudstate.EntityDiscovery/discover']);
  });

  it.each([
    ['0.3', { entities: [cart], version: [0, 3] }, 'speaks cloudstate 0.3, and this runtime speaks 0.2'],
    [
      'no version, and something that only the last protocol has',
      { entities: [cart, desk('cloudstate.action.ActionProtocol')] },
      'speaks cloudstate without a version, and this runtime speaks 0.2',
    ],
    [
      'a component type of no protocol',
      { entities: [desk('cloudstate.batch.Batch')], version: [0, 2] },
      'shop.Desk has the component type "cloudstate.batch.Batch"',
    ],
    ['no component', { entities: [], version: [0, 2] }, 'lists no components'],
  ] as const)('and tells %s is refused, which it is told', async (_what, answer, sentence) => {
    const { calls, ...result } = await discovered(answer);

    expect(result).toMatchObject({ error: { message: expect.stringContaining(sentence) } });
    expect(calls.map(({ path }) => path)).toEqual([
      '/cloudstate.EntityDiscovery/discover',
      '/cloudstate.EntityDiscovery/reportError',
    ]);
    const reported = wire.lookupType('cloudstate.UserFunctionError').decode(calls[1]?.request ?? new Uint8Array());
    expect(reported).toMatchObject({ message: expect.stringContaining(sentence) });
  });

  it.each([
    ['cloudstate-first', { proto: FIRST, entities: [cart] }],
    ['cloudstate', { proto: LAST, entities: [cart], version: [0, 2] }],
  ] as const)('has its entity keys read as %s marks them', async (dialect, answer) => {
    const result = await discovered(answer);

    expect(result).toMatchObject({ dialect });
    expect('components' in result && result.components.get('shop.Cart')).toMatchObject({ entityType: 'carts' });
    expect('components' in result && result.components.get('shop.Cart')?.methods.get('Add')?.entityKeyFields).toEqual([
      { number: 2, name: 'cart', scalar: 'string' },
    ]);
  });

  it.each([
    ['cloudstate.function.StatelessFunction', undefined],
    ['cloudstate.action.ActionProtocol', [0, 2] as const],
  ])('has %s told apart by their services, whatever persistence id they have', async (type, version) => {
    const entities = [{ ...desk(type), persistence_id: 'entity' }];

    expect(await discovered({ entities, ...(version && { version }) })).toMatchObject({
      components: new Map([['shop.Desk', expect.objectContaining({ kind: 'action', entityType: 'shop.Desk' })]]),
    });
  });

  it('is served with its CRDTs, by whatever generation', async () => {
    const crdt = desk('cloudstate.crdt.Crdt');

    expect(await discovered({ entities: [cart, crdt] })).toMatchObject({
      dialect: 'cloudstate-first',
      components: new Map([
        ['shop.Cart', expect.anything()],
        ['shop.Desk', expect.objectContaining({ kind: 'replicated' })],
      ]),
      unserved: [],
    });
  });
});

it('a Kalix function with a view is told of it by its methods, and served without it', async () => {
  const proto = compileProtos({
    'shop.proto': `
      syntax = "proto3";
      package shop;
      service Cart { rpc Add(Item) returns (Item); }
      service ByProduct { rpc Update(Item) returns (Item); rpc Find(Item) returns (stream Item); }
      message Item { string id = 1; }
    `,
  });
  const components = [
    { component_type: 'kalix.component.valueentity.ValueEntities', service_name: 'shop.Cart' },
    { component_type: 'kalix.component.view.Views', service_name: 'shop.ByProduct' },
  ];
  const service_info = { protocol_major_version: 1, protocol_minor_version: 1 };
  const answer = loadWire('kalix')
    .lookupType('kalix.protocol.Spec')
    .encode({ proto, components, service_info })
    .finish();
  const client = {
    async unary(path: string) {
      if (path === '/kalix.protocol.Discovery/Discover') return Buffer.from(answer);
      throw new GrpcError(status.UNIMPLEMENTED, 'no such method');
    },
  } as unknown as FunctionClient;
  const proxy = { name: 'test', version: '1', hostname: 'h', port: 9, devMode: false };

  const { spec, unserved } = await discover({ client, dialects: allDialects(), proxy, timeoutMs: 1 });

  expect([...spec.components.keys()]).toEqual(['shop.Cart']);
  expect(unserved).toEqual([
    'shop.ByProduct is a view, which this version of Stateferry does not serve: Update, Find cannot be called',
  ]);
});
