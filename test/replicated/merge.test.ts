import { describe, expect, it } from 'vitest';
import { decodeReplicatedDelta, encodeReplicatedDelta } from '../../src/codec/replicated-record.ts';
import type { Payload } from '../../src/model/payload.ts';
import type {
  RegisterClock,
  ReplicatedData,
  ReplicatedDelta,
  ReplicatedKind,
  ReplicatedMapKind,
} from '../../src/model/replicated.ts';
import { fold } from '../../src/replicated/fold.ts';
import { fromNothing, merge } from '../../src/replicated/merge.ts';
import { createRandom, type Random } from '../support/random.ts';

const text = (value: string): Payload => ({ typeUrl: 'text', value: new Uint8Array(Buffer.from(value)) });
const counter = (change: number): ReplicatedDelta => ({ kind: 'counter', change });
const register = (value: string, clock: RegisterClock = 'default', clockValue = 0): ReplicatedDelta => ({
  kind: 'register',
  value: text(value),
  clock,
  clockValue,
});
const set = (kind: 'set' | 'gset', added: string[], removed: string[] = [], cleared = false): ReplicatedDelta => ({
  kind,
  cleared,
  removed: removed.map(text),
  added: added.map(text),
});
type Entries = Readonly<Record<string, ReplicatedDelta>>;
const entries = (given: Entries) => Object.entries(given).map(([key, delta]) => ({ key: text(key), delta }));
const map = (
  kind: ReplicatedMapKind,
  { cleared = false, removed = [] as string[], updated = {} as Entries, added = {} as Entries },
): ReplicatedDelta => ({
  kind,
  cleared,
  removed: removed.map(text),
  updated: entries(updated),
  added: entries(added),
});

/** What deltas make, as something to read. */
function made(...deltas: ReplicatedDelta[]): unknown {
  const data = fold(deltas);
  return data === undefined ? undefined : plain(fromNothing(data));
}

function plain(delta: ReplicatedDelta): unknown {
  const read = ({ value }: Payload) => Buffer.from(value).toString();
  switch (delta.kind) {
    case 'gcounter':
    case 'counter':
      return delta.change;
    case 'gset':
    case 'set':
      return delta.added.map(read);
    case 'register':
      return read(delta.value);
    case 'flag':
      return delta.isOn;
    case 'vote':
      return delta.selfVote;
    default:
      return Object.fromEntries(
        [...delta.updated, ...delta.added].map((entry) => [read(entry.key), plain(entry.delta)]),
      );
  }
}

const CLOCKS: readonly RegisterClock[] = ['default', 'reverse', 'custom', 'custom-auto-increment'];
const VALUES = { map: undefined, 'counter-map': 'counter', 'register-map': 'register', 'multi-map': 'set' } as const;

/** Any delta of the kind; of a map of any, a key's values are always of the same kind. */
function anyDelta(kind: ReplicatedKind, random: Random, depth = 0): ReplicatedDelta {
  const keys = (count: number) => Array.from({ length: random.int(count) }, () => 'abcdef'[random.int(6)] as string);
  switch (kind) {
    case 'gcounter':
      return { kind, change: random.int(10) };
    case 'counter':
      return counter(random.int(20) - 10);
    case 'gset':
      return set(kind, keys(4));
    case 'set':
      return set(kind, keys(4), keys(3), random.int(8) === 0);
    case 'register':
      return register('xyz'[random.int(3)] as string, CLOCKS[random.int(4)], random.int(6) - 2);
    case 'flag':
      return { kind, isOn: random.int(2) === 1 };
    case 'vote':
      return { kind, selfVote: random.int(2) === 1 };
    default: {
      const one = VALUES[kind];
      const of = (key: string): ReplicatedKind =>
        one ??
        (['counter', 'set', 'register', depth === 0 ? 'map' : 'vote', 'flag', 'gcounter'] as const)[
          'abcdef'.indexOf(key)
        ] ??
        'set';
      const some = () => Object.fromEntries(keys(3).map((key) => [key, anyDelta(of(key), random, depth + 1)]));
      return map(kind, {
        cleared: random.int(10) === 0,
        removed: keys(3),
        updated: some(),
        added: kind === 'map' ? some() : {},
      });
    }
  }
}

/** The delta as a function takes it, that knows no clocks: what is written is there. */
function asWritten(delta: ReplicatedDelta): ReplicatedDelta {
  if (delta.kind === 'register') return { ...delta, clock: 'default' };
  if (!('updated' in delta)) return delta;
  const inner = ({ key, delta: one }: (typeof delta.updated)[number]) => ({ key, delta: asWritten(one) });
  return { ...delta, updated: delta.updated.map(inner), added: delta.added.map(inner) };
}

const KINDS: readonly ReplicatedKind[] = [
  'gcounter',
  'counter',
  'gset',
  'set',
  'register',
  'flag',
  'vote',
  'map',
  'counter-map',
  'register-map',
  'multi-map',
];

describe.each(KINDS)('any history of a %s', (kind) => {
  it('makes the same from any of its snapshots as from nothing, also as the journal has it', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = createRandom(seed);
      const history = Array.from({ length: 1 + random.int(30) }, () => anyDelta(kind, random));
      const whole = fold(history);
      expect(whole).toBeDefined();
      for (const at of [1, 1 + random.int(history.length), history.length]) {
        const before = fold(history.slice(0, at));
        const kept = [...(before === undefined ? [] : [fromNothing(before)]), ...history.slice(at)].map((delta) =>
          decodeReplicatedDelta(encodeReplicatedDelta(delta)),
        );
        expect(fold(kept)).toEqual(whole);
      }
    }
  });

  it('leaves a function that is told the corrections with the value that is kept', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = createRandom(seed);
      let kept: ReplicatedData | undefined;
      let believed: ReplicatedData | undefined;
      for (let n = 0; n < 20; n++) {
        const delta = anyDelta(kind, random);
        const { data, correction } = merge(kept, delta);
        kept = data;
        believed = merge(believed, asWritten(delta)).data;
        if (correction !== undefined) believed = merge(believed, asWritten(correction)).data;
        expect(plain(fromNothing(believed))).toEqual(plain(fromNothing(kept)));
      }
    }
  });
});

describe('a counter', () => {
  it('adds, and says no to what cannot be kept exactly', () => {
    expect(made(counter(5), counter(-7))).toBe(-2);
    expect(() => made(counter(Number.MAX_SAFE_INTEGER), counter(1))).toThrow('cannot be kept exactly');
  });
});

describe('a set', () => {
  it('is cleared, then loses, then gets', () => {
    expect(made(set('set', ['a', 'b', 'c']), set('set', ['d'], ['b']))).toEqual(['a', 'c', 'd']);
    expect(made(set('set', ['a', 'b']), set('set', ['b'], ['a', 'b'], true))).toEqual(['b']);
  });

  it('knows its elements by type and bytes', () => {
    const number = { typeUrl: 'number', value: text('a').value };
    const both = fold([set('set', ['a']), { kind: 'set', cleared: false, removed: [], added: [number] }]);
    expect(both?.kind === 'set' && both.elements.size).toBe(2);
  });
});

describe('a register', () => {
  const winner = (...writes: ReplicatedDelta[]) => made(...writes);

  it.each([
    ['the last write by the default clock', [register('a'), register('b')], 'b'],
    ['the first write by the reverse clock', [register('a', 'reverse'), register('b', 'reverse')], 'a'],
    ['the greater custom clock', [register('a', 'custom', 5), register('b', 'custom', 3)], 'a'],
    ['the first of two with the same custom clock', [register('a', 'custom', 5), register('b', 'custom', 5)], 'a'],
    ['a custom clock that has gone on', [register('a', 'custom', 5), register('b', 'custom', 6)], 'b'],
    [
      'the last by a custom clock that increments itself',
      [register('a', 'custom', 5), register('b', 'custom-auto-increment', 5), register('c', 'custom', 6)],
      'b',
    ],
  ] as const)('keeps %s', (_, writes, expected) => {
    expect(winner(...writes)).toBe(expected);
  });

  it('tells who wrote a value that loses which one is there', () => {
    const before = fold([register('a', 'custom', 5)]);
    const { data, correction } = merge(before, register('b', 'custom', 4));
    expect(data).toBe(before);
    expect(correction && plain(correction)).toBe('a');
    expect(merge(before, register('b', 'custom', 6)).correction).toBeUndefined();
  });

  it('does so within a map, for the entries that lose alone', () => {
    const before = fold([map('register-map', { updated: { x: register('a', 'reverse'), y: register('b') } })]);
    const { data, correction } = merge(
      before,
      map('register-map', { updated: { x: register('c', 'reverse'), y: register('d') } }),
    );
    expect(plain(fromNothing(data))).toEqual({ x: 'a', y: 'd' });
    expect(correction && plain(correction)).toEqual({ x: 'a' });
  });
});

describe('a vote and a flag', () => {
  it('a vote that is cast again is told as it is: whoever cast it may have counted it twice', () => {
    const before = fold([{ kind: 'vote', selfVote: true }]);
    expect(merge(before, { kind: 'vote', selfVote: true })).toEqual({ data: before, correction: before });
    expect(made({ kind: 'vote', selfVote: true }, { kind: 'vote', selfVote: false })).toBe(false);
  });

  it('a flag stays on', () => {
    expect(made({ kind: 'flag', isOn: false }, { kind: 'flag', isOn: true })).toBe(true);
    const on = fold([{ kind: 'flag', isOn: true }]);
    expect(merge(on, { kind: 'flag', isOn: true })).toEqual({ data: on });
    expect(merge(on, { kind: 'flag', isOn: false })).toEqual({ data: on, correction: on });
  });
});

describe('a map', () => {
  it('begins an added entry anew, changes an updated one, and lets a removed one go', () => {
    expect(
      made(
        map('map', { added: { a: counter(1), b: set('set', ['x']), c: counter(9) } }),
        map('map', { removed: ['c'], updated: { a: counter(2) }, added: { d: register('v') } }),
        map('map', { removed: ['b'], added: { b: counter(7) } }),
      ),
    ).toEqual({ a: 3, d: 'v', b: 7 });
    expect(made(map('counter-map', { updated: { a: counter(1) } }), map('counter-map', { cleared: true }))).toEqual({});
  });
});

describe('a delta of another type', () => {
  it('is refused, unless it is the wider one of the same kind, which the value then is', () => {
    expect(() => made(counter(1), set('set', ['a']))).toThrow('changed a set, and its value is a counter');
    expect(() => made(map('map', { added: { a: counter(1) } }), map('map', { updated: { a: register('x') } }))).toThrow(
      'changed a register, and its value is a counter',
    );
    expect(fold([{ kind: 'gcounter', change: 3 }, counter(-1)])).toEqual({ kind: 'counter', value: 2 });
    expect(fold([counter(1), { kind: 'gcounter', change: 3 }])).toEqual({ kind: 'counter', value: 4 });
    expect(fold([set('gset', ['a']), set('set', ['b'], ['a'])])?.kind).toBe('set');
  });
});

describe('the event of a replicated entity', () => {
  it('is of a type of its own, and nothing else is read as one', () => {
    const { typeUrl } = encodeReplicatedDelta(counter(1));
    expect(typeUrl).toBe('type.googleapis.com/stateferry.internal.ReplicatedDelta');
    expect(() => decodeReplicatedDelta({ typeUrl: 'type.googleapis.com/shop.Added', value: new Uint8Array() })).toThrow(
      expect.objectContaining({ code: 'ENTITY_UNREADABLE' }),
    );
    expect(() => decodeReplicatedDelta({ typeUrl, value: new Uint8Array() })).toThrow(
      expect.objectContaining({ code: 'ENTITY_UNREADABLE' }),
    );
    expect(() => decodeReplicatedDelta({ typeUrl, value: Uint8Array.of(0x0a, 0x7f) })).toThrow(
      expect.objectContaining({ code: 'ENTITY_UNREADABLE' }),
    );
  });
});
