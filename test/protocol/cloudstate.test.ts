import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Metadata, Payload } from '../../src/model/payload.ts';
import { cloudstate } from '../../src/protocol/cloudstate.ts';
import { cloudstateFirst } from '../../src/protocol/cloudstate-first.ts';
import type { Dialect, EntityProtocol } from '../../src/protocol/dialect.ts';
import { loadProtos, loadWire } from '../../src/protocol/wire.ts';

/*
 * What goes over the wire, checked with what the JavaScript SDK's package states of the first protocol, and with our own
 * statement of the last one, which no package has: test/sdk/drift.test.ts holds its numbers.
 */
const sdk = path.join(path.dirname(createRequire(import.meta.url).resolve('cloudstate/package.json')), 'proto');
const sdkFiles = readdirSync(path.join(sdk, 'cloudstate')).map((file) => `cloudstate/${file}`);

const GENERATIONS = [
  {
    dialect: cloudstateFirst(),
    wire: loadProtos(sdk, sdkFiles),
    command: 'function.FunctionCommand',
    response: 'function.FunctionReply',
  },
  {
    dialect: cloudstate(),
    wire: loadWire('cloudstate'),
    command: 'action.ActionCommand',
    response: 'action.ActionResponse',
  },
] as const;

const payload: Payload = { typeUrl: 'type.googleapis.com/shop.AddItem', value: Buffer.from([8, 1]) };
const any = { type_url: payload.typeUrl, value: payload.value };
const nothing: Payload = { typeUrl: 'type.googleapis.com/google.protobuf.Empty', value: new Uint8Array() };
const metadata: Metadata = [
  { key: 'ce-id', value: 'x' },
  { key: 'raw-bin', value: Buffer.from([1, 2]) },
];
const wireMetadata = {
  entries: [
    { key: 'ce-id', string_value: 'x' },
    { key: 'raw-bin', bytes_value: Buffer.from([1, 2]) },
  ],
};

describe('the tables', () => {
  it('of the first protocol: no value entities, and functions without state under their old name', () => {
    expect(tableOf(cloudstateFirst())).toEqual({
      name: 'cloudstate-first',
      version: { major: 0, minor: 0 },
      kinds: [
        ['cloudstate.eventsourced.EventSourced', 'event-sourced'],
        ['cloudstate.crdt.Crdt', 'replicated'],
        ['cloudstate.function.StatelessFunction', 'action'],
      ],
      streams: ['/cloudstate.eventsourced.EventSourced/handle', undefined],
      calls: {
        unary: '/cloudstate.function.StatelessFunction/handleUnary',
        streamedIn: '/cloudstate.function.StatelessFunction/handleStreamedIn',
        streamedOut: '/cloudstate.function.StatelessFunction/handleStreamedOut',
        streamed: '/cloudstate.function.StatelessFunction/handleStreamed',
      },
    });
  });

  it('of the last protocol', () => {
    expect(tableOf(cloudstate())).toEqual({
      name: 'cloudstate',
      version: { major: 0, minor: 2 },
      kinds: [
        ['cloudstate.eventsourced.EventSourced', 'event-sourced'],
        ['cloudstate.valueentity.ValueEntity', 'value'],
        ['cloudstate.crdt.Crdt', 'replicated'],
        ['cloudstate.action.ActionProtocol', 'action'],
      ],
      streams: ['/cloudstate.eventsourced.EventSourced/handle', '/cloudstate.valueentity.ValueEntity/handle'],
      calls: {
        unary: '/cloudstate.action.ActionProtocol/handleUnary',
        streamedIn: '/cloudstate.action.ActionProtocol/handleStreamedIn',
        streamedOut: '/cloudstate.action.ActionProtocol/handleStreamedOut',
        streamed: '/cloudstate.action.ActionProtocol/handleStreamed',
      },
    });
  });

  it.each(GENERATIONS)(
    'of both: discovery, nothing that is not served, and where JSON goes ($dialect.name)',
    ({ dialect }) => {
      expect(dialect).toMatchObject({
        discoverPath: '/cloudstate.EntityDiscovery/discover',
        reportErrorPath: '/cloudstate.EntityDiscovery/reportError',
        unserved: new Map(),
        anyUrls: { json: 'json.cloudstate.io/', primitive: 'p.cloudstate.io/' },
      });
      expect(dialect.proxyTerminatedPath).toBeUndefined();
      expect(dialect.eventSourced.state).toBeUndefined();
    },
  );
});

function tableOf({ name, version, kinds, eventSourced, value, action }: Dialect) {
  return { name, version, kinds: [...kinds], streams: [eventSourced.path, value?.path], calls: action.paths };
}

describe.each(GENERATIONS)('$dialect.name', ({ dialect, wire, ...names }) => {
  const typeOf = (name: string) => wire.lookupType(`cloudstate.${name}`);
  const encoded = (name: string, message: object) => Buffer.from(typeOf(name).encode(message).finish());
  const streamIn = (message: object) => encoded('eventsourced.EventSourcedStreamIn', message);
  const out = (message: object) =>
    dialect.eventSourced.decodeOut(encoded('eventsourced.EventSourcedStreamOut', message));

  it('tells the function what the reference proxy tells', () => {
    const info = { name: 'stateferry', version: '1.2', hostname: 'h', port: 9, devMode: true };

    expect(Buffer.from(dialect.encodeProxyInfo(info))).toEqual(
      encoded('ProxyInfo', {
        protocol_major_version: 0,
        protocol_minor_version: 2,
        proxy_name: 'stateferry',
        proxy_version: '1.2',
        supported_entity_types: [
          'cloudstate.action.ActionProtocol',
          'cloudstate.valueentity.ValueEntity',
          'cloudstate.eventsourced.EventSourced',
          'cloudstate.crdt.Crdt',
        ],
      }),
    );
  });

  it('reads what the function is', () => {
    const action = [...dialect.kinds].find(([, kind]) => kind === 'action')?.[0] ?? '';
    const spec = dialect.decodeSpec(
      encoded('EntitySpec', {
        proto: Buffer.from([1]),
        entities: [
          { entity_type: 'cloudstate.eventsourced.EventSourced', service_name: 'a.Cart', persistence_id: 'carts' },
          { entity_type: action, service_name: 'a.Desk', persistence_id: 'entity' },
        ],
        service_info: { service_name: 'shop', support_library_name: 'lib', support_library_version: '3' },
      }),
    );

    expect(spec).toMatchObject({
      components: [
        { type: 'cloudstate.eventsourced.EventSourced', service: 'a.Cart', entityType: 'carts' },
        { type: action, service: 'a.Desk', entityType: 'entity' },
      ],
      serviceName: 'shop',
      supportLibrary: 'lib',
      supportLibraryVersion: '3',
      protocolMajor: 0,
      protocolMinor: 0,
    });
    expect([...spec.fileDescriptorSet]).toEqual([1]);
  });

  it('complains in one sentence', () => {
    expect(Buffer.from(dialect.encodeError({ code: 'FUNCTION_SPEC', message: 'no.', detail: '' }))).toEqual(
      encoded('UserFunctionError', { message: 'no.' }),
    );
  });

  it('opens an entity, with its snapshot or without one', () => {
    const { encodeInit } = dialect.eventSourced;
    const init = { service_name: 'a.Cart', entity_id: 'c1' };

    expect(Buffer.from(encodeInit({ service: 'a.Cart', entityId: 'c1' }))).toEqual(streamIn({ init }));
    expect(Buffer.from(encodeInit({ service: 'a.Cart', entityId: 'c1', snapshot: { seq: 5, payload } }))).toEqual(
      streamIn({ init: { ...init, snapshot: { snapshot_sequence: 5, snapshot: any } } }),
    );
  });

  it('replays an event', () => {
    expect(Buffer.from(dialect.eventSourced.encodeEvent(7, payload))).toEqual(
      streamIn({ event: { sequence: 7, payload: any } }),
    );
  });

  it('sends a command, always with a payload, and with metadata only where there is some', () => {
    const { encodeCommand } = dialect.eventSourced;
    const command = { entityId: 'c1', id: 3, name: 'Get', payload: nothing, metadata: [] };

    expect(Buffer.from(encodeCommand(command))).toEqual(
      streamIn({ command: { entity_id: 'c1', id: 3, name: 'Get', payload: { type_url: nothing.typeUrl } } }),
    );
    const sent = loadWire(dialect.name as 'cloudstate')
      .lookupType('cloudstate.eventsourced.EventSourcedStreamIn')
      .decode(encodeCommand({ ...command, metadata }));
    expect(sent).toHaveProperty('command.metadata.entries', [
      expect.objectContaining(wireMetadata.entries[0]),
      expect.objectContaining(wireMetadata.entries[1]),
    ]);
  });

  it('reads a reply with events, a snapshot and side effects', () => {
    const effect = { service_name: 'a.Desk', command_name: 'Ring', payload: any };
    const reply = {
      command_id: 3,
      client_action: { reply: { payload: any } },
      side_effects: [{ ...effect, synchronous: true }, effect],
      events: [any, any],
      snapshot: any,
    };
    const call = { service: 'a.Desk', method: 'Ring', payload, metadata: [] };

    expect(out({ reply })).toEqual({
      kind: 'reply',
      commandId: 3,
      effect: {
        answer: { kind: 'reply', payload, metadata: [] },
        sideEffects: [
          { ...call, synchronous: true },
          { ...call, synchronous: false },
        ],
        events: [payload, payload],
        snapshot: payload,
      },
    });
  });

  it.each([
    [
      'a forward',
      { forward: { service_name: 'a.Desk', command_name: 'Ring', payload: any } },
      { kind: 'forward', call: { service: 'a.Desk', method: 'Ring', payload, metadata: [] } },
    ],
    [
      'a failure',
      { failure: { command_id: 3, description: 'no' } },
      { kind: 'failure', description: 'no', restart: false },
    ],
    ['no answer', {}, { kind: 'none' }],
  ])('reads %s', (_what, client_action, answer) => {
    expect(out({ reply: { command_id: 3, client_action } })).toEqual({
      kind: 'reply',
      commandId: 3,
      effect: { answer, sideEffects: [], events: [] },
    });
  });

  it('reads a failure of the stream, and a message of no kind', () => {
    expect(out({ failure: { command_id: 3, description: 'no' } })).toEqual({
      kind: 'failure',
      commandId: 3,
      description: 'no',
      grpcStatus: undefined,
    });
    expect(out({})).toEqual({ kind: 'unknown' });
  });

  it('sends one command to an action, always with a payload', () => {
    const call = { service: 'a.Desk', name: 'Ring', metadata: [] };

    expect(Buffer.from(dialect.action.encodeCommand(call, nothing))).toEqual(
      encoded(names.command, { service_name: 'a.Desk', name: 'Ring', payload: { type_url: nothing.typeUrl } }),
    );
  });

  it.each([
    ['reply', { reply: { payload: any } }, { kind: 'reply', payload, metadata: [] }],
    ['failure', { failure: { description: 'no' } }, { kind: 'failure', description: 'no', restart: false }],
    [
      'forward',
      { forward: { service_name: 'a.Cart', command_name: 'Add', payload: any } },
      { kind: 'forward', call: { service: 'a.Cart', method: 'Add', payload, metadata: [] } },
    ],
    ['nothing', {}, { kind: 'none' }],
  ])("reads an action's %s", (_what, response, answer) => {
    const side_effects = [{ service_name: 'a.Cart', command_name: 'Add', payload: any }];

    expect(dialect.action.decodeResponse(encoded(names.response, { ...response, side_effects }))).toEqual({
      answer,
      sideEffects: [{ service: 'a.Cart', method: 'Add', payload, metadata: [], synchronous: false }],
      events: [],
    });
  });
});

describe('a stream of commands to an action', () => {
  const call = { service: 'a.Desk', name: 'Gather', metadata };
  const of = (dialect: Dialect) => {
    const { first, encode } = dialect.action.openInput(call);
    return { first: first && Buffer.from(first), later: Buffer.from(encode(payload)) };
  };
  const whom = { service_name: 'a.Desk', name: 'Gather', metadata: wireMetadata };

  it('says in each message of the first protocol whom it is for', () => {
    const type = loadWire('cloudstate-first').lookupType('cloudstate.function.FunctionCommand');

    expect(of(cloudstateFirst())).toEqual({
      first: undefined,
      later: Buffer.from(type.encode({ ...whom, payload: any }).finish()),
    });
  });

  it('says in the first message of the last protocol whom it is for, and in the others nothing of it', () => {
    const type = loadWire('cloudstate').lookupType('cloudstate.action.ActionCommand');

    expect(of(cloudstate())).toEqual({
      first: Buffer.from(type.encode(whom).finish()),
      later: Buffer.from(type.encode({ payload: any }).finish()),
    });
  });
});

describe('what only the last protocol has', () => {
  const dialect = cloudstate();
  const { encodeInit, decodeOut, encodeCommand } = dialect.value as EntityProtocol;
  const encoded = (name: string, message: object) =>
    Buffer.from(loadWire('cloudstate').lookupType(`cloudstate.${name}`).encode(message).finish());

  it('a version, and when an idle entity may be let go', () => {
    const spec = {
      entities: [{ passivation_strategy: { timeout: { timeout: 1_500 } } }, { passivation_strategy: {} }, {}],
      service_info: { protocol_major_version: 0, protocol_minor_version: 2 },
    };

    expect(dialect.decodeSpec(encoded('EntitySpec', spec))).toMatchObject({
      protocolMajor: 0,
      protocolMinor: 2,
      components: [{ passivationMs: 1_500 }, { passivationMs: undefined }, { passivationMs: undefined }],
    });
  });

  it('a value entity, whose state message is there for a new one too', () => {
    const init = { service_name: 'a.Counter', entity_id: 'c1' };
    const given = { service: 'a.Counter', entityId: 'c1' };
    const command = { entityId: 'c1', id: 1, name: 'Get', payload, metadata: [] };

    expect(Buffer.from(encodeInit(given))).toEqual(
      encoded('valueentity.ValueEntityStreamIn', { init: { ...init, state: {} } }),
    );
    expect(Buffer.from(encodeInit({ ...given, state: payload }))).toEqual(
      encoded('valueentity.ValueEntityStreamIn', { init: { ...init, state: { value: any } } }),
    );
    expect(Buffer.from(encodeCommand(command))).toEqual(
      encoded('valueentity.ValueEntityStreamIn', {
        command: { entity_id: 'c1', id: 1, name: 'Get', payload: any },
      }),
    );
  });

  it.each([
    ['update', { update: { value: any } }, { kind: 'update', value: payload }],
    ['delete', { delete: {} }, { kind: 'delete', cleanupAfterMs: 0 }],
  ])('the %s of a value', (_what, state_action, state) => {
    expect(decodeOut(encoded('valueentity.ValueEntityStreamOut', { reply: { command_id: 1, state_action } }))).toEqual({
      kind: 'reply',
      commandId: 1,
      effect: { answer: { kind: 'none' }, sideEffects: [], events: [], state },
    });
  });

  it('a failure that asks for the entity to be opened again', () => {
    const client_action = { failure: { description: 'no', restart: true } };
    const message = encoded('eventsourced.EventSourcedStreamOut', { reply: { client_action } });

    expect(dialect.eventSourced.decodeOut(message)).toHaveProperty('effect.answer', {
      kind: 'failure',
      description: 'no',
      restart: true,
    });
  });
});
