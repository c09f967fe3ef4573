import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { freePorts } from '../src/local/ports.ts';
import type { Status } from '../src/observe/status.ts';
import { METHOD, SERVICE } from './counter.ts';
import type { Ground, Started } from './ground.ts';

const READY_WITHIN_MS = 60_000;
const POLL_MS = 50;

/** `stateferry run`, in a process of its own. */
export interface EngineProcess extends Started {
  /** From the start of the process until it owned every shard, in ms. */
  readonly readyMs: number;
  /** Entities with an open stream, by its own account. */
  activeEntities(): Promise<number>;
  /** Measures where its time goes while `work` runs; writes DIR/<name>.cpuprofile and resolves to the file. */
  profiled<T>(name: string, work: () => Promise<T>): Promise<T>;
}

export async function startEngine(
  ground: Ground,
  options: {
    readonly deployment: string;
    readonly schema: string;
    readonly input: string;
    readonly output: string;
    readonly shards: number;
    readonly maxStreams: number;
    readonly functionUrl: string;
    readonly settings: readonly string[];
    /** Absolute; undefined: nothing is profiled. */
    readonly profile: string | undefined;
  },
): Promise<EngineProcess> {
  const began = performance.now();
  const [port = 0] = await freePorts(1);
  const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
  const hook = new URL('profile-hook.js', import.meta.url);
  const settings = [
    `deployment.name=${options.deployment}`,
    `postgres.schema=${options.schema}`,
    `function.url=${options.functionUrl}`,
    `function.maxStreams=${options.maxStreams}`,
    `http.port=${port}`,
    'log.format=json',
    `topics.subscriptions=${JSON.stringify([{ topic: options.input, service: SERVICE, method: METHOD, format: 'protobuf' }])}`,
    `topics.destinations=${JSON.stringify({ replies: [{ service: SERVICE, method: METHOD, topic: options.output }] })}`,
    ...options.settings,
  ];
  const profileFile = (name: string) => path.join(options.profile ?? '', `${name}.cpuprofile`);
  const started = await ground.start(
    options.deployment,
    [
      ...(options.profile === undefined ? [] : ['--import', hook.href]),
      main,
      'run',
      ...settings.flatMap((setting) => ['--set', setting]),
    ],
    {
      KAFKA_BROKERS: ground.brokers.join(','),
      DATABASE_URL: ground.databaseUrl,
      NODE_ENV: 'production',
      ...(options.profile !== undefined && { BENCH_PROFILE: profileFile(options.deployment) }),
    },
  );
}
