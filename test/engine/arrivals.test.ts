import pino from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Arrivals, createArrivals } from '../../src/engine/arrivals.ts';
import type { Arrival } from '../../src/engine/intake.ts';
import { type Item, publishing } from '../../src/engine/item.ts';
import { Shard } from '../../src/engine/shard.ts';
import type { StateferryError } from '../../src/errors.ts';
import type { Command } from '../../src/model/command.ts';
import type { InputRecord } from '../../src/model/record.ts';
import { inputRecord } from '../support/records.ts';

const COMMANDS = 'd-commands';

let shard: Shard;
let arrivals: Arrivals;
/** What each record becomes on arrival; what is not in it is an ordinary command. */
let become: Map<bigint, Arrival | Error>;
/** Offsets that wait for something. */
let unknown: Set<bigint>;
/** What happened, in order. */
let told: string[];
let failure: StateferryError | undefined;

beforeEach(() => {
  become = new Map();
  unknown = new Set();
  told = [];
  failure = undefined;
  shard = new Shard(
    { number: 3, epoch: 1, applied: { carts: 41n, [COMMANDS]: 5n }, chunk: 0, emitted: 0, shardSeq: 0 },
    {},
    { maxRecords: 100, maxBytes: 1_000_000 },
  );
  const command = { method: { component: { kind: 'action' } } } as Command;
  arrivals = createArrivals({
    commandTopic: COMMANDS,
    intake({ offset }) {
      const arrival = become.get(offset) ?? { kind: 'command', command };
      if (arrival instanceof Error) throw arrival;
      return arrival;
    },
    awaits: ({ offset }) => (unknown.has(offset) ? Promise.resolve() : undefined),
    shard: (number) => (number === 3 ? shard : undefined),
    gate: {
      regulate: () => undefined,
      standUntil(stands) {
        told.push('stands');
        stands.awaits++;
      },
    },
    entities: {
      dispatch: ({ record }: Item) => void told.push(`dispatch ${record.topic} ${record.offset}`),
      renew: () => [],
    },
    poison: {
      park: () => publishing([]),
      unreadable: (_, { record }, { error }) => void told.push(`unreadable ${record.offset}: ${error.message}`),
    },
    onReady: () => void told.push('ready'),
    onDoubt: (doubt) => void told.push(`doubt: ${doubt}`),
    onFailed: (error) => {
      failure = error;
    },
    signals: {
      recordsIn: (topic, count) => void told.push(`in ${topic} ${count}`),
      skipped: (count) => void told.push(`skipped ${count}`),
      strays: () => void told.push('stray'),
    },
    log: pino({ level: 'silent' }),
  });
});

/** A batch of the partition's records with these offsets; its end is behind the last of them, unless it is given. */
function arrive(topic: string, offsets: readonly bigint[], given: Partial<InputRecord> = {}, end?: bigint): void {
  const records = offsets.map((offset) => inputRecord({ topic, partition: 3, offset, ...given }));
  arrivals.arrived({ topic, partition: 3, records, highWatermark: end ?? (offsets.at(-1) ?? 0n) + 1n });
}

describe('records that arrive', () => {
  it('go to their entities once, in order, however often they are fetched', () => {
    arrive('carts', [41n, 43n]);
    // The consumer was sent back, and brings what is in the window again.
    arrive('carts', [41n, 43n, 44n]);
    expect(told).toEqual([
      'dispatch carts 41',
      'dispatch carts 43',
      'in carts 2',
      'dispatch carts 44',
      'in carts 1',
      'skipped 2',
    ]);
    expect(shard.next.get('carts')).toBe(45n);
    expect(shard.end.get('carts')).toBe(45n);
  });

  it('of a shard that is not here, or is drained, are left to others', () => {
    arrivals.arrived({ topic: 'carts', partition: 4, records: [inputRecord({ partition: 4 })], highWatermark: 42n });
    shard.state = 'draining';
    arrive('carts', [41n]);
    expect(told).toEqual([]);
    expect(shard.isEmpty()).toBe(true);
  });

  it('are not taken from input topics while these are held back, and from the command topic they are', () => {
    shard.gated = true;
    arrive('carts', [41n]);
    arrive(COMMANDS, [5n]);
    expect(told).toEqual([`dispatch ${COMMANDS} 5`, `in ${COMMANDS} 1`]);
    expect(shard.next.get('carts')).toBe(41n);
  });

  it('stop before the first of which something must be known, and go on there', () => {
    unknown.add(42n);
    arrive('carts', [41n, 42n, 43n]);
    arrive('carts', [42n, 43n]);
    expect(told).toEqual(['dispatch carts 41', 'stands', 'in carts 1']);
    unknown.clear();
    shard.awaits = 0;
    told = [];
    arrive('carts', [42n, 43n]);
    expect(told).toEqual(['dispatch carts 42', 'dispatch carts 43', 'in carts 2']);
  });

  it('that call no function are ready for the journal at once', () => {
    become.set(41n, { kind: 'ignore' });
    become.set(42n, { kind: 'stray', outputs: [] });
    arrive('carts', [41n, 42n]);
    expect(told).toEqual(['stray', 'in carts 2', 'ready']);
    expect(shard.takeChunk(100, 1_000_000)?.chunk.inputs.map(({ offset }) => offset)).toEqual([41n, 42n]);
  });

  it('that we fail to read are dead letters, and hold nobody up', () => {
    become.set(41n, new TypeError('undefined is no function'));
    arrive('carts', [41n, 42n]);
    expect(told).toEqual([
      'unreadable 41: the record could not be read: undefined is no function',
      'dispatch carts 42',
      'in carts 2',
    ]);
  });
});

describe('a topic that is another one than it was', () => {
  it('is told by the newest record that was read, which comes again with another time', () => {
    arrive('carts', [41n, 42n], { timestamp: 1_000 });
    arrive('carts', [42n, 43n], { timestamp: 2_000 });
    expect(failure?.code).toBe('TOPIC_RECREATED');
    expect(failure?.message).toContain('offset 42 of "carts" partition 3 is another record than it was');
    // Nothing of the new one was taken in.
    expect(shard.next.get('carts')).toBe(43n);
  });

  it('is doubted when it is shorter than what was read of it', () => {
    arrive('carts', [41n, 42n]);
    told = [];
    arrive('carts', [0n, 1n]);
    expect(told).toEqual(['doubt: partition 3 of "carts" ends at 2, and has been read up to 43']);
    expect(failure).toBeUndefined();
  });
});
