import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { messageOf, StateferryError } from '../errors.ts';
import { startGuard } from './guard.ts';
import type { Host } from './host.ts';
import { localStackRefusal } from './java.ts';
import { type LocalKafka, newClusterId, startKafka } from './kafka.ts';
import { type LocalPostgres, startPostgres } from './postgres.ts';
import { rootsFolder } from './postgres-home.ts';

/** Kafka and Postgres to run on: started here, or given. */
export interface LocalStack {
  /** Absent where brokers were given. */
  readonly kafka: LocalKafka | undefined;
  /** Absent where a database was given. */
  readonly postgres: LocalPostgres | undefined;
  /** host:port */
  readonly brokers: string[];
  /** With the password. */
  readonly databaseUrl: string;
  /** The data folder; undefined where nothing was started. */
  readonly dir: string | undefined;
  /** Ends what was started here and removes a temporary data folder. Safe to call again. */
  stop(): Promise<void>;
}

export interface LocalStackOptions {
  /** The data folder: made if missing; its data, ports and password are used again. Absent: temporary. */
  readonly dir?: string | undefined;
  /** Use these instead of a Kafka of our own. */
  readonly brokers?: readonly string[] | undefined;
  /** Use this instead of a Postgres of our own. */
  readonly databaseUrl?: string | undefined;
  /** Settings of the broker that go before ours. */
  readonly kafkaConfig?: Readonly<Record<string, string>> | undefined;
  /** PATH, JAVA_HOME, XDG_CACHE_HOME and HOME are read; our own by default. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Aborted while the stack starts: what has started is stopped and the signal's reason thrown. */
  readonly signal?: AbortSignal | undefined;
  /** For people: what is being fetched, what answers where, what ended. No secrets. */
  readonly log: (line: string) => void;
}

const MEMORY_FILE = 'stack.json';

/** What a data folder remembers between starts, in stack.json. */
const Memory = z.strictObject({
  /** Kafka's cluster id. */
  id: z.string(),
  password: z.string(),
  kafkaPorts: z.array(z.int()).length(2).optional(),
  postgresPort: z.int().optional(),
});
type Memory = z.infer<typeof Memory>;

/**
 * Starts what was not given, Kafka and Postgres side by side, and resolves when both answer. They listen on 127.0.0.1
 * only and end with us: by `stop`, and if our process dies without it (SIGKILL included) by a guard, within about 15 s.
 * When one fails to start, the other is stopped and the failure thrown (LOCAL_STACK).
 */
export async function startStack(options: LocalStackOptions): Promise<LocalStack> {
  const { brokers, databaseUrl, log, env = process.env } = options;
  if (brokers !== undefined && databaseUrl !== undefined) {
    return {
      kafka: undefined,
      postgres: undefined,
      brokers: [...brokers],
      databaseUrl,
      dir: undefined,
      stop: async () => {},
    };
  }
  if (process.platform === 'win32') {
    throw localStackRefusal('The local stack runs on Linux and macOS (on Windows: in WSL).');
  }

  const temporary = options.dir === undefined;
  const dir = temporary ? await mkdtemp(path.join(tmpdir(), 'stateferry-')) : path.resolve(options.dir as string);
  // Postgres may run as another user and has to pass; what is secret below is closed by itself.
  if (temporary) await chmod(dir, 0o711);
  else await mkdir(dir, { recursive: true, mode: 0o711 });
  const guard = startGuard({ log });
  let kafka: LocalKafka | undefined;
  let postgres: LocalPostgres | undefined;
  let toRemove: string[] = [];
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      await Promise.all([kafka?.stop(), postgres?.stop()]);
      await Promise.all(toRemove.map((folder) => rm(folder, { recursive: true, force: true, maxRetries: 5 })));
      await guard.close();
    })();
    return stopping;
  };

  // The first failure ends the other start too: nobody should wait for a download to learn that Postgres cannot run.
  const starting = new AbortController();
  const host: Host = { env, guard, signal: starting.signal, log };
  const giveUp = (): void => starting.abort(options.signal?.reason);
  options.signal?.addEventListener('abort', giveUp);
  try {
    options.signal?.throwIfAborted();
    const memory = await recall(dir);
    if (temporary) toRemove = [dir, rootsFolder(memory.id)];
    for (const folder of toRemove) guard.remove(folder);
    const startingKafka =
      brokers === undefined
        ? startKafka({
            dir: path.join(dir, 'kafka'),
            clusterId: memory.id,
            ports: memory.kafkaPorts,
            config: options.kafkaConfig,
            host,
          })
        : undefined;
    const startingPostgres =
      databaseUrl === undefined
        ? startPostgres({
            dir: path.join(dir, 'postgres'),
            name: memory.id,
            password: memory.password,
            port: memory.postgresPort,
            host,
          })
        : undefined;
    for (const part of [startingKafka, startingPostgres]) part?.catch((error: unknown) => starting.abort(error));
    const parts = await Promise.allSettled([startingKafka, startingPostgres]);
    if (parts[0].status === 'fulfilled') kafka = parts[0].value;
    if (parts[1].status === 'fulfilled') postgres = parts[1].value;
    starting.signal.throwIfAborted();
    await remember(dir, {
      ...memory,
      kafkaPorts: kafka === undefined ? memory.kafkaPorts : [...kafka.ports],
      postgresPort: postgres?.port ?? memory.postgresPort,
    });
  } catch (error) {
    await stop();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', giveUp);
  }
  return {
    kafka,
    postgres,
    brokers: kafka?.brokers ?? [...(brokers ?? [])],
    databaseUrl: postgres?.url ?? databaseUrl ?? '',
    dir,
    stop,
  };
}

async function recall(dir: string): Promise<Memory> {
  const file = path.join(dir, MEMORY_FILE);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const memory = { id: newClusterId(), password: randomBytes(18).toString('hex') };
    await remember(dir, memory);
    return memory;
  }
  try {
    return Memory.parse(JSON.parse(text));
  } catch (error) {
    throw new StateferryError(
      'LOCAL_STACK',
      `${file} is not what a local stack leaves in its data folder (${messageOf(error)}); choose another data folder, or remove this one to start empty`,
      { cause: error },
    );
  }
}

async function remember(dir: string, memory: Memory): Promise<void> {
  const file = path.join(dir, MEMORY_FILE);
  await writeFile(`${file}.new`, `${JSON.stringify(memory, undefined, 2)}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
}
