import { messageOf } from '../errors.ts';
import { compare, type Difference, isEqual } from './compare.ts';
import type { Decode } from './decode.ts';
import {
  alertItem,
  type ByAirport,
  type Expected,
  eventItem,
  type Item,
  snapshotItem,
  statusItem,
} from './expected.ts';
import type { Journal, Offsets } from './journal.ts';
import type { SeenRecord } from './reader.ts';

/** What there is when everything is at rest, as Kafka and Postgres show it. */
export interface Facts {
  /** Records in the input topic. */
  readonly published: number;
  readonly statuses: readonly SeenRecord[];
  readonly events: readonly SeenRecord[];
  readonly alerts: readonly SeenRecord[];
  /** Of the command topic: the side effects. */
  readonly commands: readonly SeenRecord[];
  readonly deadLetters: readonly SeenRecord[];
  readonly journal: Journal;
  /** End of each partition of the input topic. */
  readonly ends: ReadonlyMap<number, number>;
  /** The group's committed offsets, by shard. */
  readonly committed: ReadonlyMap<number, Offsets>;
}

/** One line of the result: how many there had to be, and how many there are. */
export interface Tally {
  readonly what: string;
  readonly expected: number;
  readonly found: number;
  readonly lost: number;
  readonly duplicated: number;
}

export interface Verdict {
  readonly tallies: readonly Tally[];
  /** A sentence for everything that does not hold; none: it all does. */
  readonly faults: readonly string[];
}

/** Holds what came out against what had to, all of it. Pure: it can be shown doctored facts, and must find the fault. */
export function judge(options: {
  readonly flights: number;
  readonly expected: Expected;
  readonly facts: Facts;
  readonly decode: Decode;
  readonly names: { readonly input: string; readonly commands: string; readonly entityType: string };
}): Verdict {
  const { flights, expected, facts, decode, names } = options;
  const faults: string[] = [];
  const tallies: Tally[] = [];
  const tally = (
    what: string,
    wanted: number,
    found: number,
    { lost, duplicated }: Pick<Tally, 'lost' | 'duplicated'>,
  ) => {
    tallies.push({ what, expected: wanted, found, lost, duplicated });
    if (lost > 0) faults.push(`${what}: ${lost} lost`);
    if (duplicated > 0) faults.push(`${what}: ${duplicated} duplicated`);
  };
  const counted = (what: string, wanted: number, found: number) =>
    tally(what, wanted, found, { lost: Math.max(0, wanted - found), duplicated: Math.max(0, found - wanted) });
  const compared = (what: string, wanted: ByAirport, seen: ByAirport) => {
    const difference = compare(wanted, seen);
    tally(what, sizeOf(wanted), sizeOf(seen), difference);
    faults.push(...describe(what, difference));
  };
  const published = (what: string, wanted: ByAirport, records: readonly SeenRecord[], itemOf: ItemOf) => {
    compared(what, wanted, itemsOf(records, itemOf));
    faults.push(...strewn(what, records));
  };

  counted('messages in', flights, facts.published);
  counted('commands', flights + sizeOf(expected.alerts), facts.published + facts.commands.length);
  published('statuses out', expected.statuses, facts.statuses, (record) =>
    statusItem(decode.output('flights.AirportStatus', record.value)),
  );
  published('state events out', expected.events, facts.events, ({ type, value }) =>
    eventItem(type, decode.event(type, value)),
  );
  published('alerts out', expected.alerts, facts.alerts, (record) =>
    alertItem(decode.output('flights.Alert', record.value)),
  );
  compared('events in Postgres', expected.events, journaledEvents(facts.journal, decode));
  tally('dead letters', 0, facts.deadLetters.length, { lost: 0, duplicated: 0 });
  if (facts.deadLetters.length > 0) faults.push(`${facts.deadLetters.length} records are dead letters`);
  faults.push(
    ...sequenceFaults(facts.journal, names.entityType),
    ...positionFaults(facts, names),
    ...snapshotFaults(expected, facts.journal, decode),
  );
  return { tallies, faults };
}

type ItemOf = (record: SeenRecord) => Item;

function sizeOf(byAirport: ByAirport): number {
  let size = 0;
  for (const items of byAirport.values()) size += items.length;
  return size;
}

function describe(what: string, difference: Difference): string[] {
  if (isEqual(difference)) return [];
  const { wrong, unexpected, misplaced, examples } = difference;
  const more = Object.entries({ wrong, unexpected, misplaced }).filter(([, count]) => count > 0);
  return [
    ...more.map(([kind, count]) => `${what}: ${count} ${kind}`),
    ...examples.map((example) => `${what}, for example ${example}`),
  ];
}

/** By the record's key, in the order of the topic. */
function itemsOf(records: readonly SeenRecord[], itemOf: ItemOf): Map<string, Item[]> {
  const byAirport = new Map<string, Item[]>();
  for (const record of records) {
    append(
      byAirport,
      record.key,
      readable(() => itemOf(record), `record ${record.partition}/${record.offset}`),
    );
  }
  return byAirport;
}

/** What cannot be read is an item that nobody expects. */
function readable(read: () => Item, name: string): Item {
  try {
    return read();
  } catch (error) {
    return { id: `${name}, unreadable: ${messageOf(error)}`, text: '' };
  }
}

/** Only within one partition is an airport's order an order. */
function strewn(what: string, records: readonly SeenRecord[]): string[] {
  const home = new Map<string, number>();
  const away = new Set<string>();
  for (const { key, partition } of records) {
    const known = home.get(key);
    if (known === undefined) home.set(key, partition);
    else if (known !== partition) away.add(key);
  }
  return [...away].map((key) => `${what}: those of ${key} are in several partitions`);
}

function journaledEvents({ events }: Journal, decode: Decode): Map<string, Item[]> {
  const byAirport = new Map<string, Item[]>();
  for (const { entityId, seq, typeUrl, payload } of events) {
    const type = typeNameOf(typeUrl);
    append(
      byAirport,
      entityId,
      readable(() => eventItem(type, decode.protobuf(type, payload)), `event ${seq}`),
    );
  }
  return byAirport;
}

/** Events count from 1 without a gap, in each entity and in each shard. */
function sequenceFaults({ events, shards }: Journal, entityType: string): string[] {
  const faults: string[] = [];
  const entities = new Map<string, number[]>();
  const inShard = new Map<number, number[]>();
  for (const { entityType: type, entityId, seq, shard, shardSeq } of events) {
    if (type !== entityType) faults.push(`the journal has an event of the entity type ${type}`);
    append(entities, `${type} ${entityId}`, seq);
    append(inShard, shard, shardSeq);
  }
  for (const [entity, sequence] of entities) {
    if (!isDense(sequence)) faults.push(`the events of ${entity} in Postgres have a gap in their sequence`);
  }
  for (const [shard, sequence] of inShard) {
    if (!isDense(sequence.sort((a, b) => a - b)))
      faults.push(`the events of shard ${shard} have a gap in their sequence`);
  }
  for (const { shard, shardSeq } of shards) {
    const last = inShard.get(shard)?.length ?? 0;
    if (shardSeq !== last) faults.push(`shard ${shard} says that its last event is ${shardSeq}, and it has ${last}`);
  }
  return faults;
}

/** Everything published is applied, everything applied is in Kafka, and what the outbox still holds is there too. */
function positionFaults(
  { journal, ends, committed, commands }: Facts,
  names: { readonly input: string; readonly commands: string },
): string[] {
  const faults: string[] = [];
  const lastCommand = new Map<number, number>();
  for (const { partition, offset } of commands) lastCommand.set(partition, Number(offset) + 1);
  const shards = new Map(journal.shards.map((shard) => [shard.shard, shard]));
  for (const [shard, end] of ends) {
    const applied = shards.get(shard)?.applied ?? {};
    const known = committed.get(shard) ?? {};
    if (applied[names.input] !== end) {
      faults.push(
        `shard ${shard} has applied its input up to ${applied[names.input] ?? 'nothing'}, which ends at ${end}`,
      );
    }
    const command = lastCommand.get(shard);
    if (command !== undefined && applied[names.commands] !== command) {
      faults.push(
        `shard ${shard} has applied its commands up to ${applied[names.commands] ?? 'nothing'}, which end at ${command}`,
      );
    }
    for (const [topic, offset] of Object.entries(applied)) {
      if (known[topic] !== offset) {
        faults.push(`shard ${shard} has applied ${topic} up to ${offset}, and the group committed ${known[topic]}`);
      }
    }
  }
  for (const { shard, chunk, positions } of journal.outbox) {
    if (!isCovered(positions, committed.get(shard) ?? {})) {
      faults.push(`chunk ${chunk} of shard ${shard} is in the outbox, and Kafka does not have it`);
    }
  }
  return faults;
}

/** Whether the group has committed at least these positions: then Kafka has what led there. */
export function isCovered(positions: Offsets, committed: Offsets): boolean {
  return Object.entries(positions).every(([topic, offset]) => (committed[topic] ?? -1) >= offset);
}

function snapshotFaults(expected: Expected, { snapshots }: Journal, decode: Decode): string[] {
  const wanted = new Map([...expected.snapshots].map(([airport, item]) => [airport, [item]]));
  const found = new Map<string, Item[]>();
  for (const { entityId, seq, typeUrl, payload } of snapshots) {
    append(
      found,
      entityId,
      readable(() => snapshotItem(seq, decode.protobuf(typeNameOf(typeUrl), payload)), `snapshot ${seq}`),
    );
  }
  const difference = compare(wanted, found);
  const { lost, duplicated } = difference;
  return [
    ...(lost > 0 ? [`snapshots: ${lost} lost`] : []),
    ...(duplicated > 0 ? [`snapshots: ${duplicated} duplicated`] : []),
    ...describe('snapshots', difference),
  ];
}

function isDense(sequence: readonly number[]): boolean {
  return sequence.every((value, index) => value === index + 1);
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}
