import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { startFunction } from '../support/function-process.ts';
import { discoverRaw, openEntity, type Plain, type RawPayload } from '../support/raw-function.ts';
import { fileScope } from '../support/scope.ts';

const file = fileScope();
const { url, dialect } = await startFunction(file, { source: 'flights' });
const fn = await discoverRaw(file, { url, dialect });

describe('the flights example', () => {
  it('offers airports as event sourced entities and an action for their alerts', () => {
    expect(fn.spec).toMatchObject({
      components: [
        {
          component_type: 'kalix.component.eventsourcedentity.EventSourcedEntities',
          service_name: 'flights.AirportService',
          entity: { entity_type: 'airports' },
        },
        { component_type: 'kalix.component.action.Actions', service_name: 'flights.AlertService' },
      ],
      service_info: {
        service_name: 'stateferry-example-flights',
        support_library_name: '@kalix-io/kalix-javascript-sdk',
        support_library_version: '1.1.0',
        protocol_major_version: 1,
        protocol_minor_version: 1,
      },
    });
  });

  it('counts flights, remembers them by an event each and hands over its state every 50 events', async () => {
    const airport = openAirport('DTW');

    for (let n = 1; n <= 49; n += 1) expect((await airport.record({ delay: 3 })).snapshot).toBeUndefined();
    const fiftieth = await airport.record({ delay: 53, destination: 'LAS', date: '2001/01/01 00:47', distance: 1750 });

    expect(fiftieth).toEqual({
      command_id: 50,
      client_action: {
        reply: {
          payload: {
            '@type': 'flights.AirportStatus',
            airport: 'DTW',
            flights: 50,
            totalDelay: 200,
            late: 1,
            meanDelay: 4,
            lateShare: 0.02,
            congested: false,
            lastDate: '2001/01/01 00:47',
          },
        },
      },
      events: [
        {
          '@type': 'flights.FlightRecorded',
          destination: 'LAS',
          date: '2001/01/01 00:47',
          delay: 53,
          distance: 1750,
        },
      ],
      snapshot: {
        '@type': 'flights.Airport',
        flights: 50,
        totalDelay: 200,
        late: 1,
        recent: 1,
        congested: false,
        lastDate: '2001/01/01 00:47',
      },
    });
    expect(await airport.end()).toEqual([]);
  });

  it('raises an alert beside the reply when 8 of the last 20 flights are late, and again when no more than 4 are', async () => {
    const airport = openAirport('ORD');

    for (let n = 1; n <= 7; n += 1) expect((await airport.record({ delay: 15 })).side_effects).toBeUndefined();
    const eighth = await airport.record({ delay: 15, date: '2001/01/01 08:00' });

    expect(eighth.side_effects).toEqual([
      {
        service_name: 'flights.AlertService',
        command_name: 'Raise',
        payload: {
          '@type': 'flights.Alert',
          airport: 'ORD',
          congested: true,
          flights: 8,
          recentLate: 8,
          date: '2001/01/01 08:00',
        },
      },
    ]);
    expect(eighth.events).toMatchObject([
      { '@type': 'flights.FlightRecorded' },
      { '@type': 'flights.CongestionStarted', recentLate: 8 },
    ]);
    // 12 more fill the window; the next 3 push 3 late ones out of it, the fourth leaves 4.
    for (let n = 9; n <= 23; n += 1) expect((await airport.record({ delay: 14 })).side_effects).toBeUndefined();
    expect(await airport.record({ delay: 14 })).toMatchObject({
      client_action: { reply: { payload: { flights: 24, late: 8, congested: false } } },
      side_effects: [{ payload: { congested: false, flights: 24, recentLate: 4 } }],
      events: [{ '@type': 'flights.FlightRecorded' }, { '@type': 'flights.CongestionEnded', recentLate: 4 }],
    });
  });

  it('goes on from a snapshot and later events as if it had never been away', async () => {
    const airport = openAirport('ATL', {
      snapshot_sequence: 50,
      snapshot: fn.pack('flights.Airport', { flights: 50, totalDelay: 200, late: 9, recent: 0b1111111, lastDate: 'x' }),
    });
    airport.replay(51, fn.pack('flights.FlightRecorded', { delay: 20, date: '2001/02/01 10:00' }));
    airport.replay(52, fn.pack('flights.CongestionStarted', { recentLate: 8 }));

    expect(await airport.get()).toEqual({
      '@type': 'flights.AirportStatus',
      airport: 'ATL',
      flights: 51,
      totalDelay: 220,
      late: 10,
      meanDelay: 220 / 51,
      lateShare: 10 / 51,
      congested: true,
      lastDate: '2001/02/01 10:00',
    });
  });

  it('answers an alert with the alert, keyed by the airport', async () => {
    const alert = { airport: 'ORD', congested: true, flights: 8, recentLate: 8, date: '2001/01/01 08:00' };

    const response = await fn.call('component.action.Actions/HandleUnary', {
      service_name: 'flights.AlertService',
      name: 'Raise',
      payload: fn.pack('flights.Alert', alert),
    });

    expect(response).toEqual({
      reply: {
        payload: { '@type': 'flights.Alert', ...alert },
        metadata: { entries: [{ key: 'ce-subject', string_value: 'ORD' }] },
      },
    });
  });

  it('makes of the 20,000 real flights what its README says', { timeout: 120_000 }, async () => {
    const flights = JSON.parse(readFileSync(dataFile('flights-20k.json'), 'utf8')) as RealFlight[];
    const byAirport = new Map<string, RealFlight[]>();
    for (const flight of flights) byAirport.set(flight.origin, [...(byAirport.get(flight.origin) ?? []), flight]);
    const totals = { flights: 0, totalDelay: 0, late: 0, congested: 0 };
    const alerts = { started: 0, ended: 0, airports: new Set<string>() };

    await Promise.all(
      [...byAirport].map(async ([origin, departures]) => {
        const airport = openAirport(origin);
        for (const flight of departures) {
          const effects = ((await airport.record(flight)).side_effects ?? []) as { payload: { congested: boolean } }[];
          for (const { payload } of effects) {
            alerts[payload.congested ? 'started' : 'ended'] += 1;
            alerts.airports.add(origin);
          }
        }
        const status = (await airport.get()) as {
          flights: number;
          totalDelay: number;
          late: number;
          congested: boolean;
        };
        totals.flights += status.flights;
        totals.totalDelay += status.totalDelay;
        totals.late += status.late;
        totals.congested += status.congested ? 1 : 0;
        await airport.end();
      }),
    );

    expect(byAirport.size).toBe(220);
    expect(totals).toEqual({ flights: 20_000, totalDelay: 154_078, late: 4_551, congested: 9 });
    expect({ ...alerts, airports: alerts.airports.size }).toEqual({ started: 157, ended: 148, airports: 53 });
  });
});

interface RealFlight {
  readonly origin: string;
  readonly destination: string;
  readonly date: string;
  readonly delay: number;
  readonly distance: number;
}

function dataFile(name: string): string {
  const build = path.dirname(createRequire(import.meta.url).resolve('vega-datasets'));
  return path.join(build, '../data', name);
}

function openAirport(id: string, snapshot?: Plain) {
  const init = snapshot === undefined ? {} : { snapshot };
  const entity = openEntity(fn, { kind: 'event-sourced', service: 'flights.AirportService', id, init });
  const reply = async (name: string, payload: RawPayload) =>
    (await entity.command(name, payload)).reply as Plain & { client_action: { reply: { payload: Plain } } };
  return {
    replay: entity.replay,
    record: (flight: Partial<RealFlight>) => reply('Record', fn.pack('flights.Flight', { ...flight, origin: id })),
    get: async () =>
      (await reply('Get', fn.pack('flights.AirportRequest', { airport: id }))).client_action.reply.payload,
    end: entity.end,
  };
}
