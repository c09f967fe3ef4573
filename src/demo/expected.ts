import type { Flight } from './flights.ts';

/** Something that has to come out once: `id` tells it from others of its airport, `text` is all of it. */
export interface Item {
  readonly id: string;
  readonly text: string;
}

/** In order, by airport. */
export type ByAirport = ReadonlyMap<string, readonly Item[]>;

/** What the flights must lead to. */
export interface Expected {
  readonly statuses: ByAirport;
  readonly events: ByAirport;
  readonly alerts: ByAirport;
  /** The snapshot that the journal must hold at the end, where there is one; its id is the sequence of its last event. */
  readonly snapshots: ReadonlyMap<string, Item>;
}

// The rules that examples/flights/README.md states, written down once more: nothing here is shared with the function.
const LATE_FROM_MINUTES = 15;
const JUDGED_FLIGHTS = 20;
const CONGESTED_FROM = { 1: 8, 2: 10 } as const;
const RELIEVED_AT = 4;
const SNAPSHOT_EVERY_EVENTS = 50;

/** Versions of the rules. */
export type Rules = 1 | 2;

/** Computes, from the flights alone and in their order, every output, event and snapshot. Pure. */
export function expectedOf(flights: readonly Flight[], rules: Rules = 1): Expected {
  const departures = new Map<string, Flight[]>();
  for (const flight of flights) {
    const earlier = departures.get(flight.origin);
    if (earlier === undefined) departures.set(flight.origin, [flight]);
    else earlier.push(flight);
  }
  const statuses = new Map<string, Item[]>();
  const events = new Map<string, Item[]>();
  const alerts = new Map<string, Item[]>();
  const snapshots = new Map<string, Item>();
  for (const [airport, flown] of departures) {
    const out = airportOf(airport, flown, rules);
    statuses.set(airport, out.statuses);
    events.set(airport, out.events);
    if (out.alerts.length > 0) alerts.set(airport, out.alerts);
    if (out.snapshot !== undefined) snapshots.set(airport, out.snapshot);
  }
  return { statuses, events, alerts, snapshots };
}

function airportOf(airport: string, flown: readonly Flight[], rules: Rules) {
  const statuses: Item[] = [];
  const events: Item[] = [];
  const alerts: Item[] = [];
  let snapshot: Item | undefined;
  let congested = false;
  let totalDelay = 0;
  let late = 0;
  for (const [index, { destination, date, delay, distance }] of flown.entries()) {
    const flights = index + 1;
    totalDelay += rules === 2 && delay < 0 ? 0 : delay;
    if (delay >= LATE_FROM_MINUTES) late += 1;
    const judged = flown.slice(Math.max(0, flights - JUDGED_FLIGHTS), flights);
    const recentLate = judged.filter((flight) => flight.delay >= LATE_FROM_MINUTES).length;
    const before = events.length;

    events.push(eventItem('flights.FlightRecorded', { destination, date, delay, distance }));
    if (congested ? recentLate <= RELIEVED_AT : recentLate >= CONGESTED_FROM[rules]) {
      congested = !congested;
      events.push(eventItem(congested ? 'flights.CongestionStarted' : 'flights.CongestionEnded', { recentLate }));
      alerts.push(alertItem({ airport, congested, flights, recentLate, date }));
    }
    statuses.push(
      statusItem({
        airport,
        flights,
        totalDelay,
        late,
        meanDelay: totalDelay / flights,
        lateShare: late / flights,
        congested,
        lastDate: date,
      }),
    );
    if (Math.floor(events.length / SNAPSHOT_EVERY_EVENTS) > Math.floor(before / SNAPSHOT_EVERY_EVENTS)) {
      // One bit a flight, the latest lowest.
      const recent = judged.reduce((bits, flight) => bits * 2 + (flight.delay >= LATE_FROM_MINUTES ? 1 : 0), 0);
      snapshot = snapshotItem(events.length, { flights, totalDelay, late, recent, congested, lastDate: date });
    }
  }
  return { statuses, events, alerts, snapshot };
}

/** A message's fields, by name in lower camel case, in any order, defaults included. */
export type Fields = Readonly<Record<string, unknown>>;

/** A status is told from others by the number of flights in it. */
export function statusItem(fields: Fields): Item {
  return { id: `flight ${String(fields.flights)}`, text: textOf(fields) };
}

export function alertItem(fields: Fields): Item {
  return { id: `flight ${String(fields.flights)}`, text: textOf(fields) };
}

/** An event says nothing about itself but what happened: two equal ones are the same thing twice. */
export function eventItem(typeName: string, fields: Fields): Item {
  const text = `${typeName} ${textOf(fields)}`;
  return { id: text, text };
}

export function snapshotItem(sequence: number, fields: Fields): Item {
  return { id: `sequence ${sequence}`, text: textOf(fields) };
}

function textOf(fields: Fields): string {
  return JSON.stringify(Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1))));
}
