import { StateferryError } from '../errors.ts';
import type { Decode } from './decode.ts';
import type { Expected } from './expected.ts';
import { unemittedChunks } from './facts.ts';
import type { Flight } from './flights.ts';
import { TOPICS } from './ground.ts';
import type { Part } from './part.ts';
import type { Progress } from './progress.ts';
import { count, type Kill, type Measured, standstillsAfter } from './report.ts';
import type { Scene } from './scene.ts';

/** The last of them come at an even pace, without a backlog: what latency is measured on. */
const PACED = 1_000;
const PACED_PER_SECOND = 500;
const UPDATE_EVERY_MS = 100;
/** Nothing has arrived for so long, in ms: it will not come. Longer than any session, fence and transaction timeout. */
const STALL_MS = 45_000;

export interface FlightsRun {
  readonly kills: readonly Kill[];
  readonly measured: Measured;
}

/**
 * Publishes all flights, most of them at full speed, and kills on the way: the engine when a third of the statuses is
 * visible, the function at two thirds. Resolves when as much has come out as has to.
 * @throws StateferryError DEMO_FAILED when nothing comes any more and something is missing; the scene stays as it is.
 */
export async function runFlights(
  scene: Scene,
  options: {
    readonly flights: readonly Flight[];
    readonly expected: Expected;
    readonly decode: Decode;
    readonly progress: Progress;
  },
): Promise<FlightsRun> {
  const { publisher, reader, engine, fn } = scene;
  const stall = new AbortController();
  const signal = AbortSignal.any([scene.signal, stall.signal]);
  const { flights, expected, progress } = options;
  const bulk = flights.slice(0, -PACED);
  const paced = flights.slice(-PACED);
  const wanted = {
    statuses: sizeOf(expected.statuses),
    events: sizeOf(expected.events),
    alerts: sizeOf(expected.alerts),
  };
  const kills: Kill[] = [];
  const counts = () => ({
    published: publisher.published(),
    statuses: reader.seen(TOPICS.statuses).length,
    events: reader.seen(TOPICS.events).length,
  });

  async function killAt(part: Part, statuses: number): Promise<void> {
    await reader.reached(TOPICS.statuses, statuses, signal);
    const { pid } = part;
    const at = performance.now();
    const now = counts();
    const survived = await part.kill();
    const journaled = await scene.journal.countEvents();
    const unemitted = part === engine ? await unemittedChunks(scene.admin, scene.journal) : undefined;
    await part.start();
    kills.push({ name: part.name, survived: survived && part.pid !== pid, at });
    progress.say(
      `SIGKILL to ${part.name} (process ${pid}): ${count(now.published)} flights published, ${count(now.statuses)} statuses ` +
        `visible, ${count(journaled)} events in Postgres` +
        (unemitted === undefined ? '' : `, ${count(unemitted)} chunks in its outbox that Kafka does not have`),
    );
    progress.say(`Started ${part.name} again (process ${part.pid})`);
  }

  progress.begin({ published: flights.length, statuses: wanted.statuses, events: wanted.events });
  const watching = setInterval(() => {
    progress.update(counts());
    const silent = performance.now() - reader.lastArrival();
    if (silent < STALL_MS) return;
    stall.abort(
      new StateferryError('DEMO_FAILED', `nothing has come out for ${STALL_MS / 1000} s, and something is missing.`),
    );
  }, UPDATE_EVERY_MS);
  try {
    progress.say(`Publishing ${count(bulk.length)} flights at full speed`);
    const began = performance.now();
    const killing = (async () => {
      await killAt(engine, Math.floor(flights.length / 3));
      await killAt(fn, Math.floor((flights.length * 2) / 3));
    })();
    await Promise.all([publisher.flood(bulk, signal), killing]);
    await reader.reached(TOPICS.statuses, bulk.length, signal);
    const arrivals = reader.seen(TOPICS.statuses).map(({ at }) => at);
    const ms = (arrivals[bulk.length - 1] as number) - began;

    progress.say(`The backlog is through; publishing the last ${count(paced.length)} at ${PACED_PER_SECOND}/s`);
    const due = await publisher.pace(paced, PACED_PER_SECOND, signal);
    await reader.reached(TOPICS.statuses, wanted.statuses, signal);
    await reader.reached(TOPICS.events, wanted.events, signal);
    await reader.reached(TOPICS.alerts, wanted.alerts, signal);
    progress.update(counts());
    return {
      kills,
      measured: {
        bulk: { flights: bulk.length, ms, standstills: standstillsAfter(kills, arrivals) },
        paced: { perSecond: PACED_PER_SECOND, latencies: latenciesOf(scene, flights, due, options.decode) },
      },
    };
  } finally {
    clearInterval(watching);
    progress.end();
  }
}

/** From when each of the last flights was due to when its status arrived, in ms; of those whose status arrived. */
function latenciesOf(scene: Scene, flights: readonly Flight[], due: readonly number[], decode: Decode): number[] {
  const first = flights.length - due.length;
  const dueOf = new Map<string, number>();
  const sofar = new Map<string, number>();
  for (const [index, { origin }] of flights.entries()) {
    const number = (sofar.get(origin) ?? 0) + 1;
    sofar.set(origin, number);
    if (index >= first) dueOf.set(`${origin} ${number}`, due[index - first] as number);
  }
  const began = due[0] as number;
  return scene.reader.seen(TOPICS.statuses).flatMap(({ key, value, at }) => {
    if (at < began) return [];
    const dueAt = dueOf.get(`${key} ${String(decode.output('flights.AirportStatus', value).flights)}`);
    return dueAt === undefined ? [] : [at - dueAt];
  });
}

function sizeOf(byAirport: Expected['events']): number {
  let size = 0;
  for (const items of byAirport.values()) size += items.length;
  return size;
}
