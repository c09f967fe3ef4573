/**
 * What an airport makes of its flights: plain data in, plain data out. README.md states these rules for readers.
 *
 * @typedef {{ flights: number, totalDelay: number, late: number, recent: number, congested: boolean, lastDate: string }} Airport
 * @typedef {{ date: string, delay: number }} Flown
 */

/** Minutes. A flight with this delay or a longer one is late, as the U.S. Department of Transportation counts. */
const LATE = 15;
/** Flights that the judgement on congestion looks back on. */
const WINDOW = 20;
/** Version 2 of the rules has another threshold, and mends a fault. */
const IS_SECOND = process.env.FLIGHTS_RULES === '2';
/** Late flights among them from which on an airport is congested, and down to which it has to come to be so no more. */
const CONGESTED_FROM = IS_SECOND ? 10 : 8;
const RELIEVED_AT = 4;
/** A flight that was early does not make up for another one's delay. The first version added it with its sign. */
const delayOf = IS_SECOND
  ? (/** @type {Flown} */ { delay }) => Math.max(0, delay)
  : (/** @type {Flown} */ { delay }) => delay;

/** @type {Airport} */
export const INITIAL = { flights: 0, totalDelay: 0, late: 0, recent: 0, congested: false, lastDate: '' };

/** @param {Airport} airport @param {Flown} flight @returns {Airport} */
export function withFlight(airport, flight) {
  const late = flight.delay >= LATE ? 1 : 0;
  return {
    flights: airport.flights + 1,
    totalDelay: airport.totalDelay + delayOf(flight),
    late: airport.late + late,
    recent: ((airport.recent << 1) | late) & (2 ** WINDOW - 1),
    congested: airport.congested,
    lastDate: flight.date,
  };
}

/** How many of the last 20 flights were late. @param {Airport} airport */
export function recentLate(airport) {
  let count = 0;
  for (let bits = airport.recent; bits > 0; bits >>>= 1) count += bits & 1;
  return count;
}

/** Whether the airport, with its latest flight counted, is congested. @param {Airport} airport */
export function isCongested(airport) {
  const count = recentLate(airport);
  return airport.congested ? count > RELIEVED_AT : count >= CONGESTED_FROM;
}

/** The airport's figures as its service answers them. @param {string} code @param {Airport} airport */
export function statusOf(code, airport) {
  const { flights, totalDelay, late, congested, lastDate } = airport;
  return {
    airport: code,
    flights,
    totalDelay,
    late,
    meanDelay: flights === 0 ? 0 : totalDelay / flights,
    lateShare: flights === 0 ? 0 : late / flights,
    congested,
    lastDate,
  };
}
