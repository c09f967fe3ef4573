import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readlink, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { startGuard } from '../../src/local/guard.ts';
import type { Host } from '../../src/local/host.ts';
import { type LocalKafka, newClusterId, startKafka } from '../../src/local/kafka.ts';
import { freePorts } from '../../src/local/ports.ts';
import { type LocalPostgres, startPostgres } from '../../src/local/postgres.ts';
import { rootsFolder } from '../../src/local/postgres-home.ts';
import type { LocalServer } from '../../src/local/server.ts';
import { runs } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';
import { type KafkaLoss, kafkaInspector, type Losses, postgresInspector } from './inspectors.ts';
import { SLOTS } from './plan.ts';
import { startProxy, type TcpProxy } from './proxy.ts';

/** A server that faults are done to. */
export interface Node extends LocalServer {
  /** Stops it and what it has started, as SIGSTOP does; `thaw` lets them go on. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

/** A proxy for one engine, with the answers that it is to lose. */
export interface LossyProxy<T> {
  readonly proxy: TcpProxy;
  readonly losses: Losses<T>;
}

/** Kafka and Postgres, with a way of its own to each of them for every slot that an engine may run in. */
export interface Cluster {
  readonly brokers: readonly Node[];
  readonly postgres: Node & { limitFileSize(bytes: number | 'unlimited'): Promise<void> };
  /** For the harness itself: without a proxy. */
  readonly direct: { readonly brokers: readonly string[]; readonly databaseUrl: string };
  /** What the engine of a slot is told. */
  readonly of: readonly { readonly brokers: readonly string[]; readonly databaseUrl: string }[];
  /** By slot, then by broker. */
  readonly kafkaProxies: readonly (readonly LossyProxy<KafkaLoss>[])[];
  /** By slot. */
  readonly postgresProxies: readonly LossyProxy<'append'>[];
}

const TRIES = 3;

/** Starts the servers below `dir`; ends them with the scope. `dir` stays. */
export async function startCluster(
  t: Scope,
  options: { readonly dir: string; readonly brokers: 1 | 3; readonly log: (line: string) => void },
): Promise<Cluster> {
  const guard = startGuard({ log: options.log });
  t.onTestFinished(() => guard.close());
  const host: Host = { env: process.env, guard, signal: new AbortController().signal, log: options.log };
  const name = newClusterId();
  guard.remove(rootsFolder(name));
  t.onTestFinished(() => rm(rootsFolder(name), { recursive: true, force: true, maxRetries: 5 }));
  const [postgres, kafka] = await Promise.all([
    launchPostgres(t, host, options.dir, name),
    // Somebody may take a port between the choice and the start; then all of them are chosen anew.
    withTries(TRIES, (nth) => launchBrokers(t, host, path.join(options.dir, `kafka-${nth}`), options.brokers)),
  ]);
  const postgresProxies: LossyProxy<'append'>[] = [];
  for (let slot = 0; slot < SLOTS; slot++) {
    const losses: Losses<'append'> = { pending: undefined, done: 0 };
    const proxy = await openProxy(t, await freePort(), postgres.port, postgresInspector(losses));
    postgresProxies.push({ proxy, losses });
  }
  return {
    brokers: kafka.nodes,
    postgres: postgresNode(postgres),
    direct: { brokers: kafka.nodes.map((_, n) => `127.0.0.1:${kafka.ports[n]?.clients}`), databaseUrl: postgres.url },
    of: postgresProxies.map(({ proxy }, slot) => {
      const url = new URL(postgres.url);
      url.port = String(proxy.port);
      return {
        databaseUrl: url.href,
        brokers: (kafka.proxies[slot] ?? []).map((one) => `127.0.0.1:${one.proxy.port}`),
      };
    }),
    kafkaProxies: kafka.proxies,
    postgresProxies,
  };
}

/** Brokers alone, with their addresses for the harness; ended with the scope. */
export async function startBrokers(
  t: Scope,
  options: { readonly dir: string; readonly count: number; readonly log: (line: string) => void },
): Promise<{ readonly brokers: readonly string[] }> {
  const guard = startGuard({ log: options.log });
  t.onTestFinished(() => guard.close());
  const host: Host = { env: process.env, guard, signal: new AbortController().signal, log: options.log };
  const { ports } = await withTries(TRIES, (nth) =>
    launchBrokers(t, host, path.join(options.dir, `kafka-${nth}`), options.count),
  );
  return { brokers: ports.map(({ clients }) => `127.0.0.1:${clients}`) };
}

interface BrokerPorts {
  readonly clients: number;
  readonly controller: number;
  /** By slot: where the broker listens for the slot's proxy, and where that one listens for the engine. */
  readonly slots: readonly { readonly listens: number; readonly proxy: number }[];
}

async function launchBrokers(t: Scope, host: Host, dir: string, count: number) {
  const ports = await pickPorts(count);
  const voters = ports.map(({ controller }, n) => `${n + 1}@127.0.0.1:${controller}`).join(',');
  const replicated = {
    'default.replication.factor': '3',
    'min.insync.replicas': '2',
    'offsets.topic.replication.factor': '3',
    'transaction.state.log.replication.factor': '3',
    'transaction.state.log.min.isr': '2',
  };
  const clusterId = newClusterId();
  const launched = await Promise.allSettled(
    ports.map((own, n) =>
      startKafka({
        dir: path.join(dir, `broker-${n + 1}`),
        clusterId,
        ports: [own.clients, own.controller],
        config: {
          'node.id': String(n + 1),
          'controller.quorum.voters': voters,
          ...listeners(own),
          ...(count > 1 && replicated),
        },
        host,
      }),
    ),
  );
  const servers = launched.filter((one) => one.status === 'fulfilled').map(({ value }) => value);
  t.onTestFinished(async () => void (await Promise.all(servers.map((server) => server.stop()))));
  const failed = launched.find((one) => one.status === 'rejected');
  const moved = servers.find((server, n) => server.ports[0] !== ports[n]?.clients);
  if (failed !== undefined || moved !== undefined) {
    await Promise.all(servers.map((server) => server.stop()));
    throw failed?.reason ?? new Error('a broker was started on other ports than those that its peers were told of');
  }
  const proxies: LossyProxy<KafkaLoss>[][] = [];
  for (let slot = 0; slot < SLOTS; slot++) {
    const row: LossyProxy<KafkaLoss>[] = [];
    for (const own of ports) {
      const { listens, proxy: port } = own.slots[slot] as BrokerPorts['slots'][number];
      const losses: Losses<KafkaLoss> = { pending: undefined, done: 0 };
      row.push({ proxy: await openProxy(t, port, listens, kafkaInspector(losses)), losses });
    }
    proxies.push(row);
  }
  return { nodes: servers.map((server: LocalKafka) => node(server)), ports, proxies };
}

/** A listener for the harness and the other brokers, and one for each slot, which is told of by the port of its proxy. */
function listeners({ clients, controller, slots }: BrokerPorts): Record<string, string> {
  const names = ['CLIENTS', 'CONTROLLER', ...slots.map((_, slot) => `SLOT${slot}`)];
  return {
    'listener.security.protocol.map': names.map((name) => `${name}:PLAINTEXT`).join(','),
    listeners: [
      `CLIENTS://127.0.0.1:${clients}`,
      `CONTROLLER://127.0.0.1:${controller}`,
      ...slots.map(({ listens }, slot) => `SLOT${slot}://127.0.0.1:${listens}`),
    ].join(','),
    'advertised.listeners': [
      `CLIENTS://127.0.0.1:${clients}`,
      ...slots.map(({ proxy }, slot) => `SLOT${slot}://127.0.0.1:${proxy}`),
    ].join(','),
    'num.network.threads': '2',
    'num.io.threads': '4',
  };
}

async function pickPorts(brokers: number): Promise<BrokerPorts[]> {
  const each = 2 + 2 * SLOTS;
  const ports = await freePorts(brokers * each);
  return Array.from({ length: brokers }, (_, n) => {
    const [clients = 0, controller = 0, ...rest] = ports.slice(n * each, (n + 1) * each);
    return {
      clients,
      controller,
      slots: Array.from({ length: SLOTS }, (_, slot) => ({
        listens: rest[2 * slot] ?? 0,
        proxy: rest[2 * slot + 1] ?? 0,
      })),
    };
  });
}

async function launchPostgres(t: Scope, host: Host, dir: string, name: string): Promise<LocalPostgres> {
  const password = randomBytes(12).toString('hex');
  const postgres = await startPostgres({ dir: path.join(dir, 'postgres'), name, password, host });
  t.onTestFinished(() => postgres.stop());
  return postgres;
}

async function openProxy(
  t: Scope,
  port: number,
  to: number,
  inspect: NonNullable<Parameters<typeof startProxy>[0]['inspect']>,
): Promise<TcpProxy> {
  const proxy = await startProxy({ port, to: () => to, inspect });
  t.onTestFinished(() => proxy.close());
  return proxy;
}

async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port as number;
}

function node(server: LocalServer): Node {
  return {
    get pid() {
      return server.pid;
    },
    stop: server.stop,
    kill: server.kill,
    restart: server.restart,
    freeze: () => signalFamily(server.pid, 'SIGSTOP'),
    thaw: () => signalFamily(server.pid, 'SIGCONT'),
  };
}

function postgresNode(postgres: LocalPostgres): Cluster['postgres'] {
  return {
    ...node(postgres),
    // A getter does not survive being copied.
    get pid() {
      return postgres.pid;
    },
    async restart() {
      // Its children end by themselves, except for one that was cut off in the middle of something: an operator's work.
      if (!runs(postgres.pid)) for (const pid of await processesIn(path.join(postgres.folder, 'data'))) kill(pid);
      await postgres.restart();
    },
    limitFileSize: (bytes) => limitFileSize(postgres, bytes),
  };
}

/** Processes whose working folder this is. */
async function processesIn(folder: string): Promise<number[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0);
  const found = await Promise.all(
    pids.map(async (pid) => ((await readlink(`/proc/${pid}/cwd`).catch(() => '')) === folder ? [pid] : [])),
  );
  return found.flat();
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Postgres has a process for every connection, which a signal to its parent does not reach. */
async function signalFamily(pid: number, signal: NodeJS.Signals): Promise<void> {
  for (const one of [pid, ...(await childrenOf(pid))]) {
    try {
      process.kill(one, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=']);
  return stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === pid)
    .map(([child]) => child as number);
}

/**
 * A file of Postgres cannot grow beyond `bytes`, as on a full disk: it ignores the signal that the kernel sends for it,
 * and takes the refused write for what it is.
 */
async function limitFileSize(server: LocalServer, bytes: number | 'unlimited'): Promise<void> {
  for (const pid of [server.pid, ...(await childrenOf(server.pid))]) {
    await promisify(execFile)('prlimit', ['--pid', String(pid), `--fsize=${bytes}:unlimited`]).catch(
      (error: NodeJS.ErrnoException) => {
        // The one that has ended meanwhile has no limit to be set.
        if (error.code === 'ENOENT') throw error;
      },
    );
  }
}

async function withTries<T>(tries: number, attempt: (nth: number) => Promise<T>): Promise<T> {
  for (let nth = 1; ; nth++) {
    try {
      return await attempt(nth);
    } catch (error) {
      if (nth === tries) throw error;
    }
  }
}
