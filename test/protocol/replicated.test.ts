import { Writer } from 'protobufjs/minimal.js';
import { describe, expect, it } from 'vitest';
import type { Payload } from '../../src/model/payload.ts';
import type { ReplicatedDelta } from '../../src/model/replicated.ts';
import { akkaServerless } from '../../src/protocol/akkaserverless.ts';
import { cloudstate } from '../../src/protocol/cloudstate.ts';
import { cloudstateFirst } from '../../src/protocol/cloudstate-first.ts';
import type { Dialect } from '../../src/protocol/dialect.ts';
import { kalix } from '../../src/protocol/kalix.ts';

/* The bytes are written here by the numbers of the protocols, so that no table of ours stands on both sides. */

type Field = readonly [number, Part];
type Part = string | Uint8Array | readonly Field[] | { readonly varint: number } | { readonly zigzag: number };

function bytes(...fields: Field[]): Buffer {
  const writer = Writer.create();
  for (const [number, part] of fields) {
    if (typeof part === 'string') writer.uint32((number << 3) | 2).string(part);
    else if (part instanceof Uint8Array) writer.uint32((number << 3) | 2).bytes(part);
    else if ('length' in part) writer.uint32((number << 3) | 2).bytes(bytes(...part));
    else if ('varint' in part) writer.uint32(number << 3).int64(part.varint);
    else writer.uint32(number << 3).sint64(part.zigzag);
  }
  return Buffer.from(writer.finish());
}
const varint = (value: number): Part => ({ varint: value });
const zigzag = (value: number): Part => ({ zigzag: value });

const payload = (text: string): Payload => ({ typeUrl: 't', value: Uint8Array.from(Buffer.from(text)) });
const any = (text: string): Field[] => [
  [1, 't'],
  [2, Buffer.from(text)],
];

const A = cloudstateFirst();
const B = cloudstate();
const C = akkaServerless();
const D = kalix();
const [ADDED, REMOVED] = [payload('a'), payload('r')];
const SET = { cleared: true, removed: [REMOVED], added: [ADDED] } as const;
const set = (kind: 'set' | 'gset'): ReplicatedDelta => ({ kind, ...SET });
const counter = (change: number): ReplicatedDelta => ({ kind: 'counter', change });
const register = (text: string): ReplicatedDelta => ({
  kind: 'register',
  value: payload(text),
  clock: 'custom',
  clockValue: 7,
});
const entry = (delta: ReplicatedDelta) => ({ key: payload('k'), delta });
const mapOf = (
  kind: 'map' | 'counter-map' | 'register-map' | 'multi-map',
  updated: ReplicatedDelta,
  added?: ReplicatedDelta,
): ReplicatedDelta => ({
  kind,
  cleared: true,
  removed: [REMOVED],
  updated: [entry(updated)],
  added: added === undefined ? [] : [entry(added)],
});

const SET_BODY: Field[] = [
  [1, varint(1)],
  [2, any('r')],
  [3, any('a')],
];
const REGISTER_BODY: Field[] = [
  [1, any('v')],
  [2, varint(2)],
  [3, varint(7)],
];
const collection = (...rest: Field[]): Field[] => [[1, varint(1)], [2, any('r')], ...rest];
const keyed = (body: Field[]): Field[] => [
  [1, any('k')],
  [2, body],
];

/** Of each dialect's deltas: the number of the member, its body on the wire, and what it says. */
const DELTAS: readonly (readonly [Dialect, number, readonly Field[], ReplicatedDelta])[] = [
  ...[A, B].flatMap((dialect) => [
    [dialect, 1, [[1, varint(5)]], { kind: 'gcounter', change: 5 }] as const,
    [dialect, 2, [[1, zigzag(-5)]], counter(-5)] as const,
    [dialect, 3, [[1, any('a')]], { kind: 'gset', cleared: false, removed: [], added: [ADDED] }] as const,
    [dialect, 4, SET_BODY, set('set')] as const,
    [dialect, 5, REGISTER_BODY, register('v')] as const,
    [dialect, 6, [[1, varint(1)]], { kind: 'flag', isOn: true }] as const,
    [dialect, 8, [[1, varint(1)]], { kind: 'vote', selfVote: true }] as const,
  ]),
  // What is new in a map comes as a whole value in the first protocol, whose counters are no zigzags.
  [
    A,
    7,
    collection([3, keyed([[2, [[1, zigzag(2)]]]])], [4, keyed([[2, [[1, varint(3)]]]])]),
    mapOf('map', counter(2), counter(3)),
  ],
  [
    B,
    7,
    collection([3, keyed([[2, [[1, zigzag(2)]]]])], [4, keyed([[2, [[1, zigzag(3)]]]])]),
    mapOf('map', counter(2), counter(3)),
  ],
  [C, 2, [[1, zigzag(-5)]], counter(-5)],
  [C, 4, SET_BODY, set('set')],
  [C, 5, REGISTER_BODY, register('v')],
  [
    C,
    7,
    collection([3, keyed([[2, [[1, zigzag(2)]]]])], [4, keyed([[2, [[1, zigzag(3)]]]])]),
    mapOf('map', counter(2), counter(3)),
  ],
  [C, 8, [[1, varint(1)]], { kind: 'vote', selfVote: true }],
  [D, 1, [[1, zigzag(-5)]], counter(-5)],
  [D, 2, SET_BODY, set('set')],
  [D, 3, REGISTER_BODY, register('v')],
  [
    D,
    4,
    collection([3, keyed([[1, [[1, zigzag(2)]]]])], [4, keyed([[1, [[1, zigzag(3)]]]])]),
    mapOf('map', counter(2), counter(3)),
  ],
  [D, 5, collection([3, keyed([[1, zigzag(2)]])]), mapOf('counter-map', counter(2))],
  [D, 6, collection([3, keyed(REGISTER_BODY)]), mapOf('register-map', register('v'))],
  [D, 7, collection([3, keyed(SET_BODY)]), mapOf('multi-map', set('set'))],
  [D, 8, [[1, varint(1)]], { kind: 'vote', selfVote: true }],
];

const out = (dialect: Dialect, ...fields: Field[]) => dialect.replicated.decodeOut(bytes(...fields));
/** The number of `update` and `delete` in a state action. */
const [UPDATE, DELETE] = [(dialect: Dialect) => (dialect === A ? 6 : 1), (dialect: Dialect) => (dialect === A ? 7 : 2)];
const acting = (dialect: Dialect, action: Field) =>
  out(dialect, [
    1,
    [
      [1, varint(3)],
      [5, [action]],
    ],
  ]);

describe('what a function does to a value', () => {
  it.each(DELTAS.map((row) => [row[0].name, row[3].kind, row] as const))('%s, %s', (_, __, row) => {
    const [dialect, member, body, delta] = row;
    expect(acting(dialect, [UPDATE(dialect), [[member, body]]])).toMatchObject({
      kind: 'reply',
      commandId: 3,
      effect: { replicated: { kind: 'update', delta } },
    });
  });

  it.each([A, B, C, D])('is to delete it, or nothing ($name)', (dialect) => {
    expect(acting(dialect, [DELETE(dialect), []])).toMatchObject({ effect: { replicated: { kind: 'delete' } } });
    const idle = out(dialect, [1, [[1, varint(3)]]]);
    expect(idle).toMatchObject({ kind: 'reply', effect: { answer: { kind: 'none' } } });
    expect(idle).not.toHaveProperty('effect.replicated');
    // A write consistency alone.
    expect(acting(dialect, [dialect === A ? 8 : 3, varint(2)])).not.toHaveProperty('effect.replicated');
  });

  const WHOLE: readonly (readonly [number, Field[], ReplicatedDelta])[] = [
    [1, [[1, varint(5)]], { kind: 'gcounter', change: 5 }],
    [2, [[1, varint(-5)]], counter(-5)],
    [3, [[1, any('a')]], { kind: 'gset', cleared: false, removed: [], added: [ADDED] }],
    [4, [[1, any('a')]], { kind: 'set', cleared: false, removed: [], added: [ADDED] }],
    [5, REGISTER_BODY, register('v')],
    [6, [], { kind: 'flag', isOn: false }],
    [
      7,
      [[1, keyed([[2, [[1, varint(3)]]]])]],
      { kind: 'map', cleared: false, removed: [], updated: [], added: [entry(counter(3))] },
    ],
    [8, [[3, varint(1)]], { kind: 'vote', selfVote: true }],
  ];
  it.each(WHOLE)('is to create it whole, in the first protocol (%i)', (member, body, delta) => {
    expect(acting(A, [5, [[member, body]]])).toMatchObject({ effect: { replicated: { kind: 'update', delta } } });
  });

  it('is nothing that cannot be read exactly, or has no such clock', () => {
    expect(() => acting(B, [1, [[2, [[1, zigzag(2 ** 60)]]]]])).toThrow('cannot be kept exactly');
    expect(() => acting(D, [1, [[3, [[2, varint(9)]]]]])).toThrow('a register with a clock 9');
  });
});

function withoutClocks(delta: ReplicatedDelta): ReplicatedDelta {
  if (delta.kind === 'register') return { ...delta, clock: 'default', clockValue: 0 };
  if (!('updated' in delta)) return delta;
  return { ...delta, updated: delta.updated.map((one) => ({ ...one, delta: withoutClocks(one.delta) })) };
}

describe('what a function is told', () => {
  const init = { service: 's', entityId: 'e' };
  const start: Field[] = [
    [1, 's'],
    [2, 'e'],
  ];

  it.each([A, B, C, D])('is that there is nothing yet ($name)', (dialect) => {
    expect(dialect.replicated.encodeInit(init)).toEqual(bytes([1, start]));
  });

  it('is the value: as a whole one by the first protocol, as a delta by all others', () => {
    expect(A.replicated.encodeInit({ ...init, delta: counter(-2) })).toEqual(
      bytes([1, [...start, [3, [[2, [[1, varint(-2)]]]]]]]),
    );
    for (const [dialect, member] of [
      [B, 2],
      [C, 2],
      [D, 1],
    ] as const) {
      expect(dialect.replicated.encodeInit({ ...init, delta: counter(-2) })).toEqual(
        bytes([1, [...start, [3, [[member, [[1, zigzag(-2)]]]]]]]),
      );
    }
  });

  it('is a change, of which a clock is left out', () => {
    const told = bytes([3, [[5, [[1, any('v')]]]]]);
    expect(A.replicated.encodeDelta(register('v'))).toEqual(told);
    for (const [dialect, member] of [
      [B, 5],
      [C, 5],
      [D, 3],
    ] as const) {
      expect(dialect.replicated.encodeDelta(register('v'))).toEqual(bytes([2, [[member, [[1, any('v')]]]]]));
    }
  });

  it('is a vote with its count, of one voter', () => {
    expect(D.replicated.encodeDelta({ kind: 'vote', selfVote: true })).toEqual(
      bytes([
        2,
        [
          [
            8,
            [
              [1, varint(1)],
              [2, varint(1)],
              [3, varint(1)],
            ],
          ],
        ],
      ]),
    );
  });

  it.each(DELTAS.map((row) => [row[0].name, row[3].kind, row] as const))(
    'reads as it is written (%s, %s)',
    (...row) => {
      const [dialect, , , delta] = row[2];
      // Inside the message of the change, which has a tag and a short length.
      const body = Buffer.from(dialect.replicated.encodeDelta(delta)).subarray(2);
      expect(acting(dialect, [UPDATE(dialect), body])).toMatchObject({
        effect: { replicated: { delta: withoutClocks(delta) } },
      });
    },
  );

  it('is the wider type where the protocol has no other, and nothing at all of one that it does not have', () => {
    expect(C.replicated.encodeInit({ ...init, delta: { kind: 'gcounter', change: 4 } })).toEqual(
      bytes([1, [...start, [3, [[2, [[1, zigzag(4)]]]]]]]),
    );
    expect(() => D.replicated.encodeInit({ ...init, delta: { kind: 'flag', isOn: true } })).toThrow(
      expect.objectContaining({ code: 'ENTITY_UNREADABLE' }),
    );
    expect(() => B.replicated.encodeInit({ ...init, delta: mapOf('multi-map', set('set')) })).toThrow(
      expect.objectContaining({ code: 'ENTITY_UNREADABLE' }),
    );
  });
});

describe('streams of answers', () => {
  const command = { entityId: 'e', id: 2, name: 'Watch', payload: payload('p'), metadata: [] };
  const sent: Field[] = [
    [1, 'e'],
    [2, varint(2)],
    [3, 'Watch'],
    [4, any('p')],
  ];

  it.each([
    [A, 5, 6],
    [B, 4, 5],
  ] as const)('of A and B (%#)', (dialect, commandNumber, cancelledNumber) => {
    const { replicated } = dialect;
    expect(replicated.encodeCommand({ ...command, streamed: true })).toEqual(
      bytes([commandNumber, [...sent, [5, varint(1)]]]),
    );
    expect(replicated.encodeCommand(command)).toEqual(bytes([commandNumber, sent]));
    expect(replicated.encodeStreamCancelled?.({ entityId: 'e', id: 2 })).toEqual(
      bytes([
        cancelledNumber,
        [
          [1, 'e'],
          [2, varint(2)],
        ],
      ]),
    );
    expect(
      out(dialect, [
        1,
        [
          [1, varint(2)],
          [6, varint(1)],
        ],
      ]),
    ).toMatchObject({ kind: 'reply', effect: { streamed: true } });
    const reply: Field = [2, [[1, [[1, any('x')]]]]];
    expect(out(dialect, [2, [[1, varint(2)], reply, [4, varint(1)]]])).toMatchObject({
      kind: 'streamed',
      message: {
        commandId: 2,
        answer: { kind: 'reply', payload: { typeUrl: 't', value: Buffer.from('x') } },
        isEnd: true,
      },
    });
    expect(
      out(dialect, [
        3,
        [
          [1, varint(2)],
          [3, [[UPDATE(dialect), [[2, [[1, zigzag(1)]]]]]]],
        ],
      ]),
    ).toMatchObject({
      kind: 'cancelled',
      commandId: 2,
      effect: { replicated: { delta: counter(1) } },
    });
    expect(
      out(dialect, [
        4,
        [
          [1, varint(2)],
          [2, 'why'],
        ],
      ]),
    ).toMatchObject({ kind: 'failure', description: 'why' });
  });

  it.each([C, D])('are unknown to $name', (dialect) => {
    expect(dialect.replicated.encodeStreamCancelled).toBeUndefined();
    expect(dialect.replicated.encodeCommand(command)).toEqual(bytes([4, sent]));
    expect(
      out(dialect, [
        2,
        [
          [1, varint(2)],
          [2, 'why'],
        ],
      ]),
    ).toMatchObject({ kind: 'failure', description: 'why' });
  });
});
