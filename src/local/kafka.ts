import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { messageOf } from '../errors.ts';
import { hash } from './hash.ts';
import type { Host } from './host.ts';
import { findJava, type Java } from './java.ts';
import { type KafkaJars, kafkaJars } from './kafka-jars.ts';
import { launch, runTool } from './launch.ts';
import { leftoverName } from './maven-folder.ts';
import { freePorts } from './ports.ts';
import { type LocalServer, type StopSteps, startServer } from './server.ts';
import { withFreePorts } from './with-free-ports.ts';

/** A real Kafka, one process that is broker and controller, on 127.0.0.1. */
export interface LocalKafka extends LocalServer {
  readonly brokers: string[];
  /** For brokers and controller, in this order. */
  readonly ports: readonly number[];
}

export interface LocalKafkaOptions {
  /** Data, settings and log; made if missing, used again if there. */
  readonly dir: string;
  /** 16 bytes in base64url; see newClusterId. */
  readonly clusterId: string;
  /** Two ports to use if they are free. */
  readonly ports?: readonly number[] | undefined;
  /** Settings of the broker that go before ours. */
  readonly config?: Readonly<Record<string, string>> | undefined;
  /** Arguments for the format of a new data folder, after ours: users of SCRAM are made there. */
  readonly formatArgs?: readonly string[] | undefined;
  readonly host: Host;
  /** Picks that many free ports; a seam for tests of the race for them. */
  readonly pickPorts?: (count: number) => Promise<number[]>;
}

/**
 * 512 MB is roomy for one broker. The rest is what spends least on a machine that everything shares: measured on two
 * cores over the first 600,000 transactional records, the serial collector and the first compiler alone took 14 s of
 * CPU (10 µs a record at the end), Java's own choice 23 s (15 µs), most of the difference the second compiler's work.
 */
const JVM = ['-Xms128m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:+IgnoreUnrecognizedVMOptions'];
const LOGGING = [
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-Dorg.slf4j.simpleLogger.showDateTime=true',
  '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS',
];
const STOP: StopSteps = [{ signal: 'SIGTERM', waitMs: 20_000 }];
/** Exit code of a Java process that ended in order after SIGTERM. */
const JAVA_TERMINATED = 143;

/** A new cluster id in the form that Kafka's tools take; they read a leading dash as an option. */
export function newClusterId(): string {
  for (;;) {
    const id = Buffer.from(randomUUID().replaceAll('-', ''), 'hex').toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}

/** Starts Kafka and resolves when it answers. LOCAL_STACK when there is no Java, no jars, or Kafka ends instead. */
export async function startKafka(options: LocalKafkaOptions): Promise<LocalKafka> {
  const { host } = options;
  const java = await findJava(host);
  const jars = await kafkaJars(host);
  const began = Date.now();
  const kafka = await withFreePorts(
    { name: 'Kafka', count: 2, preferred: options.ports, pick: options.pickPorts ?? freePorts },
    (ports) => startOn(options, java, jars, ports),
  );
  host.log(
    `Kafka ${jars.version} answers on ${kafka.brokers.join(',')} (${((Date.now() - began) / 1000).toFixed(1)} s)`,
  );
  return kafka;
}

async function startOn(
  options: LocalKafkaOptions,
  java: Java,
  jars: KafkaJars,
  ports: readonly number[],
): Promise<LocalKafka> {
  const { dir, clusterId, host } = options;
  const [port, controllerPort] = ports;
  if (port === undefined || controllerPort === undefined) throw new RangeError('Kafka needs two ports');
  const broker = `127.0.0.1:${port}`;
  const data = path.join(dir, 'data');
  const settingsFile = path.join(dir, 'server.properties');
  const logFile = path.join(dir, 'kafka.log');
  await mkdir(dir, { recursive: true });
  const settings = {
    ...brokerSettings({ data, broker, controller: `127.0.0.1:${controllerPort}` }),
    ...options.config,
  };
  await writeFile(settingsFile, propertiesText(settings));

  // An archive of Kafka's loaded classes halves its start. The first run that ends in order leaves it.
  const archive = path.join(jars.folder, `classes-${java.build}-${hash(JVM.join(' '))}.jsa`);
  const javaArgs = (main: string, args: string[], flags: string[]): string[] => [
    ...JVM,
    ...LOGGING,
    ...(existsSync(archive) ? [`-XX:SharedArchiveFile=${archive}`] : flags),
    '-cp',
    jars.classPath,
    main,
    ...args,
  ];

  const formatted = path.join(dir, 'formatted');
  const hadData = existsSync(formatted);
  if (!hadData) {
    await rm(data, { recursive: true, force: true });
    await runTool({
      name: "Kafka's StorageTool",
      command: java.command,
      args: javaArgs(
        'kafka.tools.StorageTool',
        ['format', '-t', clusterId, '-c', settingsFile, ...(options.formatArgs ?? [])],
        [],
      ),
      env: host.env,
      cwd: dir,
      host,
    });
    await writeFile(formatted, `${clusterId}\n`);
  }

  const client = new Kafka({
    brokers: [broker],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2_000,
    requestTimeout: 5_000,
    retry: { retries: 0 },
  });

  const server = await startServer(
    {
      name: 'Kafka',
      logFile,
      launch() {
        const unfinished = path.join(path.dirname(jars.folder), leftoverName());
        return launch({
          name: 'Kafka',
          command: java.command,
          args: javaArgs('kafka.Kafka', [settingsFile], [`-XX:ArchiveClassesAtExit=${unfinished}`]),
          env: host.env,
          cwd: dir,
          logFile,
          host,
          guardSignal: 'SIGTERM',
          async afterExit({ code }) {
            if (!existsSync(unfinished)) return;
            try {
              if (code === JAVA_TERMINATED) await rename(unfinished, archive);
              else await rm(unfinished, { force: true });
            } catch (error) {
              host.log(`the next start of Kafka will be slow again: ${messageOf(error)}`);
            }
          },
        });
      },
      async probe() {
        const admin = client.admin();
        try {
          await admin.connect();
          const cluster = await admin.describeCluster();
          if (cluster.clusterId !== clusterId) throw new Error(`${broker} is the cluster ${cluster.clusterId}`);
          if (cluster.brokers.length === 0) throw new Error('the broker is not registered yet');
          // Groups can be joined: the first consumer need not meet a coordinator that is still loading.
          await admin.fetchOffsets({ groupId: 'stateferry-probe' });
        } finally {
          await admin.disconnect();
        }
      },
      stopSteps: STOP,
      host,
    },
    hadData,
  );
  return {
    brokers: [broker],
    ports,
    get pid() {
      return server.pid;
    },
    stop: server.stop,
    kill: server.kill,
    restart: server.restart,
  };
}

function brokerSettings(at: { data: string; broker: string; controller: string }): Record<string, string> {
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@${at.controller}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'CLIENTS',
    listeners: `CLIENTS://${at.broker},CONTROLLER://${at.controller}`,
    'advertised.listeners': `CLIENTS://${at.broker}`,
    'log.dirs': at.data,
    // A topic is made by whoever means it, with the partitions it should have.
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '4',
    // A group of one starts at once, and tests of rebalances need not wait for Kafka's own 6 s.
    'group.initial.rebalance.delay.ms': '0',
    'group.min.session.timeout.ms': '1000',
    // A killed broker may register again only when its earlier self has been silent for so long (9 s by default).
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    // Kafka takes 128 MB of the heap for this at the start, to compact logs far larger than a local stack has.
    'log.cleaner.dedupe.buffer.size': String(16 * 1024 * 1024),
  };
}

/** The Java properties format: a backslash and a newline in a value would mean something else. */
function propertiesText(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`)
    .join('');
}
