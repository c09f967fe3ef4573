import { describe, expect, it } from 'vitest';
import { expectedOf } from '../../src/demo/expected.ts';
import { type Flight, loadFlights } from '../../src/demo/flights.ts';
import { judge } from '../../src/demo/judge.ts';
import { type Doctored, decode, faultlessFacts, NAMES } from './doctored.ts';

const flights = loadFlights();
const some = sampleOf(flights);

function verdictOn(doctor: (facts: Doctored) => void, of: readonly Flight[] = some) {
  const facts = faultlessFacts(of);
  doctor(facts);
  return judge({ flights: of.length, expected: expectedOf(of), facts, decode, names: NAMES });
}

/** Flights of a few airports, among them congested ones, so that every kind of output and snapshot is there. */
function sampleOf(all: readonly Flight[]): Flight[] {
  const airports = new Set(['DTW', 'HNL', 'MDT', 'ORD', 'PHL']);
  return all.filter(({ origin }) => airports.has(origin)).slice(0, 1_200);
}

describe('the expectation', () => {
  it('is what the function makes of all 20,000 flights, by rules of its own', () => {
    const { tallies, faults } = verdictOn(() => undefined, flights);

    expect(faults).toEqual([]);
    expect(Object.fromEntries(tallies.map(({ what, expected, found }) => [what, [expected, found]]))).toEqual({
      'messages in': [20_000, 20_000],
      commands: [20_305, 20_305],
      'statuses out': [20_000, 20_000],
      'state events out': [20_305, 20_305],
      'alerts out': [305, 305],
      'events in Postgres': [20_305, 20_305],
      'dead letters': [0, 0],
    });
  });

  it('depends on the order of an airport’s flights, not only on which they are', () => {
    const reversed = expectedOf([...some].reverse());
    expect(reversed.statuses).not.toEqual(expectedOf(some).statuses);
  });
});

describe('the judge', () => {
  it('finds nothing where nothing is wrong', () => {
    expect(verdictOn(() => undefined).faults).toEqual([]);
  });

  it.each<[string, (facts: Doctored) => void, RegExp]>([
    ['a lost status', (f) => f.statuses.splice(500, 1), /^statuses out: 1 lost$/],
    ['a lost last status', (f) => f.statuses.pop(), /^statuses out: 1 lost$/],
    ['a doubled status', (f) => again(f.statuses, 500), /^statuses out: 1 duplicated$/],
    ['a status that comes again at the end', (f) => again(f.statuses, 0, 'late'), /^statuses out: 1 duplicated$/],
    ['two statuses of an airport that are swapped', (f) => swap(f.statuses), /^statuses out: 2 misplaced$/],
    ['a wrong total', (f) => rewrite(f.statuses, 900, { totalDelay: 1 }), /^statuses out: 1 wrong$/],
    ['a wrong mean', (f) => rewrite(f.statuses, 3, { meanDelay: 0.1 }), /^statuses out: 1 wrong$/],
    ['a status under another key', (f) => edit(f.statuses, 3, { key: 'XXX' }), /^statuses out: 1 unexpected$/],
    ['an unreadable status', (f) => edit(f.statuses, 3, { value: Buffer.from('{') }), /^statuses out: 1 unexpected$/],
    ['an airport in two partitions', (f) => edit(f.statuses, 3, { partition: 7 }), /are in several partitions$/],
    ['a missing alert', (f) => f.alerts.splice(1, 1), /^alerts out: 1 lost$/],
    ['a doubled alert', (f) => again(f.alerts, 1), /^alerts out: 1 duplicated$/],
    ['two alerts of an airport that are swapped', (f) => swap(f.alerts), /^alerts out: 2 misplaced$/],
    ['an alert that says the opposite', (f) => rewrite(f.alerts, 0, { congested: false }), /^alerts out: 1 wrong$/],
    ['a lost state event', (f) => f.events.splice(9, 1), /^state events out: 1 lost$/],
    ['a doubled state event', (f) => again(f.events, 9), /^state events out: 1 duplicated$/],
    ['two state events of an airport that are swapped', (f) => swap(f.events), /^state events out: 2 misplaced$/],
    ['a state event of another type', (f) => edit(f.events, 9, { type: 'x' }), /^state events out: 1 unexpected$/],
    ['a message that was published twice', (f) => edit(f, undefined, { published: 1_201 }), /^messages in: 1 dupl/],
    ['a side effect that was sent twice', (f) => again(f.commands, 0), /^commands: 1 duplicated$/],
    ['a side effect that was not sent', (f) => f.commands.splice(0, 1), /^commands: 1 lost$/],
    ['a dead letter', (f) => f.deadLetters.push(at(f.statuses, 0)), /^1 records are dead letters$/],
    ['an event that Postgres lacks', (f) => f.journal.events.splice(9, 1), /^events in Postgres: 1 lost$/],
    ['a gap in an entity', (f) => f.journal.events.splice(9, 1), /^the events of airports DTW in Postgres have a gap/],
    ['a gap in a shard', (f) => f.journal.events.splice(9, 1), /^the events of shard \d have a gap/],
    [
      'an event of another content in Postgres',
      (f) => edit(f.journal.events, 9, { payload: Buffer.from('{}') }),
      /^events in Postgres: 1 unexpected$/,
    ],
    ['an event of another entity type', (f) => edit(f.journal.events, 9, { entityType: 'x' }), /of the entity type x$/],
    [
      'a shard that counts wrongly',
      (f) => edit(f.journal.shards, 0, { shardSeq: 1 }),
      /^shard 0 says that its last event/,
    ],
    ['a missing snapshot', (f) => f.journal.snapshots.splice(0, 1), /^snapshots: 1 lost$/],
    ['a snapshot at another sequence', (f) => edit(f.journal.snapshots, 0, { seq: 7 }), /^snapshots: 1 unexpected$/],
    [
      'a snapshot of another state',
      (f) => edit(f.journal.snapshots, 0, { payload: Buffer.from('{"late":0}') }),
      /^snapshots: 1 wrong$/,
    ],
    ['input that was not applied', (f) => f.ends.set(0, 5_000), /^shard 0 has applied its input up to \d+, .* 5000$/],
    [
      'a command that was not applied',
      (f) => edit(f.journal.shards, 0, { applied: { flights: f.ends.get(0) ?? 0, commands: 0 } }),
      /^shard 0 has applied its commands up to 0/,
    ],
    ['a position that was not committed', (f) => f.committed.set(1, {}), /^shard 1 has applied flights up to/],
    [
      'a chunk that was never emitted',
      (f) => f.journal.outbox.push({ shard: 1, chunk: 9, positions: { flights: 5_000 } }),
      /^chunk 9 of shard 1 is in the outbox/,
    ],
  ])('finds %s', (_what, doctor, fault) => {
    expect(verdictOn(doctor).faults).toContainEqual(expect.stringMatching(fault));
  });

  it('takes a chunk in the outbox for emitted where the group has committed beyond it', () => {
    const verdict = verdictOn((f) =>
      f.journal.outbox.push({ shard: 1, chunk: 9, positions: { flights: 3, commands: 0 } }),
    );
    expect(verdict.faults).toEqual([]);
  });

  it('counts a loss and a duplicate as one each, though the number found is right', () => {
    const { tallies } = verdictOn((f) => {
      f.statuses.splice(500, 1);
      f.statuses.push({ ...at(f.statuses, 0) });
    });
    expect(tallies.find(({ what }) => what === 'statuses out')).toMatchObject({ lost: 1, duplicated: 1 });
  });

  it('takes neither a loss nor a duplicate for a wrong order, though events may be equal', () => {
    const { faults } = verdictOn((f) => {
      const ended = f.events.findIndex(({ type }) => type === 'flights.CongestionEnded');
      f.events.splice(ended, 1);
      again(f.statuses, 500);
    });
    expect(faults).toContain('state events out: 1 lost');
    expect(faults.filter((fault) => fault.includes('misplaced'))).toEqual([]);
  });

  it('names the airport and the flight', () => {
    const { faults } = verdictOn((f) => f.statuses.splice(0, 1));
    expect(faults).toContainEqual('statuses out, for example lost: DTW flight 1');
  });
});

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new RangeError(`the sample has no ${index}`);
  return item;
}

function edit<T extends object>(list: T, index: undefined, by: Partial<T>): void;
function edit<T extends object>(list: readonly T[], index: number, by: Partial<T>): void;
function edit(list: object, index: number | undefined, by: object): void {
  Object.assign(index === undefined ? list : at(list as readonly object[], index), by);
}

/** Changes fields of a record's JSON. */
function rewrite(records: readonly { value: Buffer }[], index: number, by: Record<string, unknown>): void {
  const record = at(records, index);
  record.value = Buffer.from(JSON.stringify({ ...decode.json('', record.value.toString()), ...by }));
}

/** Puts a record in once more, behind itself or at the end. */
function again<T extends object>(records: T[], index: number, when: 'at once' | 'late' = 'at once'): void {
  records.splice(when === 'late' ? records.length : index, 0, { ...at(records, index) });
}

/** Swaps two records of the same airport that differ. */
function swap(records: { key: string; type: string; value: Buffer }[]): void {
  const first = records.findIndex((one) => records.some((other) => isOther(one, other)));
  const second = records.findIndex((other, index) => index > first && isOther(at(records, first), other));
  const [a, b] = [at(records, first), at(records, second)];
  records[first] = b;
  records[second] = a;
}

function isOther(one: { key: string; value: Buffer }, other: { key: string; value: Buffer }): boolean {
  return one !== other && one.key === other.key && !one.value.equals(other.value);
}
