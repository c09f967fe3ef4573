import { partitionFor } from '../topics/partition.ts';
import type { Decode } from './decode.ts';
import { alertItem, type Expected, type Item, statusItem } from './expected.ts';
import type { Flight } from './flights.ts';
import { PARTITIONS } from './ground.ts';
import type { SeenRecord } from './reader.ts';

/** What the two versions must differ in, among the flights that both were given. */
export interface ExpectedDifference {
  readonly changed: number;
  readonly missing: number;
  readonly added: number;
  readonly same: number;
}

/** Computed from the flights alone: alerts are told from each other by airport and flight. */
export function expectedDifference(first: Expected['alerts'], second: Expected['alerts']): ExpectedDifference {
  const [before, after] = [flat(first), flat(second)];
  const common = [...before].filter(([id]) => after.has(id));
  const same = common.filter(([id, text]) => after.get(id) === text).length;
  return {
    same,
    changed: common.length - same,
    missing: before.size - common.length,
    added: after.size - common.length,
  };
}

/** Positions, by partition of the input topic, at which another version took over; in order. */
export interface Switch {
  readonly at: ReadonlyMap<number, bigint>;
  readonly rules: 1 | 2;
}

/**
 * Holds every status and alert that was published against what that version had to answer which served where its flight
 * stood in the input. Answers a sentence for each fault.
 */
export function judgeHistory(options: {
  readonly flights: readonly Flight[];
  readonly expected: Readonly<Record<1 | 2, Expected>>;
  readonly switches: readonly Switch[];
  readonly statuses: readonly SeenRecord[];
  readonly alerts: readonly SeenRecord[];
  readonly decode: Decode;
}): { readonly faults: readonly string[]; readonly counts: Readonly<Record<'before' | 'between' | 'after', number>> } {
  const { flights, expected, switches, decode } = options;
  const faults: string[] = [];
  const periods = ['before', 'between', 'after'] as const;
  const counts = { before: 0, between: 0, after: 0 };
  const due = { statuses: new Map<string, string>(), alerts: new Map<string, string>() };
  const items = { 1: byId(expected[1]), 2: byId(expected[2]) };
  const nth = new Map<string, number>();
  for (const {
    flight: { origin },
    partition,
    offset,
  } of placed(flights)) {
    const flight = (nth.get(origin) ?? 0) + 1;
    nth.set(origin, flight);
    const passed = switches.filter(({ at }) => offset >= (at.get(partition) ?? 0n));
    counts[periods[passed.length] ?? 'after']++;
    const rules = passed.at(-1)?.rules ?? 1;
    const id = `${origin} flight ${flight}`;
    due.statuses.set(id, items[rules].statuses.get(id) ?? '');
    const alert = items[rules].alerts.get(id);
    if (alert !== undefined) due.alerts.set(id, alert);
  }
  const seen = {
    statuses: options.statuses.map((record) =>
      itemOf(record, () => statusItem(decode.protobuf('flights.AirportStatus', record.value))),
    ),
    alerts: options.alerts.map((record) =>
      itemOf(record, () => alertItem(decode.protobuf('flights.Alert', record.value))),
    ),
  };
  for (const what of ['statuses', 'alerts'] as const) {
    const left = new Map(due[what]);
    for (const { id, text } of seen[what]) {
      const wanted = due[what].get(id);
      if (wanted === undefined) faults.push(`${what}: ${id} was not to be published`);
      else if (!left.delete(id)) faults.push(`${what}: ${id} was published twice`);
      else if (wanted !== text) faults.push(`${what}: ${id} is ${text}, and had to be ${wanted}`);
    }
    for (const id of left.keys()) faults.push(`${what}: ${id} was not published`);
  }
  return { faults, counts };
}

function itemOf({ key }: SeenRecord, read: () => Item): Item {
  const { id, text } = read();
  return { id: `${key} ${id}`, text };
}

function byId({ statuses, alerts }: Expected) {
  return { statuses: flat(statuses), alerts: flat(alerts) };
}

function flat(items: Expected['statuses']): Map<string, string> {
  return new Map(
    [...items].flatMap(([airport, list]) => list.map(({ id, text }) => [`${airport} ${id}`, text] as const)),
  );
}

/** Where each flight stands in the input topic: flights of a partition stand there in the order of the file. */
export function placed(flights: readonly Flight[]): { flight: Flight; partition: number; offset: bigint }[] {
  const next = new Map<number, bigint>();
  return flights.map((flight) => {
    const partition = partitionFor(Buffer.from(flight.origin), PARTITIONS);
    const offset = next.get(partition) ?? 0n;
    next.set(partition, offset + 1n);
    return { flight, partition, offset };
  });
}
