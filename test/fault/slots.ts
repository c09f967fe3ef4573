import path from 'node:path';
import type { Assumed } from '../../src/config/load.ts';
import type { Scope } from '../support/scope.ts';
import { type Engine, startEngine } from './engine.ts';
import type { MutationName } from './mutations.ts';
import { SLOTS } from './plan.ts';

const LOOKS_EVERY_MS = 200;
const STOPS_WITHIN_MS = 20_000;
/** What an engine may have left when it has stopped: its standard streams, and what belongs to an orphan. */
const ORPHANS = ['PipeWrap', 'TTYWrap', 'TCPSocketWrap', 'Timeout'];

/** Something about a process that must not be. */
export interface ProcessFault {
  readonly sentence: string;
  readonly lines: readonly string[];
}

/** The places that engines run in, and the watchdog that fills those that should have one. */
export interface Slots {
  readonly engines: readonly (Engine | undefined)[];
  /** How many slots should have an engine, from the first on. */
  scale(count: number): Promise<void>;
  /** A slot that is held stays as it is: the watchdog leaves it alone. */
  hold(slot: number, held: boolean): void;
  /** Stops the engine of a slot in order, and starts one again. */
  restart(slot: number): Promise<void>;
  /** Stops all engines in order; none is started until `scale`. */
  stopAll(): Promise<void>;
  /** From now on, engines are to end by themselves, for this reason: it is no fault, and counted in `refusals`. */
  expectEnd(reason: RegExp): void;
  readonly refusals: number;
  /** All engines that should run do, have all shards between them, and have their function. */
  ready(): Promise<boolean>;
  /** What no fault can excuse: an engine that ended by itself, or did not end when it was told to, or held on to something. */
  readonly faults: readonly ProcessFault[];
  readonly starts: number;
  /**
   * Connections to Kafka that engines had open when they had stopped. kafkajs loses sight of a socket when two requests
   * find the same connection broken at once, and both open it again; the broker ends it when it has been idle.
   */
  readonly orphans: number;
  /** Rebuilds by code, of all engines. */
  readonly rebuilds: ReadonlyMap<string, number>;
}

export function createSlots(
  t: Scope,
  options: {
    readonly program: string;
    readonly dir: string;
    readonly partitions: number;
    /** Where Kafka listens for the engines. */
    readonly kafkaPorts: readonly number[];
    readonly config: (slot: number) => Assumed;
    readonly mutation?: MutationName;
  },
): Slots {
  const engines: (Engine | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  const held = new Set<number>();
  const faults: ProcessFault[] = [];
  const rebuilds = new Map<string, number>();
  let wanted = 0;
  let starts = 0;
  let orphans = 0;
  let refusals = 0;
  let expected: RegExp | undefined;
  /** One thing at a time is done to a slot. */
  const turns = engines.map(() => Promise.resolve());
  const inTurn = (slot: number, work: () => Promise<void>): Promise<void> => {
    const done = (turns[slot] ?? Promise.resolve()).then(work);
    turns[slot] = done.catch(() => undefined);
    return done;
  };

  async function start(slot: number): Promise<void> {
    starts++;
    const nth = starts;
    const engine = await startEngine(t, {
      program: options.program,
      order: {
        config: options.config(slot),
        ...(options.mutation !== undefined && { mutation: options.mutation }),
      },
      logFile: path.join(options.dir, `engine-${slot}-${nth}.log`),
      onReport(report) {
        if (report.kind === 'rebuild') rebuilds.set(report.code, (rebuilds.get(report.code) ?? 0) + 1);
      },
    });
    engines[slot] = engine;
    void engine.exited.then((exit) => {
      if (engine.failure !== undefined && expected?.test(engine.failure)) refusals++;
      else if (engine.failure !== undefined) {
        faults.push({ sentence: `the engine of slot ${slot} ended by itself: ${engine.failure}`, lines: engine.lines });
      } else if (exit !== 0 && exit !== 'SIGKILL') {
        faults.push({ sentence: `the engine of slot ${slot} ended with ${exit}`, lines: engine.lines });
      }
      if (engine.leaked === undefined) return;
      const { ports, resources } = engine.leaked;
      const orphaned = ports.filter((port) => options.kafkaPorts.includes(port));
      orphans += orphaned.length;
      // A connection of kafkajs has a timer.
      const others = resources.filter((resource) => !ORPHANS.includes(resource));
      if (orphaned.length > 0 && orphaned.length === ports.length && others.length === 0) return;
      faults.push({
        sentence: `the engine of slot ${slot} had stopped, and was kept alive by ${resources.join(', ')}, sockets to ${ports.join(', ') || 'nobody'}`,
        lines: engine.lines,
      });
    });
  }

  async function stop(slot: number): Promise<void> {
    const engine = engines[slot];
    if (engine === undefined) return;
    if (engine.exit === undefined) {
      engine.kill('SIGCONT');
      const inTime = await engine.stop(STOPS_WITHIN_MS);
      if (!inTime && !held.has(slot)) {
        faults.push({
          sentence: `the engine of slot ${slot} had not stopped ${STOPS_WITHIN_MS} ms after SIGTERM`,
          lines: engine.lines,
        });
      }
    }
    engines[slot] = undefined;
  }

  function lives(slot: number): boolean {
    const engine = engines[slot];
    return engine !== undefined && engine.exit === undefined;
  }

  /** Slots that the watchdog is about to fill. */
  const busy = new Set<number>();
  const watchdog = setInterval(() => {
    for (let slot = 0; slot < wanted; slot++) {
      if (held.has(slot) || busy.has(slot) || lives(slot)) continue;
      busy.add(slot);
      inTurn(slot, async () => {
        if (slot < wanted && !held.has(slot) && !lives(slot)) await start(slot);
      })
        // It was killed while it started: the next look finds it.
        .catch(() => undefined)
        .finally(() => busy.delete(slot));
    }
  }, LOOKS_EVERY_MS);
  t.onTestFinished(async () => {
    wanted = 0;
    clearInterval(watchdog);
    await Promise.all(turns);
  });

  return {
    engines,
    faults,
    rebuilds,
    get starts() {
      return starts;
    },
    expectEnd(reason) {
      expected = reason;
    },
    get refusals() {
      return refusals;
    },
    get orphans() {
      return orphans;
    },
    async scale(count) {
      wanted = count;
      await Promise.all(
        engines.map((_, slot) =>
          inTurn(slot, async () => {
            if (slot >= count) await stop(slot);
            else if (engines[slot] === undefined) await start(slot);
          }),
        ),
      );
    },
    hold(slot, hold) {
      if (hold) held.add(slot);
      else held.delete(slot);
    },
    restart: (slot) =>
      inTurn(slot, async () => {
        if (slot >= wanted) return;
        await stop(slot);
        await start(slot);
      }),
    async stopAll() {
      wanted = 0;
      await Promise.all(engines.map((_, slot) => inTurn(slot, () => stop(slot))));
    },
    async ready() {
      const statuses = await Promise.all(engines.slice(0, wanted).map(async (engine) => engine?.status()));
      let shards = 0;
      for (const status of statuses) {
        if (status === undefined || status.state !== 'running' || !status.function.up) return false;
        if (status.shards.some(({ state }) => state !== 'running')) return false;
        shards += status.shards.length;
      }
      return shards === options.partitions;
    },
  };
}
