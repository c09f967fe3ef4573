import type { Decode } from '../../src/demo/decode.ts';
import type { Flight } from '../../src/demo/flights.ts';
import type { EventRow, SnapshotRow } from '../../src/demo/journal.ts';
import type { Facts } from '../../src/demo/judge.ts';
import type { SeenRecord } from '../../src/demo/reader.ts';
import { packagePath } from '../../src/package-path.ts';

/** examples/flights/airport.js: the function's own rules, which the demo's expectation must not share. */
interface Rules {
  readonly INITIAL: Airport;
  withFlight(airport: Airport, flight: Flight): Airport;
  recentLate(airport: Airport): number;
  isCongested(airport: Airport): boolean;
  statusOf(code: string, airport: Airport): object;
}
interface Airport {
  readonly flights: number;
  readonly congested: boolean;
}
const rules = (await import(packagePath('examples/flights/airport.js'))) as Rules;

/** Payloads are JSON text here, whatever they are on the wire. */
const asJson = (_type: string, bytes: Uint8Array) =>
  JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
export const decode: Decode = {
  output: asJson,
  event: asJson,
  protobuf: asJson,
  json: (_type, text) => JSON.parse(text) as Record<string, unknown>,
};

const SHARDS = 2;
export const NAMES = { input: 'flights', commands: 'commands', entityType: 'airports' };

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Rows<T> = T extends readonly (infer R)[] ? Writable<R>[] : never;
/** Facts that a test may change before it shows them to the judge. */
export interface Doctored {
  published: number;
  statuses: Rows<Facts['statuses']>;
  events: Rows<Facts['events']>;
  alerts: Rows<Facts['alerts']>;
  commands: Rows<Facts['commands']>;
  deadLetters: Rows<Facts['deadLetters']>;
  journal: {
    events: Rows<Facts['journal']['events']>;
    snapshots: Rows<Facts['journal']['snapshots']>;
    shards: Rows<Facts['journal']['shards']>;
    outbox: Rows<Facts['journal']['outbox']>;
  };
  ends: Map<number, number>;
  committed: Map<number, Record<string, number>>;
}

/** What a faultless run of the function leaves behind, each airport in the shard of its first letter's parity. */
export function faultlessFacts(flights: readonly Flight[]): Doctored {
  const facts: Doctored = {
    published: flights.length,
    statuses: [],
    events: [],
    alerts: [],
    commands: [],
    deadLetters: [],
    journal: { events: [], snapshots: [], shards: [], outbox: [] },
    ends: new Map(),
    committed: new Map(),
  };
  const states = new Map<string, { airport: Airport; seq: number }>();
  const snapshots = new Map<string, SnapshotRow>();
  const shardSeq = [0, 0];
  const applied = [0, 0];
  const ends = new Map<SeenRecord[], number[]>();
  const record = (partition: number, list: SeenRecord[], key: string, type: string, value: unknown): void => {
    const end = ends.get(list) ?? [0, 0];
    ends.set(list, end);
    const offset = BigInt(end[partition] ?? 0);
    end[partition] = Number(offset) + 1;
    list.push({ partition, offset, key, type, value: Buffer.from(JSON.stringify(value)), at: 0 });
  };
  for (const flight of flights) {
    const { origin, destination, date, delay, distance } = flight;
    const shard = origin.charCodeAt(0) % SHARDS;
    applied[shard] = (applied[shard] ?? 0) + 1;
    const before = states.get(origin) ?? { airport: rules.INITIAL, seq: 0 };
    const counted = rules.withFlight(before.airport, flight);
    const congested = rules.isCongested(counted);
    const airport = { ...counted, congested };
    const emitted: [string, object][] = [['flights.FlightRecorded', { destination, date, delay, distance }]];
    if (congested !== before.airport.congested) {
      const recentLate = rules.recentLate(counted);
      emitted.push([congested ? 'flights.CongestionStarted' : 'flights.CongestionEnded', { recentLate }]);
      const alert = { airport: origin, congested, flights: airport.flights, recentLate, date };
      record(shard, facts.alerts, origin, 'flights.Alert', alert);
      record(shard, facts.commands, origin, '', alert);
    }
    let { seq } = before;
    for (const [type, event] of emitted) {
      seq += 1;
      shardSeq[shard] = (shardSeq[shard] ?? 0) + 1;
      record(shard, facts.events, origin, type, event);
      const row: EventRow = {
        entityType: 'airports',
        entityId: origin,
        seq,
        shard,
        shardSeq: shardSeq[shard],
        typeUrl: `type.googleapis.com/${type}`,
        payload: Buffer.from(JSON.stringify(event)),
      };
      facts.journal.events.push(row);
      if (seq % 50 === 0) snapshots.set(origin, { ...row, seq: -1, payload: Buffer.alloc(0) });
    }
    if (snapshots.get(origin)?.seq === -1) {
      const typeUrl = 'type.googleapis.com/flights.Airport';
      const payload = Buffer.from(JSON.stringify(airport));
      snapshots.set(origin, { entityType: 'airports', entityId: origin, seq, typeUrl, payload });
    }
    record(shard, facts.statuses, origin, 'flights.AirportStatus', rules.statusOf(origin, airport));
    states.set(origin, { airport, seq });
  }
  facts.journal.snapshots.push(...snapshots.values());
  for (let shard = 0; shard < SHARDS; shard++) {
    const commands = facts.commands.filter(({ partition }) => partition === shard).length;
    const offsets = { flights: applied[shard] ?? 0, commands };
    facts.journal.shards.push({ shard, shardSeq: shardSeq[shard] ?? 0, applied: offsets });
    facts.ends.set(shard, offsets.flights);
    facts.committed.set(shard, { ...offsets });
  }
  facts.journal.events.sort((a, b) => (a.entityId === b.entityId ? a.seq - b.seq : a.entityId < b.entityId ? -1 : 1));
  return facts;
}
