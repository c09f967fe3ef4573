import { randomUUID } from 'node:crypto';
import { inject } from 'vitest';
import { type Assumed, loadConfig } from '../../src/config/load.ts';
import type { EngineOptions } from '../../src/engine/engine.ts';
import { createLog } from '../../src/observe/log.ts';
import type { Status } from '../../src/observe/status.ts';
import { createRuntime } from '../../src/runtime.ts';
import { withAdmin } from './kafka.ts';
import { eventually } from './processes.ts';
import type { Scope } from './scope.ts';

/** A line of the runtime's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A runtime in the test's own process. */
export interface RunningRuntime {
  status(): Status;
  /** host:port of its doors, once they are open; rejects with what ended it before. */
  doors(): Promise<string>;
  /** Resolves when all its shards are open and the function is up; rejects with what ended it before. */
  ready(): Promise<void>;
  /** Everything that it has logged so far, debug lines too. */
  readonly log: readonly LogLine[];
  /** Resolves to the first line with this sentence, and with these fields where any are given. */
  logged(sentence: string, fields?: Readonly<Record<string, unknown>>): Promise<LogLine>;
  /** Resolves, when it ends by itself, to the error that ended it. */
  readonly failure: Promise<unknown>;
  /** As SIGTERM does it. */
  stop(): Promise<void>;
}

/** A name that no other deployment has; its own topics are deleted when the scope ends. */
export function deploymentName(t: Scope): string {
  const name = `d-${randomUUID()}`;
  t.onTestFinished(() =>
    withAdmin(async (admin) => {
      const existing = new Set(await admin.listTopics());
      const topics = [`${name}-commands`, `${name}-answers`, `${name}-dead-letters`].filter((topic) =>
        existing.has(topic),
      );
      if (topics.length > 0) await admin.deleteTopics({ topics });
    }),
  );
  return name;
}

/** Starts a runtime with the run's Kafka and `config`, and stops it when the scope ends. */
export function startRuntime(
  t: Scope,
  config: Assumed,
  options: { readonly replace?: (parts: EngineOptions) => EngineOptions } = {},
): RunningRuntime {
  const log: LogLine[] = [];
  let doors = '';
  const loaded = loadConfig({
    argvFlags: {},
    env: {},
    cwd: '/',
    readFile: () => undefined,
    assumed: {
      'kafka.brokers': inject('brokers'),
      'kafka.fetchMaxWaitMs': 20,
      'function.backoffMaxMs': 200,
      'http.port': 0,
      'doors.enabled': false,
      'log.level': 'debug',
      'log.format': 'json',
      ...config,
    },
  });
  const runtime = createRuntime({
    config: loaded.config,
    log: createLog(loaded.config.log, { write: (line) => log.push(JSON.parse(line) as LogLine) }),
    devMode: true,
    createTopics: false,
    onDoors: ({ host, port }) => {
      doors = `${host}:${port}`;
    },
    ...options,
  });
  const stopping = new AbortController();
  let over = false;
  let failed: unknown;
  const ended = runtime.run(stopping.signal).then(
    () => undefined,
    (error: unknown) => {
      failed = error;
      return error;
    },
  );
  ended.then(() => {
    over = true;
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await ended;
  };
  t.onTestFinished(stop);

  /** Rejects when the runtime ends before `condition` holds. */
  const until = (what: string, condition: () => boolean): Promise<void> =>
    eventually(what, () => {
      if (condition()) return true;
      if (over) throw failed ?? new Error(`the runtime ended before ${what}`);
      return false;
    });
  return {
    status: () => runtime.status(),
    log,
    async doors() {
      await until('the doors are open', () => doors !== '');
      return doors;
    },
    ready: () =>
      until('the runtime is ready', () => {
        const { state, function: fn, shards } = runtime.status();
        return state === 'running' && fn.up && shards.length > 0 && shards.every((shard) => shard.state === 'running');
      }),
    async logged(sentence, fields = {}) {
      const find = () =>
        log.find(
          (line) => line.msg === sentence && Object.entries(fields).every(([name, value]) => line[name] === value),
        );
      await until(`it logs "${sentence}"`, () => find() !== undefined).catch((error: unknown) => {
        throw new Error(`${String(error)}\n${log.map((line) => JSON.stringify(line)).join('\n')}`, { cause: error });
      });
      return find() as LogLine;
    },
    failure: ended,
    stop,
  };
}
