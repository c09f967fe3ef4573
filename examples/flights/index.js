import { Action, EventSourcedEntity, Kalix, Metadata, replies } from '@kalix-io/kalix-javascript-sdk';
import { INITIAL, isCongested, recentLate, statusOf, withFlight } from './airport.js';

const airports = new EventSourcedEntity('flights.proto', 'flights.AirportService', 'airports', {
  includeDirs: ['./proto'],
  snapshotEvery: 50,
});

const alerts = new Action('flights.proto', 'flights.AlertService', { includeDirs: ['./proto'] });

const Airport = airports.lookupType('flights.Airport');
const FlightRecorded = airports.lookupType('flights.FlightRecorded');
const CongestionStarted = airports.lookupType('flights.CongestionStarted');
const CongestionEnded = airports.lookupType('flights.CongestionEnded');

airports.setInitial(() => Airport.create(INITIAL));

airports.setBehavior(() => ({
  commandHandlers: {
    Record: (flight, airport, context) => {
      const { destination, date, delay, distance } = flight;
      context.emit(FlightRecorded.create({ destination, date, delay, distance }));

      const counted = withFlight(airport, flight);
      const congested = isCongested(counted);
      const reply = replies.message(statusOf(context.entityId, { ...counted, congested }));
      if (congested !== airport.congested) {
        const lateNow = recentLate(counted);
        context.emit((congested ? CongestionStarted : CongestionEnded).create({ recentLate: lateNow }));
        reply.addEffect(alerts.service.methods.Raise, {
          airport: context.entityId,
          congested,
          flights: counted.flights,
          recentLate: lateNow,
          date,
        });
      }
      return reply;
    },

    Get: (_request, airport, context) => replies.message(statusOf(context.entityId, airport)),
  },

  eventHandlers: {
    FlightRecorded: (event, airport) => Airport.create(withFlight(airport, event)),
    CongestionStarted: (_event, airport) => Airport.create({ ...airport, congested: true }),
    CongestionEnded: (_event, airport) => Airport.create({ ...airport, congested: false }),
  },
}));

alerts.commandHandlers = {
  Raise: (alert) => {
    // The subject is the key of the record: an airport's alerts stay in order.
    const metadata = new Metadata();
    metadata.set('ce-subject', alert.airport);
    return replies.message(alert, metadata);
  },
};

new Kalix().addComponent(airports, alerts).start();
