import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../src/local/ports.ts';
import type { Status } from '../src/observe/status.ts';
import { METHOD, SERVICE } from './counter.ts';
import type { Ground, Started } from './ground.ts';
import { type CpuProfile, summarize } from './profile-summary.ts';

const WITHIN_MS = 60_000;
const POLL_MS = 50;

/** `stateferry run`, in a process of its own. */
export interface EngineProcess extends Started {
  /** From the start of the process until it was as `ready` has it, in ms. */
  readonly readyMs: number;
  /** Undefined while nothing answers. */
  status(): Promise<Status | undefined>;
  /** Resolves when the condition holds of its status; rejects when it does not within a minute, or the process ends. */
  until(what: string, condition: (status: Status) => boolean): Promise<void>;
  /** Entities with an open stream, by its own account. */
  activeEntities(): Promise<number>;
  /** Measures where its time goes while `work` runs; writes the profile and a summary of it. Only works
   * where a folder for profiles was given; otherwise just does the work. */
  profiled<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** It runs, with so many shards, all of them open. */
export function ownsShards({ state, shards }: Status, count: number): boolean {
  return state === 'running' && shards.length === count && shards.every((shard) => shard.state === 'running');
}

/** Of a deployment of the counter job. */
export interface CounterDeployment {
  readonly deployment: string;
  readonly schema: string;
  readonly input: string;
  readonly output: string;
  readonly maxStreams: number;
  readonly functionUrl: string;
  /** Options besides, as name=value; they win. */
  readonly settings: readonly string[];
}

/** The flags that tell any command of the command line which deployment it is about. */
export function engineSettings(options: CounterDeployment): string[] {
  return engineFlags([
    `deployment.name=${options.deployment}`,
    `postgres.schema=${options.schema}`,
    `function.url=${options.functionUrl}`,
    `function.maxStreams=${options.maxStreams}`,
    'doors.enabled=false',
    'log.format=json',
    `topics.subscriptions=${JSON.stringify([{ topic: options.input, service: SERVICE, method: METHOD, format: 'protobuf' }])}`,
    `topics.destinations=${JSON.stringify({ replies: [{ service: SERVICE, method: METHOD, topic: options.output }] })}`,
    ...options.settings,
  ]);
}

function engineFlags(settings: readonly string[]): string[] {
  return settings.flatMap((setting) => ['--set', setting]);
}

export async function startEngine(
  ground: Ground,
  options: CounterDeployment & {
    /** Of its log and its profiles. */
    readonly label: string;
    readonly shards: number;
    readonly nodeFlags: readonly string[];
    /** Absolute; undefined: nothing is profiled. */
    readonly profile: string | undefined;
    /** What is waited for before it counts as started; absent: it owns every shard. */
    readonly ready?: (status: Status) => boolean;
  },
): Promise<EngineProcess> {
  const began = performance.now();
  const [port = 0] = await freePorts(1);
  const profileFile =
    options.profile === undefined ? undefined : path.join(options.profile, `${options.label}.unnamed`);
  const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
  const hook = new URL('profile-hook.js', import.meta.url);
  const started = await ground.start(
    `${options.label}-engine`,
    [
      ...options.nodeFlags,
      ...(profileFile === undefined ? [] : ['--import', hook.href]),
      main,
      'run',
      ...engineSettings(options),
      ...engineFlags([`http.port=${port}`]),
    ],
    {
      KAFKA_BROKERS: ground.brokers.join(','),
      DATABASE_URL: ground.databaseUrl,
      NODE_ENV: 'production',
      ...(profileFile !== undefined && { BENCH_PROFILE: profileFile }),
    },
  );

  const status = async (): Promise<Status | undefined> => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/status`);
      return (await response.json()) as Status;
    } catch (error) {
      // Not listening yet: `started.failed` tells when it never will.
      if (error instanceof TypeError) return undefined;
      throw error;
    }
  };
  const ready = options.ready ?? ((now: Status): boolean => ownsShards(now, options.shards));
  const eventually = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> => {
    const giveUp = performance.now() + WITHIN_MS;
    while (!(await condition())) {
      if (performance.now() > giveUp)
        throw await started.fault(`did not do this within ${WITHIN_MS / 1_000} s: ${what}`);
      await Promise.race([delay(POLL_MS), started.failed]);
    }
  };
  const until: EngineProcess['until'] = (what, condition) =>
    eventually(what, async () => {
      const now = await status();
      return now !== undefined && condition(now);
    });
  await until('own its shards', ready);
  const readyMs = performance.now() - began;

  return {
    ...started,
    readyMs,
    status,
    until,
    async activeEntities() {
      return (await status())?.shards.reduce((sum, shard) => sum + shard.activeEntities, 0) ?? 0;
    },
    async profiled(name, work) {
      if (options.profile === undefined || profileFile === undefined) return work();
      started.signal('SIGUSR2');
      const result = await work();
      started.signal('SIGUSR2');
      await eventually('write its profile', () => existsSync(profileFile));
      const finished = path.join(options.profile, `${options.label}-${name}.cpuprofile`);
      await rename(profileFile, finished);
      const summary = summarize(JSON.parse(await readFile(finished, 'utf8')) as CpuProfile);
      await writeFile(finished.replace(/\.cpuprofile$/, '.txt'), summary);
      return result;
    },
  };
}
