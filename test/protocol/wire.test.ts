import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { loadWire, type WireDialect } from '../../src/protocol/wire.ts';

interface Contract {
  readonly dialect: WireDialect;
  readonly streamOut: string;
  readonly failure: string;
  /** The change of a replicated value, and the counter in it. */
  readonly delta: readonly [type: string, counter: string];
  /** The options of a method that takes `commands`. */
  readonly options: Readonly<Record<string, unknown>>;
}

const componentContract = (dialect: 'akkaserverless' | 'kalix'): Contract => ({
  dialect,
  streamOut: `${dialect}.component.eventsourcedentity.EventSourcedStreamOut`,
  failure: `${dialect}.component.Failure`,
  delta: [`${dialect}.component.replicatedentity.ReplicatedEntityDelta`, 'counter'],
  options: { [`.${dialect}.method`]: { eventing: { in: { topic: 'commands', consumer_group: 'group' } } } },
});
const entityContract = (dialect: 'cloudstate-first' | 'cloudstate', eventing: object): Contract => ({
  dialect,
  streamOut: 'cloudstate.eventsourced.EventSourcedStreamOut',
  failure: 'cloudstate.Failure',
  delta: ['cloudstate.crdt.CrdtDelta', 'pncounter'],
  options: { '.cloudstate.eventing': eventing },
});
const CONTRACTS: readonly Contract[] = [
  entityContract('cloudstate-first', { in: 'commands' }),
  entityContract('cloudstate', { in: { topic: 'commands', consumer_group: 'group' } }),
  componentContract('akkaserverless'),
  componentContract('kalix'),
];

interface Reply {
  command_id: number;
  client_action: { action: string; reply: { payload: { type_url: string; value: Uint8Array } } };
  events: unknown[];
  snapshot: unknown;
}

describe.each(CONTRACTS)('loadWire($dialect)', ({ dialect, options, ...names }) => {
  const wire = loadWire(dialect);
  const streamOut = wire.lookupType(names.streamOut);
  const failure = wire.lookupType(names.failure);

  it('answers the same root every time', () => {
    expect(loadWire(dialect)).toBe(wire);
  });

  it.each([0, 1, 127, 128, 2 ** 31, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER, -1, -(2 ** 40)])(
    'decodes the 64-bit integer %d as that number',
    (id) => {
      expect(failure.decode(failure.encode({ command_id: id }).finish())).toHaveProperty('command_id', id);
    },
  );

  it('decodes 64-bit integers of every encoding as numbers', () => {
    const [type, counter] = names.delta;
    const delta = wire.lookupType(type);

    const bytes = delta.encode({ [counter]: { change: -12_345_678_901 } }).finish();

    expect(delta.decode(bytes)).toHaveProperty(`${counter}.change`, -12_345_678_901);
  });

  it('keeps the names of the contract, tells which member of a oneof is set, and has null for what is absent', () => {
    const any = { type_url: 'type.googleapis.com/a.B', value: Uint8Array.of(1, 2) };
    const bytes = streamOut.encode({ reply: { command_id: 7, client_action: { reply: { payload: any } } } }).finish();

    const out = streamOut.decode(bytes) as unknown as { message: string; reply: Reply; failure: unknown };

    expect(out.message).toBe('reply');
    expect(out.failure).toBeNull();
    expect(out.reply.command_id).toBe(7);
    expect(out.reply.client_action.action).toBe('reply');
    expect(out.reply.client_action.reply.payload.type_url).toBe('type.googleapis.com/a.B');
    expect([...out.reply.client_action.reply.payload.value]).toEqual([1, 2]);
    expect(out.reply.events).toEqual([]);
    expect(out.reply.snapshot).toBeNull();
  });

  it('has bytes, not an array of numbers, for bytes that are empty, as a message of nothing but defaults is', () => {
    const bytes = streamOut.encode({ reply: { events: [{ type_url: 'a', value: new Uint8Array() }] } }).finish();

    const [event] = (streamOut.decode(bytes) as unknown as { reply: { events: { value: unknown }[] } }).reply.events;

    expect(event?.value).toEqual(new Uint8Array());
  });

  it('decodes any Uint8Array, also one that starts in the middle of its memory', () => {
    const bytes = failure.encode({ command_id: 300, description: 'äöü' }).finish();
    const memory = new Uint8Array(bytes.length + 10);
    memory.set(bytes, 5);

    expect(failure.decode(memory.subarray(5, 5 + bytes.length))).toMatchObject({
      command_id: 300,
      description: 'äöü',
    });
  });

  it('refuses bytes that end too early', () => {
    const bytes = failure.encode({ command_id: 300, description: 'too long' }).finish();

    expect(() => failure.decode(bytes.subarray(0, bytes.length - 1))).toThrow(RangeError);
  });

  it("reads the dialect's options out of a descriptor set", () => {
    const method = wire.lookupType('google.protobuf.MethodDescriptorProto');

    const bytes = method.encode({ name: 'Record', options }).finish();

    expect(method.toObject(method.decode(bytes))).toEqual({ name: 'Record', options });
  });
});

describe('protobufjs beside the wire contracts', () => {
  it('still reads 64-bit integers without loss', () => {
    for (const { dialect } of CONTRACTS) loadWire(dialect);
    const { root } = protobuf.parse('syntax = "proto3"; message Amount { int64 cents = 1; }');
    const amount = root.lookupType('Amount');

    const decoded = amount.toObject(amount.decode(Uint8Array.of(8, 255, 255, 255, 255, 255, 255, 255, 255, 127)), {
      longs: String,
    });

    expect(decoded).toEqual({ cents: '9223372036854775807' });
  });
});
