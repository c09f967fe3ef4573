import { existsSync } from 'node:fs';
import { chown, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import type { Host } from './host.ts';
import { launch, runTool } from './launch.ts';
import { freePorts } from './ports.ts';
import { type PostgresHome, preparePostgres } from './postgres-home.ts';
import { type LocalServer, type StopSteps, startServer } from './server.ts';
import { withFreePorts } from './with-free-ports.ts';

/** A real Postgres on 127.0.0.1, with a database and a superuser that are both called stateferry. */
export interface LocalPostgres extends LocalServer {
  /** With the password. */
  readonly url: string;
  readonly port: number;
  /** Where its files are: the folder that was asked for, unless we are root and its user cannot go there. */
  readonly folder: string;
}

export interface LocalPostgresOptions {
  /** Data and log; made if missing, used again if there. */
  readonly dir: string;
  /** Unique to the stack. */
  readonly name: string;
  /** Letters and digits; of the superuser, from the first start on. */
  readonly password: string;
  /** To use if it is free. */
  readonly port?: number | undefined;
  readonly host: Host;
  /** Picks that many free ports; a seam for tests of the race for them. */
  readonly pickPorts?: (count: number) => Promise<number[]>;
  /** The folder with bin, lib and share; the installed package's by default. */
  readonly programs?: string;
}

const USER = 'stateferry';
const DATABASE = 'stateferry';
/** SIGINT ends the sessions and then the server; SIGQUIT makes the parent end its children at once. */
const STOP: StopSteps = [
  { signal: 'SIGINT', waitMs: 10_000 },
  { signal: 'SIGQUIT', waitMs: 5_000 },
];

/** Starts Postgres and resolves when it answers. LOCAL_STACK when it cannot run here or ends instead. */
export async function startPostgres(options: LocalPostgresOptions): Promise<LocalPostgres> {
  const { dir, host } = options;
  const began = Date.now();
  await mkdir(dir, { recursive: true });
  const home = await preparePostgres({ folder: dir, name: options.name, host, programs: options.programs });
  const data = path.join(home.folder, 'data');
  const hadData = existsSync(data);
  if (!hadData) await initialize(home, data, options);

  const postgres = await withFreePorts(
    {
      name: 'Postgres',
      count: 1,
      preferred: options.port === undefined ? undefined : [options.port],
      pick: options.pickPorts ?? freePorts,
    },
    (ports) => startOn(options, home, data, hadData, ports),
  );
  host.log(
    `Postgres ${home.version} answers on 127.0.0.1:${postgres.port} (${((Date.now() - began) / 1000).toFixed(1)} s)`,
  );
  return postgres;
}

async function startOn(
  options: LocalPostgresOptions,
  home: PostgresHome,
  data: string,
  hadData: boolean,
  ports: readonly number[],
): Promise<LocalPostgres> {
  const { host, password } = options;
  const [port] = ports;
  if (port === undefined) throw new RangeError('Postgres needs a port');
  const logFile = path.join(options.dir, 'postgres.log');
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    // The tests' files and workers have a pool each.
    max_connections: '200',
    shared_buffers: '128MB',
    // Fewer checkpoints under a benchmark's load than at the default of 1 GB.
    max_wal_size: '2GB',
  };
  const server = await startServer(
    {
      name: 'Postgres',
      logFile,
      launch: () =>
        launch({
          name: 'Postgres',
          command: home.postgres,
          args: ['-D', data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
          env: home.env,
          cwd: '/',
          account: home.account,
          logFile,
          host,
          guardSignal: 'SIGINT',
        }),
      probe: () => ensureDatabase(port, password),
      stopSteps: STOP,
      host,
    },
    hadData,
  );
  return {
    url: `postgres://${USER}:${password}@127.0.0.1:${port}/${DATABASE}`,
    port,
    folder: home.folder,
    get pid() {
      return server.pid;
    },
    stop: server.stop,
    kill: server.kill,
    restart: server.restart,
  };
}

/** A data folder that initdb did not finish never gets the name of a data folder. */
async function initialize(home: PostgresHome, data: string, options: LocalPostgresOptions): Promise<void> {
  const { account } = home;
  const unfinished = `${data}-unfinished`;
  const passwordFile = path.join(home.folder, 'password');
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  await rm(passwordFile, { force: true });
  try {
    await writeFile(passwordFile, `${options.password}\n`, { mode: 0o600, flag: 'wx' });
    if (account !== undefined) {
      await chown(unfinished, account.uid, account.gid);
      await chown(passwordFile, account.uid, account.gid);
    }
    await runTool({
      name: 'initdb',
      command: home.initdb,
      args: [
        `--pgdata=${unfinished}`,
        `--username=${USER}`,
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        // Unicode's rules from Postgres itself: the same on every machine, whatever locales it has.
        '--locale=C',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--no-instructions',
      ],
      env: home.env,
      cwd: '/',
      account,
      host: options.host,
    });
    await rename(unfinished, data);
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** Resolves when the server lets us in and the database is there. */
async function ensureDatabase(port: number, password: string): Promise<void> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: USER,
    password,
    database: 'postgres',
    connectionTimeoutMillis: 2_000,
  });
  // A connection that breaks after the last query: the next attempt, or the server's exit, tells.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const found = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
    if (found.rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(DATABASE)}`);
  } finally {
    await client.end();
  }
}
