import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Admin } from 'kafkajs';
import { aborted } from '../abort.ts';
import type { LocalRequest } from '../cli/context.ts';
import { quietKafka } from '../commands/quiet-kafka.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import type { Environment } from '../config/variables.ts';
import { messageOf, StateferryError } from '../errors.ts';
import { startGuard } from '../local/guard.ts';
import type { Host } from '../local/host.ts';
import { freePorts } from '../local/ports.ts';
import { startRegistry } from '../local/registry.ts';
import { startStack } from '../local/stack.ts';
import { packagePath } from '../package-path.ts';
import { avroSettings, registerFlights } from './avro.ts';
import { EXAMPLE } from './flights.ts';
import { clearKafka, clearPostgres, DEPLOYMENT, PARTITIONS, SCHEMA, TOPICS, takeGround } from './ground.ts';
import { type JournalReader, openJournal } from './journal.ts';
import { createPart, type Part } from './part.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { createReader, type Reader } from './reader.ts';

const SDK = '@kalix-io/kalix-javascript-sdk';
const HOST = '127.0.0.1';
const READY_WITHIN_MS = 30_000;
const READY_POLL_MS = 50;
/** While it is kept running, a process that ended is started again after this time. */
const RESTART_AFTER_MS = 500;
/** A group waits this long for a member that was killed, in ms. Brokers insist on 6 s where they are not told otherwise. */
const SESSION = { ours: { timeout: 3_000, heartbeat: 500 }, given: { timeout: 6_000, heartbeat: 1_000 } };

/** Everything that the demo runs on and with, up and ready. */
export interface Scene {
  readonly engine: Part;
  readonly fn: Part;
  /** Version 2 of the function, at this address once it has been started. */
  readonly next: { readonly part: Part; readonly url: string };
  /** The engine's. */
  readonly config: Config;
  readonly admin: Admin;
  readonly journal: JournalReader;
  readonly publisher: Publisher;
  readonly reader: Reader;
  /** Aborted when the user wants the end, or when something failed: then the reason is the failure. */
  readonly signal: AbortSignal;
  /** What of the logs belongs to a failure. */
  tails(): Promise<string>;
  readonly addresses: {
    readonly brokers: string;
    /** With the password; absent where the database is the user's own, whose password is not ours to print. */
    readonly databaseUrl?: string;
    readonly http: string;
    /** Of the function's services. */
    readonly doors: string;
    /** Of the schema registry; absent: there is none. */
    readonly registry?: string;
  };
  /** From now on, a process that ends is started again. Resolves when the user wants the end. */
  keep(): Promise<void>;
  /** Ends every process, and removes what was made. */
  close(): Promise<void>;
}

/**
 * Brings up servers, topics, function and engine, and resolves when the engine is ready. When something fails on the
 * way, what was started is ended first.
 */
export async function openScene(options: {
  readonly request: LocalRequest;
  readonly env: Environment;
  /** All topics are Avro, with a schema registry of the demo's own. */
  readonly avro: boolean;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}): Promise<Scene> {
  const { request, say } = options;
  const trouble = new AbortController();
  const signal = AbortSignal.any([options.signal, trouble.signal]);
  const closing: (() => Promise<void>)[] = [];
  const parts: Part[] = [];
  let kept = false;
  let closed: Promise<void> | undefined;

  const close = (): Promise<void> => {
    closed ??= (async () => {
      if (options.signal.aborted) say('Ending everything that was started');
      for (const step of closing.reverse()) {
        await step().catch((error) => say(`Not everything could be tidied up: ${messageOf(error)}`));
      }
    })();
    return closed;
  };
  const tails = async (): Promise<string> =>
    (
      await Promise.all(
        parts.map(async (part) => `The end of the log of ${part.name}:\n${(await part.tail()) || '  (nothing)'}`),
      )
    ).join('\n');

  async function bringUp(): Promise<Scene> {
    const guard = startGuard({ log: say });
    closing.push(() => guard.close());
    const host: Host = { env: { ...options.env }, guard, signal, log: say };
    const folder = await mkdtemp(path.join(tmpdir(), 'stateferry-demo-'));
    closing.push(() => rm(folder, { recursive: true, force: true }));
    guard.remove(folder);

    say(
      request.given.brokers !== undefined && request.given.databaseUrl !== undefined
        ? 'Using the servers that are given'
        : 'Starting Kafka and Postgres, with data that are thrown away',
    );
    const building = buildDescriptor(options.env, signal);
    // It is awaited when the stack is up.
    building.catch(() => undefined);
    const stack = await startStack({
      brokers: request.given.brokers,
      databaseUrl: request.given.databaseUrl,
      env: { ...options.env },
      signal,
      log: say,
    });
    closing.push(() => stack.stop());
    await building;
    const registry = options.avro ? await startRegistry({ dir: path.join(folder, 'registry'), host }) : undefined;
    if (registry !== undefined) closing.push(() => registry.stop());
    const encode = registry && (await registerFlights(registry.url));
    const { kafka: brokersOf, postgres } = request.configWith({
      'kafka.brokers': stack.brokers,
      'postgres.url': stack.databaseUrl,
    });

    const kafka = quietKafka({ kafka: { ...brokersOf, clientId: DEPLOYMENT } });
    const admin = kafka.admin();
    try {
      await admin.connect();
    } catch (cause) {
      throw new StateferryError(
        'KAFKA_UNAVAILABLE',
        `the demo cannot reach Kafka at ${brokersOf.brokers.join(',')}: ${messageOf(cause)}. Check KAFKA_BROKERS.`,
        { cause },
      );
    }
    closing.push(() => admin.disconnect());
    const readerGroup = `${DEPLOYMENT}-reader-${randomUUID()}`;
    // Only from here on is there anything of ours on servers that are somebody's.
    await takeGround(admin, postgres.url);
    if (stack.postgres === undefined) closing.push(() => clearPostgres(postgres.url));
    if (stack.kafka === undefined) closing.push(() => clearKafka(admin, [DEPLOYMENT, readerGroup]));

    const [functionPort, httpPort, doorPort, nextPort] = (await freePorts(4)) as [number, number, number, number];
    const functionUrl = `http://${HOST}:${functionPort}`;
    const http = `http://${HOST}:${httpPort}`;
    const doors = `http://${HOST}:${doorPort}`;
    const session = stack.kafka === undefined ? SESSION.given : SESSION.ours;
    const base = withoutOurs(options.env);
    const lost = (part: Part, error: StateferryError): void => {
      if (kept) {
        say(`${error.message}; it is started again`);
        delay(RESTART_AFTER_MS, undefined, { signal })
          .then(() => part.start())
          .catch((failure: unknown) => {
            if (!signal.aborted) say(messageOf(failure));
          });
      } else trouble.abort(error);
    };
    const fn = createPart({
      name: 'the function',
      args: ['index.js'],
      env: { ...base, HOST, PORT: String(functionPort) },
      cwd: packagePath(EXAMPLE),
      logFile: path.join(folder, 'function.log'),
      host,
      onLost: lost,
    });
    const next = createPart({
      name: 'version 2 of the function',
      args: ['index.js'],
      env: { ...base, HOST, PORT: String(nextPort), FLIGHTS_RULES: '2' },
      cwd: packagePath(EXAMPLE),
      logFile: path.join(folder, 'function-2.log'),
      host,
      onLost: lost,
    });
    const engineEnv = {
      ...base,
      KAFKA_BROKERS: brokersOf.brokers.join(','),
      DATABASE_URL: postgres.url,
      FUNCTION_URL: functionUrl,
      STATEFERRY_DEPLOYMENT_NAME: DEPLOYMENT,
      STATEFERRY_POSTGRES_SCHEMA: SCHEMA,
      // All of them, so that everything can be verified byte for byte.
      STATEFERRY_JOURNAL_OUTBOX_RETENTION_CHUNKS: '1000000',
      STATEFERRY_KAFKA_SESSION_TIMEOUT_MS: String(session.timeout),
      STATEFERRY_KAFKA_HEARTBEAT_INTERVAL_MS: String(session.heartbeat),
      STATEFERRY_TOPICS_DESTINATIONS: JSON.stringify({
        events: [{ entityType: 'airports', topic: TOPICS.events, format: 'json' }],
      }),
      ...(registry && avroSettings(registry.url)),
      STATEFERRY_HTTP_PORT: String(httpPort),
      HTTP_PORT: String(doorPort),
      STATEFERRY_LOG_FORMAT: 'json',
    };
    const engine = createPart({
      name: 'the engine',
      args: [fileURLToPath(new URL('../main.js', import.meta.url)), 'run'],
      env: engineEnv,
      // No stateferry.yaml of somebody's is here.
      cwd: folder,
      logFile: path.join(folder, 'engine.log'),
      host,
      onLost: lost,
    });
    parts.push(engine, fn, next);
    // The engine first: it tells the function that it goes.
    closing.push(
      async () => void (await fn.kill()),
      () => next.stop(),
      () => engine.stop(),
    );
    await Promise.all([fn.start(), engine.start()]);
    const reader = createReader({
      kafka,
      groupId: readerGroup,
      topics: [TOPICS.statuses, TOPICS.events, TOPICS.alerts, TOPICS.commands, TOPICS.deadLetters],
      onCrash: (error) =>
        trouble.abort(new StateferryError('DEMO_FAILED', `the reader of the outputs gave up (${messageOf(error)})`)),
    });
    const publisher = createPublisher({ kafka, topic: TOPICS.flights, partitions: PARTITIONS, encode });
    closing.push(
      () => reader.stop(),
      () => publisher.stop(),
    );
    await untilReady(http, signal);
    await Promise.all([reader.start(), publisher.start()]);
    const journal = await openJournal({ url: postgres.url, schema: SCHEMA });
    closing.push(() => journal.close());
    say(`The engine (process ${engine.pid}) and the function (process ${fn.pid}) are ready`);
    return {
      engine,
      fn,
      next: { part: next, url: `http://${HOST}:${nextPort}` },
      config: loadConfig({ argvFlags: {}, env: engineEnv, cwd: folder }).config,
      admin,
      journal,
      publisher,
      reader,
      signal,
      tails,
      addresses: {
        brokers: brokersOf.brokers.join(','),
        ...(stack.postgres !== undefined && { databaseUrl: postgres.url }),
        http,
        doors,
        ...(registry && { registry: registry.url }),
      },
      keep() {
        kept = true;
        return aborted(options.signal);
      },
      close,
    };
  }

  try {
    return await bringUp();
  } catch (error) {
    const told = await withTails(error, parts.length > 0 ? tails : async () => '');
    await close();
    throw told;
  }
}

async function buildDescriptor(env: Environment, signal: AbortSignal): Promise<void> {
  try {
    await promisify(execFile)(process.execPath, [packagePath('examples/build-descriptor.js'), SDK], {
      cwd: packagePath(EXAMPLE),
      env: { ...env },
      signal,
    });
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    throw new StateferryError(
      'DEMO_REFUSED',
      `the descriptor of ${EXAMPLE} could not be built: ${messageOf(cause)}. Are its packages installed? Run: npm ci`,
      { cause },
    );
  }
}

/** The environment without what would configure the engine: of that, the demo gives all there is. */
function withoutOurs(env: Environment): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(STATEFERRY_|USER_FUNCTION_|FUNCTION_URL$)/.test(name)),
  );
}

/** Resolves when the engine says that it does its work. */
async function untilReady(http: string, signal: AbortSignal): Promise<void> {
  const late = AbortSignal.timeout(READY_WITHIN_MS);
  const either = AbortSignal.any([signal, late]);
  let reason = 'it does not answer';
  while (!either.aborted) {
    try {
      const answer = await fetch(`${http}/readyz`, { signal: either });
      if (answer.ok) return;
      reason = (await answer.text()).trim();
    } catch (error) {
      // Until it listens, the connection is refused.
      if (!(error instanceof TypeError) && !either.aborted) throw error;
    }
    await delay(READY_POLL_MS);
  }
  signal.throwIfAborted();
  throw new StateferryError('DEMO_FAILED', `the engine is not ready after ${READY_WITHIN_MS / 1000} s: ${reason}`);
}

/** A failure of the run itself is told with what the processes said last. */
export async function withTails(error: unknown, tails: () => Promise<string>): Promise<unknown> {
  if (!(error instanceof StateferryError) || error.code !== 'DEMO_FAILED') return error;
  return new StateferryError('DEMO_FAILED', `${error.message}\n${await tails()}`, { cause: error });
}
