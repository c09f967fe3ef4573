import { type Meter, ownMeter } from './proc.ts';
import type { Milestone } from './reader.ts';
import type { Scene } from './scene.ts';

/** The steady rate leaves so much of a run's start out. */
const STEADY_AFTER_MS = 3_000;

export type Meters = Readonly<Record<string, Meter>>;

/** µs of CPU a command, by process; NaN where the platform does not tell. */
export type Cpu = Readonly<Record<string, number>>;

/** One backlog, worked off. */
export interface Run {
  readonly commands: number;
  /** From the moment at which the whole backlog became visible until its last output was. */
  readonly seconds: number;
  /** Commands a second in that time. */
  readonly rate: number;
  /** The same without the first 3 s; NaN for a run that is no longer than that. */
  readonly steadyRate: number;
  readonly cpu: Cpu;
  /** The part until every entity had given its first output; absent where all had given one before. */
  readonly opening?: { readonly seconds: number; readonly rate: number };
}

/** Publishes a backlog that becomes visible at once, and measures until its last output has been read and checked. */
export async function measureRun(
  { publisher, reader }: Scene,
  commands: number,
  options: {
    readonly meters: Meters;
    /** Rejects when something that the run needs has ended. */
    readonly failed: Promise<never>;
  },
): Promise<Run> {
  const backlog = await publisher.hold(commands);
  const before = reader.outputs;
  const seenBefore = reader.allSeen !== undefined;
  reader.mark();
  const spent = measureCpu(options.meters);
  const startedAt = performance.now();
  await backlog.release();
  await Promise.race([reader.until(before + commands), options.failed]);
  const cpu = spent(commands);
  const { allSeen } = reader;
  const last = reader.milestones.at(-1) as Milestone;
  const steady = reader.milestones.find(({ at }) => at >= startedAt + STEADY_AFTER_MS) ?? last;
  return {
    commands,
    seconds: (last.at - startedAt) / 1_000,
    rate: rateOf(commands, last.at - startedAt),
    steadyRate: steady === last ? Number.NaN : rateOf(last.outputs - steady.outputs, last.at - steady.at),
    cpu,
    ...(!seenBefore && allSeen !== undefined && { opening: partUntil(allSeen, before, startedAt) }),
  };
}

function partUntil({ at, outputs }: Milestone, before: number, startedAt: number): Required<Run>['opening'] {
  return { seconds: (at - startedAt) / 1_000, rate: rateOf(outputs - before, at - startedAt) };
}

/** Begins to measure; the answer ends it and divides by a number of commands. */
function measureCpu(meters: Meters): (commands: number) => Cpu {
  const all = Object.entries({ ...meters, 'load and check': ownMeter() });
  const before = all.map(([, meter]) => meter.cpuMs());
  return (commands) =>
    Object.fromEntries(
      all.map(([name, meter], i) => [name, ((meter.cpuMs() - (before[i] as number)) * 1_000) / commands]),
    );
}

/** A second, of so many in so many ms. */
function rateOf(count: number, ms: number): number {
  return (count / ms) * 1_000;
}
