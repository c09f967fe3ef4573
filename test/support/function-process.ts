import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { Client, credentials } from '@grpc/grpc-js';
import { type Guard, startGuard } from '../../src/local/guard.ts';
import { findCommand } from '../../src/local/java.ts';
import { freePorts, portTaken } from '../../src/local/ports.ts';
import { withFreePorts } from '../../src/local/with-free-ports.ts';
import { packagePath } from '../../src/package-path.ts';
import { loadWire, type WireDialect } from '../../src/protocol/wire.ts';
import type { Scope } from './scope.ts';
import { WIRE_NAMES } from './wire-names.ts';

/** A JVM on a busy machine takes half of it. */
const UP_WITHIN_MS = 45_000;
const OUTPUT_KEPT = 20_000;

/** A function's source. */
export type FunctionSource = JavaScriptSource | ScriptedSource;

/** A folder with `index.js`, and `proto/` to build `user-function.desc` from. */
export interface JavaScriptSource {
  /** Relative to the repository. */
  readonly folder: string;
  /** npm package of the SDK, which ships the .proto files that the function's own import; or a folder that has `proto/`. */
  readonly sdk: string;
  readonly dialect: WireDialect;
}

/** A folder with `build.sh`, which does nothing the second time, and `start.sh`, whose process becomes the function's. */
export interface ScriptedSource {
  /** Relative to the repository. */
  readonly folder: string;
  readonly tools: readonly Tool[];
  readonly dialect: WireDialect;
}

/** A program without which a function can be neither built nor started. */
interface Tool {
  readonly name: string;
  readonly command: string;
  /** Arguments with which it succeeds only if it is of use; absent: it is enough that it is there. */
  readonly probe?: readonly string[];
}

const PYTHON: readonly Tool[] = [
  {
    name: 'Python 3.8 to 3.12 with venv',
    command: 'python3',
    probe: ['-c', 'import ensurepip, sys, venv; sys.exit(not (3, 8) <= sys.version_info < (3, 13))'],
  },
];
const JAVA: readonly Tool[] = ['java', 'javac', 'mvn'].map((command) => ({ name: command, command }));

/** The functions that tests start: the examples, one that can be told to misbehave, and two without an SDK. */
export const FUNCTIONS = {
  flights: { folder: 'examples/flights', sdk: '@kalix-io/kalix-javascript-sdk', dialect: 'kalix' },
  'counter-akkaserverless': {
    folder: 'examples/counter-akkaserverless',
    sdk: '@lightbend/akkaserverless-javascript-sdk',
    dialect: 'akkaserverless',
  },
  'cart-akkaserverless': {
    folder: 'examples/cart-akkaserverless',
    sdk: '@lightbend/akkaserverless-javascript-sdk',
    dialect: 'akkaserverless',
  },
  'cart-akkaserverless-python': {
    folder: 'examples/cart-akkaserverless-python',
    tools: PYTHON,
    dialect: 'akkaserverless',
  },
  'cart-cloudstate': { folder: 'examples/cart-cloudstate', sdk: 'cloudstate', dialect: 'cloudstate-first' },
  'cart-cloudstate-java': {
    folder: 'examples/cart-cloudstate-java',
    tools: JAVA,
    dialect: 'cloudstate-first',
  },
  'cart-cloudstate-python': {
    folder: 'examples/cart-cloudstate-python',
    tools: PYTHON,
    dialect: 'cloudstate-first',
  },
  'cart-kalix': { folder: 'examples/cart-kalix', sdk: '@kalix-io/kalix-javascript-sdk', dialect: 'kalix' },
  'cart-kalix-java': { folder: 'examples/cart-kalix-java', tools: JAVA, dialect: 'kalix' },
  'crdt-akkaserverless': {
    folder: 'examples/crdt-akkaserverless',
    sdk: '@lightbend/akkaserverless-javascript-sdk',
    dialect: 'akkaserverless',
  },
  'crdt-cloudstate': { folder: 'examples/crdt-cloudstate', sdk: 'cloudstate', dialect: 'cloudstate-first' },
  'crdt-cloudstate-java': { folder: 'examples/crdt-cloudstate-java', tools: JAVA, dialect: 'cloudstate-first' },
  'crdt-kalix': { folder: 'examples/crdt-kalix', sdk: '@kalix-io/kalix-javascript-sdk', dialect: 'kalix' },
  'crdt-kalix-java': { folder: 'examples/crdt-kalix-java', tools: JAVA, dialect: 'kalix' },
  trouble: { folder: 'test/support/functions/trouble', sdk: '@kalix-io/kalix-javascript-sdk', dialect: 'kalix' },
  meter: {
    folder: 'test/support/functions/meter',
    sdk: '@lightbend/akkaserverless-javascript-sdk',
    dialect: 'akkaserverless',
  },
  // With the SDK of the first Cloudstate protocol for its .proto files, whose entity keys the last one takes too.
  board: { folder: 'test/support/functions/board', sdk: 'cloudstate', dialect: 'cloudstate' },
  mart: { folder: 'test/support/functions/mart', sdk: packagePath('.'), dialect: 'cloudstate' },
} as const satisfies Record<string, FunctionSource>;

export interface FunctionProcess {
  readonly dialect: WireDialect;
  readonly host: string;
  readonly port: number;
  /** host:port */
  readonly url: string;
  readonly pid: number;
  /** Sends a signal: SIGSTOP and SIGCONT for a function that hangs, SIGKILL (the default) for one that crashes. */
  kill(signal?: NodeJS.Signals): void;
  /** SIGKILL, and resolves when the process is gone; at once if it is already. A function has nothing to save. */
  stop(): Promise<void>;
  /** Resolves, however the process ends, to its exit code or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** The end of what it has printed so far. */
  output(): string;
}

/**
 * Starts a real function as a process of its own, builds it first if what it needs is missing or stale, and resolves
 * when it answers discovery with a version of 0.0, which no SDK counts as a runtime having been there. Stopped when the test
 * has finished. Rejects with the function's output if it ends before that or is not up after 45 s.
 *
 * `port`: to start it again where it was; otherwise a free one.
 */
export async function startFunction(
  t: Scope,
  options: {
    readonly source: keyof typeof FUNCTIONS | FunctionSource;
    readonly port?: number;
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<FunctionProcess> {
  const source: FunctionSource = typeof options.source === 'string' ? FUNCTIONS[options.source] : options.source;
  const { port, env = {} } = options;
  await buildFunction(source);
  const started =
    port === undefined
      ? await withFreePorts({ name: source.folder, count: 1, preferred: undefined, pick: freePorts }, ([free]) =>
          launch(source, free ?? 0, env),
        )
      : await launch(source, port, env);
  t.onTestFinished(() => started.stop());
  return started;
}

/** Builds what a function needs, unless that is there. The first time it may take minutes for what it downloads. */
export async function buildFunction(source: FunctionSource): Promise<void> {
  const [command, ...args] =
    'sdk' in source ? [process.execPath, packagePath('examples/build-descriptor.js'), source.sdk] : ['sh', 'build.sh'];
  await promisify(execFile)(command, args, { cwd: packagePath(source.folder) });
}

/** The names of what a function needs and this machine does not have. */
export async function missingTools(source: FunctionSource): Promise<string[]> {
  const missing: string[] = [];
  for (const { name, command, probe } of 'tools' in source ? source.tools : []) {
    const found = await findCommand(command, process.env);
    const fit =
      found !== undefined &&
      (probe === undefined ||
        (await promisify(execFile)(found, [...probe]).then(
          () => true,
          () => false,
        )));
    if (!fit) missing.push(name);
  }
  return missing;
}

async function launch(
  source: FunctionSource,
  port: number,
  env: Readonly<Record<string, string>>,
): Promise<FunctionProcess> {
  const { folder, dialect } = source;
  // Whoever holds it would answer the probe in the place of our own process.
  if (await portTaken(port)) throw new Error(`port ${port} is taken: ${folder} cannot be started on it`);
  const host = '127.0.0.1';
  const [command, ...args] = 'sdk' in source ? [process.execPath, 'index.js'] : ['sh', 'start.sh'];
  const child = spawn(command, args, {
    cwd: packagePath(folder),
    env: { ...process.env, ...env, HOST: host, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? -1));
  });
  let printed = '';
  const keep = (text: string): void => {
    printed = (printed + text).slice(-OUTPUT_KEPT);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  await once(child, 'spawn');
  const pid = child.pid ?? -1;
  guard ??= startGuard({ log: keep });
  guard.hold(pid, 'SIGKILL');
  exited.then(() => guard?.drop(pid));

  const started: FunctionProcess = {
    dialect,
    host,
    port,
    url: `${host}:${port}`,
    pid,
    kill: (signal = 'SIGKILL') => void child.kill(signal),
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
    exited,
    output: () => printed,
  };
  try {
    await Promise.race([
      answersProbe(started),
      exited.then((code) => Promise.reject(new Error(`it ended with ${code} before it was up`))),
    ]);
  } catch (cause) {
    await started.stop();
    throw new Error(`${folder} did not start on port ${port}; it printed:\n${printed}`, {
      cause,
    });
  }
  return started;
}

/** One for the process: ends the functions of a test run that was killed. */
let guard: Guard | undefined;

async function answersProbe({ url, dialect }: FunctionProcess): Promise<void> {
  const wire = loadWire(dialect);
  const names = WIRE_NAMES[dialect];
  const proxyInfo = wire.lookupType(`${names.root}.${names.proxyInfo}`);
  const spec = wire.lookupType(`${names.root}.${names.spec}`);
  const client = new Client(url, credentials.createInsecure(), {
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 100,
  });
  try {
    const deadline = Date.now() + UP_WITHIN_MS;
    await promisify(client.waitForReady.bind(client))(deadline);
    await new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/${names.root}.${names.discover}`,
        () => Buffer.from(proxyInfo.encode({ protocol_major_version: 0, protocol_minor_version: 0 }).finish()),
        (bytes) => spec.decode(bytes),
        null,
        { deadline },
        (error, answer) => (error === null ? resolve(answer) : reject(error)),
      );
    });
  } finally {
    client.close();
  }
}
