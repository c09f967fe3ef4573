import {
  type DoorService,
  doorServicesSchema,
  JWT_KEY_SECRETS,
  type JwtKey,
  jwtKeysSchema,
  SERVICE_SECRETS,
  TOKEN,
  TOKEN_EXPECTED,
} from './access.ts';
import { type ConfiguredFailurePolicy, failurePoliciesSchema } from './failures.ts';
import { type IdempotencyKeySource, idempotencyKeysSchema } from './idempotency.ts';
import { choice, integer, type Kind, list, structure, text, toggle } from './kinds.ts';
import { isPassRule } from './pass-rules.ts';
import { REGISTRY_SECRETS, type RegistryAuthConfig, registryAuthSchema } from './registry-auth.ts';
import { type RetentionRule, retentionRulesSchema } from './retention.ts';
import { type Destinations, destinationsSchema, type Subscription, subscriptionsSchema, TOPIC_NAME } from './routes.ts';
import { type KafkaSaslConfig, kafkaSaslSchema, SASL_SECRETS } from './sasl.ts';
import {
  type ClientTlsConfig,
  type DoorTlsConfig,
  doorTlsSchema,
  type FunctionTlsConfig,
  functionTlsSchema,
  httpTlsSchema,
  kafkaTlsSchema,
  postgresTlsSchema,
  type RegistryTlsConfig,
  registryTlsSchema,
  type ServerTlsConfig,
} from './tls.ts';

/** One row of the table. Exactly one of `default`, `inherits` and `required` is set. */
export interface Option<T> {
  readonly kind: Kind<T>;
  readonly default?: NoInfer<T>;
  /** The default is another option's text followed by `suffix`. */
  readonly inherits?: { readonly from: string; readonly suffix: string };
  /** Without a value there is no start. */
  readonly required?: true;
  /** One sentence: what it does. */
  readonly doc: string;
  /** The environment variable, where it is not the one that the name gives. */
  readonly env?: string;
  /** A plain command line flag besides `--set`, with its placeholder. */
  readonly flag?: { readonly name: string; readonly placeholder: string };
  /** Its value may hold a password, or is one as a `whole`: it is never shown as it is. Of a map, or a list of maps: the fields that are never shown. */
  readonly secret?: true | 'whole' | readonly string[];
}

const option = <T>(row: Option<T>): Option<T> => row;

/** The longest time a Node timer holds. */
const MAX_MS = 2_147_483_647;
/** Kafka's sizes are 32-bit. */
const MAX_KAFKA_BYTES = 2_147_483_647;
const MIB = 1024 * 1024;

const ms = (min: number, max = MAX_MS) => integer({ unit: 'ms', min, max });

/** The commands topic and the dead-letter topic append up to 13 characters to it; a topic name has 249. */
const deploymentName = text({
  label: 'name',
  expected: 'up to 200 of A-Z a-z 0-9 . _ - that start with a letter or digit',
  accepts: (value) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/.test(value),
});

const host = text({
  label: 'host',
  expected: 'an address to listen on, for example 127.0.0.1 or 0.0.0.0',
  accepts: (value) => /^[A-Za-z0-9._:-]{1,255}$/.test(value),
});

const brokers = list({
  label: 'list of host:port',
  expected: 'host:port, without a scheme, for example 127.0.0.1:9092',
  accepts: (item) => {
    const port = /^[A-Za-z0-9._-]+:(\d{1,5})$/.exec(item)?.[1];
    return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
  },
});

const postgresUrl = text({
  label: 'postgres URL',
  expected: 'postgres://user:password@host:port/database, with special characters of the password percent-encoded',
  accepts: (value) => {
    // Without these characters, masking finds the end of the password in every text that holds the URL.
    if (/[\s"'`\\<>]/.test(value) || !URL.canParse(value)) return false;
    const url = new URL(value);
    // An unencoded # in a password cuts the rest of the URL off.
    return (url.protocol === 'postgres:' || url.protocol === 'postgresql:') && url.hash === '';
  },
});

const optionalFile = text({
  label: 'path',
  expected: 'the path of a file, or nothing',
  accepts: (value) => value.length <= 4_096,
});

const functionUrl = text({
  label: 'http or https URL',
  expected: 'http://host:port or https://host:port, for example http://127.0.0.1:8080',
  accepts: (value) => {
    if (!URL.canParse(value)) return false;
    const url = new URL(value);
    const bare =
      url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '' && url.password === '';
    return (url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== '' && bare;
  },
});

const registryUrls = list({
  label: 'list of URLs',
  expected: 'http://host:port/path or https://host:port/path without a user, for example http://127.0.0.1:8081',
  accepts: (item) => {
    if (!URL.canParse(item)) return false;
    const url = new URL(item);
    const bare = url.search === '' && url.hash === '' && url.username === '' && url.password === '';
    return (url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== '' && bare;
  },
  mayBeEmpty: true,
});

/**
 * Every option of Stateferry. The reader, `--help` and docs/configuration.md are made from it; the part of a name
 * before the dot is its group in the file and in `Config`.
 */
export const OPTIONS = {
  'deployment.name': option({
    kind: deploymentName,
    default: 'stateferry',
    flag: { name: 'name', placeholder: 'name' },
    doc: 'Name of the deployment: its consumer group, the prefix of its transactional ids and of its own topics (`<name>-commands`, `<name>-answers`, `<name>-dead-letters`).',
  }),
  'deployment.shards': option({
    kind: integer({ unit: 'shards', min: 1, max: 100_000 }),
    default: 8,
    doc: 'Partitions of the deployment’s own topics where no input topic sets their number; it cannot be changed later.',
  }),

  'kafka.brokers': option({
    kind: brokers,
    required: true,
    env: 'KAFKA_BROKERS',
    flag: { name: 'brokers', placeholder: 'host:port,...' },
    doc: 'The brokers to ask first.',
  }),
  'kafka.tls': option<ClientTlsConfig>({
    kind: structure('map of files', kafkaTlsSchema),
    default: {},
    doc: 'Whom to trust and what to show where the brokers speak TLS (1.2 and later), which an empty map says they do not. The files are read again for every connection.',
  }),
  'kafka.sasl': option<KafkaSaslConfig>({
    kind: structure('map', kafkaSaslSchema),
    default: {},
    secret: SASL_SECRETS,
    doc: 'Who this process is for the brokers: its mechanism and what that needs. An empty map says nothing.',
  }),
  'kafka.clientId': option({
    kind: text({
      label: 'text',
      expected: 'up to 200 printable characters without spaces',
      accepts: (value) => /^[!-~]{1,200}$/.test(value),
    }),
    inherits: { from: 'deployment.name', suffix: '' },
    doc: 'What the brokers call this client in their logs and quotas.',
  }),
  'kafka.connectionTimeoutMs': option({
    kind: ms(1),
    default: 3_000,
    doc: 'How long a connection to a broker may take.',
  }),
  'kafka.requestTimeoutMs': option({
    kind: ms(1),
    default: 30_000,
    doc: 'How long the answer to a request may take.',
  }),
  'kafka.sessionTimeoutMs': option({
    kind: ms(1),
    default: 10_000,
    doc: 'A process that sends no heartbeat for this long loses its shards to the others.',
  }),
  'kafka.heartbeatIntervalMs': option({
    kind: ms(1),
    default: 300,
    doc: 'Time between heartbeats to the group coordinator.',
  }),
  'kafka.rebalanceTimeoutMs': option({
    kind: ms(1),
    default: 60_000,
    doc: 'How long the group waits for its members to rejoin when shards move.',
  }),
  'kafka.transactionTimeoutMs': option({
    kind: ms(1_000, 900_000),
    default: 20_000,
    doc: 'The broker aborts a transaction that is open for this long; until then a dead process can hold back readers of its output.',
  }),
  'kafka.fetchMaxWaitMs': option({
    kind: ms(0),
    default: 100,
    doc: 'How long a broker holds a fetch open when it has nothing new.',
  }),
  'kafka.fetchMaxBytesPerPartition': option({
    kind: integer({ unit: 'bytes', min: 1, max: MAX_KAFKA_BYTES }),
    default: MIB / 4,
    doc: 'How much one fetch brings from one partition, except that a larger record always comes whole.',
  }),
  'kafka.topicCheckMs': option({
    kind: ms(1),
    default: 10_000,
    doc: 'How often the topics are looked at: where partitions were added to an input topic, or a topic was deleted, the process stops and says so.',
  }),
  'kafka.replicationFactor': option({
    kind: integer({ unit: 'replicas', min: 1, max: 32_767, orElse: -1 }),
    default: -1,
    doc: 'Replicas of the topics that Stateferry creates; -1 is the broker’s default.',
  }),
  'kafka.start': option({
    kind: choice(['earliest', 'latest']),
    default: 'earliest',
    doc: 'Where a deployment that has no positions yet starts in its input topics.',
  }),

  'kafka.compression': option({
    kind: choice(['none', 'gzip', 'snappy', 'lz4', 'zstd']),
    default: 'none',
    doc: 'How batches are compressed that go to the topics; gzip, snappy, lz4 and zstd are read whatever this says.',
  }),

  'postgres.url': option({
    kind: postgresUrl,
    required: true,
    secret: true,
    env: 'DATABASE_URL',
    doc: 'The database that holds the journal.',
  }),
  'postgres.passwordFile': option({
    kind: optionalFile,
    default: '',
    doc: 'A file that holds the password, in the place of one in the URL; read again for every connection.',
  }),
  'postgres.tls': option<ClientTlsConfig>({
    kind: structure('map of files', postgresTlsSchema),
    default: {},
    doc: 'Whom to trust and what to show where Postgres is to speak TLS (1.2 and later), in the place of `sslmode` and its like in the URL. The name and the CA of its certificate are always verified. The files are read again for every connection.',
  }),
  'postgres.schema': option({
    kind: text({
      label: 'name',
      expected: 'a lower-case name: up to 63 of a-z 0-9 _, not a digit first, not pg_ first',
      accepts: (value) => /^(?!pg_)[a-z_][a-z0-9_]{0,62}$/.test(value),
    }),
    default: 'stateferry',
    doc: 'The schema of the journal’s tables; it is created where it is missing.',
  }),
  'postgres.poolSize': option({
    kind: integer({ unit: 'connections', min: 1, max: 1_000 }),
    default: 8,
    doc: 'Connections that one process opens at most.',
  }),
  'postgres.statementTimeoutMs': option({
    kind: ms(1),
    default: 30_000,
    doc: 'Postgres cancels a statement that takes longer.',
  }),

  'journal.outboxRetentionChunks': option({
    kind: integer({ unit: 'chunks per shard', min: 0, max: 1_000_000 }),
    default: 100,
    doc: 'How many journaled chunks of each shard keep their outputs in Postgres after Kafka has them, so that `stateferry verify` can compare the topics byte for byte, and what a Kafka of one broker loses after it has answered can be emitted again; it costs the room that they take, 4 MiB a chunk at most and seldom more than 100 KB.',
  }),

  'journal.keepInputs': option({
    kind: toggle(),
    default: false,
    doc: 'Whether the journal keeps the input records of each chunk, so that history can be reprocessed when the topics do not reach back far enough any more.',
  }),
  'journal.keepValues': option({
    kind: toggle(),
    default: false,
    doc: 'Whether the journal keeps every change of the values of value entities, so that `stateferry entity show --at` tells what one was, and a generation may begin with it (`reprocess start --state live`).',
  }),
  'journal.retention': option<readonly RetentionRule[]>({
    kind: structure('list of rules', retentionRulesSchema),
    default: [],
    doc: 'What the journal need not keep for ever. Without an entry for it, events and inputs are kept. `stateferry journal retention --dry-run` shows what would go, and what holds it back.',
  }),
  'journal.retentionCheckMs': option({
    kind: ms(100),
    default: 300_000,
    doc: 'How often it is looked whether there is something that `journal.retention` lets go.',
  }),

  'function.url': option({
    kind: functionUrl,
    default: 'http://127.0.0.1:8080',
    env: 'FUNCTION_URL',
    flag: { name: 'function-url', placeholder: 'url' },
    doc: 'Where the function listens for gRPC, in clear text or, with https, in TLS; `USER_FUNCTION_HOST` and `USER_FUNCTION_PORT` are read where `FUNCTION_URL` is not set.',
  }),
  'function.tls': option<FunctionTlsConfig>({
    kind: structure('map of files', functionTlsSchema),
    default: {},
    doc: 'Whom to trust and what to show where `function.url` begins with https. The files are read again for every connection.',
  }),
  'function.deadlineMs': option({
    kind: ms(1),
    default: 30_000,
    doc: 'A command that the function has not answered after this time has failed.',
  }),
  'function.maxCommandsInFlight': option({
    kind: integer({ unit: 'commands', min: 1 }),
    default: 1_000,
    doc:
      'Commands at the function at once, one an entity at most; what is more waits for its turn. A function that waits for ' +
      'others most of the time may take more.',
  }),
  'function.passivationMs': option({
    kind: ms(1),
    default: 30_000,
    doc: 'An entity that has had no command for so long gives its stream back, and is loaded again by its next one; where its component says nothing else.',
  }),
  'function.maxStreams': option({
    kind: integer({ unit: 'streams', min: 0 }),
    default: 0,
    doc: 'Entity streams open at once; above it the entity that was used longest ago is passivated. 0: 9 for the Cloudstate SDK in Python and 1 for that of Akka Serverless, which hold a thread for each stream and need one more; 10000 for all others.',
  }),
  'function.backoffMinMs': option({
    kind: ms(1),
    default: 100,
    doc: 'First wait before a function that is down is tried again.',
  }),
  'function.backoffMaxMs': option({
    kind: ms(1),
    default: 5_000,
    doc: 'Longest wait before a function that is down is tried again.',
  }),

  'engine.maxRecordsInFlight': option({
    kind: integer({ unit: 'records', min: 1 }),
    default: 1_000,
    doc: 'Input records of one shard that may be on their way at once; above it the shard’s partitions are paused.',
  }),
  'engine.maxBytesInFlight': option({
    kind: integer({ unit: 'bytes', min: 1 }),
    default: 16 * MIB,
    doc: 'Bytes of input records of one shard that may be on their way at once; above it the shard’s partitions are paused.',
  }),
  'engine.maxChunkRecords': option({
    kind: integer({ unit: 'records', min: 1 }),
    default: 1_000,
    doc: 'Input records that are journaled in one Postgres transaction at most.',
  }),
  'engine.journalIntervalMs': option({
    kind: ms(0),
    default: 2,
    doc: 'How long a chunk waits for more records before it is journaled.',
  }),
  'engine.emitIntervalMs': option({
    kind: ms(0),
    default: 10,
    doc: 'Under load, how long journaled chunks wait for more before their Kafka transaction; fewer, fuller transactions cost less.',
  }),
  'engine.takeoverGraceMs': option({
    kind: ms(0),
    default: 1_000,
    doc: 'How long a new owner of a shard waits for the former one, while that is a member of the group, to release it before it fences it.',
  }),
  'engine.drainTimeoutMs': option({
    kind: ms(0),
    default: 5_000,
    doc: 'How long a shard that is given up, or a process that stops, may finish what it has begun.',
  }),
  'engine.maxRecordBytes': option({
    kind: integer({ unit: 'bytes', min: 1, max: MAX_KAFKA_BYTES }),
    default: MIB,
    doc: 'A larger input record is a dead letter.',
  }),

  'topics.subscriptions': option<readonly Subscription[]>({
    kind: structure('list of subscriptions', subscriptionsSchema),
    default: [],
    doc: 'Input topics, besides those that the function’s own annotations name.',
  }),
  'topics.destinations': option<Destinations>({
    kind: structure('map of destinations', destinationsSchema),
    default: { replies: [], events: [] },
    doc: 'Output topics for replies and for state events, besides those that the function’s own annotations name.',
  }),

  'topics.passHeaders': option({
    kind: list({
      label: 'list of names, or beginnings of names with a star',
      expected:
        'the name of a header, for example traceparent, or the beginning of names and a star, for example x-tenant-*; none of content-type, ce_…, stateferry-… and _…',
      accepts: isPassRule,
      mayBeEmpty: true,
    }),
    default: [],
    doc: 'Headers of a command that go on to its replies, events, forwards and side effects, 32 and 8 KiB at most.',
  }),

  'registry.urls': option({
    kind: registryUrls,
    default: [],
    doc: 'Where the schema registry answers, with the path of its API if it has one; of several, the next is asked where one does not answer.',
  }),
  'registry.auth': option<RegistryAuthConfig>({
    kind: structure('map', registryAuthSchema),
    default: {},
    secret: REGISTRY_SECRETS,
    doc: 'Who this process is for the registry. An empty map says nothing.',
  }),
  'registry.tls': option<RegistryTlsConfig>({
    kind: structure('map of files', registryTlsSchema),
    default: {},
    doc: 'Whom to trust and what to show where a URL of the registry begins with https. The files are read again for every request.',
  }),
  'registry.timeoutMs': option({
    kind: ms(1),
    default: 5_000,
    doc: 'How long an answer of the registry may take.',
  }),
  'registry.register': option({
    kind: toggle(),
    default: false,
    doc: 'Whether a subject of an output topic whose latest schema does not fit, or that has none, gets the one that the function’s descriptor makes, if it is compatible; otherwise the start is refused.',
  }),

  'failures.policies': option<readonly ConfiguredFailurePolicy[]>({
    kind: structure('list of policies', failurePoliciesSchema),
    default: [],
    doc: 'What is done about commands that fail and records that cannot be read: the first entry that fits decides. What no entry is for is a dead letter.',
  }),

  'idempotency.keys': option<readonly IdempotencyKeySource[]>({
    kind: structure('list of topics and headers', idempotencyKeysSchema),
    default: [],
    doc: 'Input topics whose records name their command by a header: of the records of one entity with the same key, the first that is carried out takes effect, and the others do nothing.',
  }),
  'idempotency.windowMs': option({
    kind: ms(1),
    default: 86_400_000,
    doc: 'How long a key is remembered after its command took effect.',
  }),

  'deadLetters.topic': option({
    kind: text({
      label: 'topic',
      expected: 'a topic name: up to 249 of A-Z a-z 0-9 . _ -',
      accepts: (value) => TOPIC_NAME.test(value),
    }),
    inherits: { from: 'deployment.name', suffix: '-dead-letters' },
    doc: 'Where records go that cannot be processed, with the reason in their headers.',
  }),

  'doors.enabled': option({
    kind: toggle(),
    default: true,
    doc: 'Whether the function’s services are served, by gRPC and by HTTP, on one port.',
  }),
  'doors.host': option({
    kind: host,
    default: '127.0.0.1',
    doc: 'Address that the doors listen on.',
  }),
  'doors.port': option({
    kind: integer({ unit: '', min: 0, max: 65_535 }),
    default: 9_000,
    env: 'HTTP_PORT',
    flag: { name: 'door-port', placeholder: 'port' },
    doc: 'Port of the doors; 0 takes any free one.',
  }),
  'doors.tls': option<DoorTlsConfig>({
    kind: structure('map of files', doorTlsSchema),
    default: {},
    doc: 'The files that make the doors speak TLS (1.2 and later), and nothing else, on their port. They are read again when they change.',
  }),
  'doors.timeoutMs': option({
    kind: ms(1),
    default: 30_000,
    doc: 'A caller that names no deadline of its own waits so long for an answer; then the outcome is unknown to it.',
  }),
  'doors.maxCalls': option({
    kind: integer({ unit: 'calls', min: 1 }),
    default: 10_000,
    doc: 'Calls under way at once; further ones are refused with RESOURCE_EXHAUSTED, or 429.',
  }),
  'doors.maxConnections': option({
    kind: integer({ unit: 'connections', min: 1 }),
    default: 5_000,
    doc: 'Connections that are open at once; further ones are closed at once. One that has not said in 10 s what it wants is closed, too.',
  }),
  'doors.maxMessageBytes': option({
    kind: integer({ unit: 'bytes', min: 1 }),
    default: 4 * MIB,
    doc: 'Largest message that a caller may send; a command of an entity must fit into `engine.maxRecordBytes` besides.',
  }),
  'doors.corsOrigins': option({
    kind: list({
      label: 'list of origins',
      expected: 'an origin as browsers send it, for example https://shop.example, or *',
      accepts: (item) => item === '*' || (URL.canParse(item) && new URL(item).origin === item),
      mayBeEmpty: true,
    }),
    default: [],
    doc: 'Web pages of these origins may call the HTTP door; `*` is any.',
  }),
  'doors.withoutAcl': option({
    kind: choice(['open', 'local', 'closed']),
    default: 'local',
    doc: 'Who may call methods that have no ACL annotation: `open`, everybody; `local`, callers on this host, by a loopback address; `closed`, nobody. `stateferry dev` takes `open` where nothing else is set.',
  }),
  'doors.services': option<readonly DoorService[]>({
    kind: structure('list of services', doorServicesSchema),
    default: [],
    secret: SERVICE_SECRETS,
    doc: 'Services that ACLs can name, each known by its token or by the name in its certificate; every other caller is the internet.',
  }),
  'doors.selfTokenFile': option({
    kind: optionalFile,
    default: '',
    doc: 'A file with the token that the function proves with that it calls itself, the same for all processes of a deployment; empty: each process makes one of its own, and a function that several processes share knows only that of the last one.',
  }),
  'doors.jwtKeys': option<readonly JwtKey[]>({
    kind: structure('list of keys', jwtKeysSchema),
    default: [],
    secret: JWT_KEY_SECRETS,
    doc: 'Keys that verify the bearer tokens of methods whose annotations want one; without a key they refuse every call.',
  }),

  'http.host': option({
    kind: host,
    default: '127.0.0.1',
    doc: 'Address of the server for metrics, health and status. One that others reach wants a token or client certificates besides.',
  }),
  'http.port': option({
    kind: integer({ unit: '', min: 0, max: 65_535 }),
    default: 9_090,
    flag: { name: 'http-port', placeholder: 'port' },
    doc: 'Port of the server for metrics, health and status; 0 takes any free one.',
  }),
  'http.token': option({
    kind: text({
      label: 'token',
      expected: TOKEN_EXPECTED,
      accepts: (value) => value === '' || TOKEN.test(value),
    }),
    default: '',
    secret: 'whole',
    doc: 'What `/metrics`, `/status` and `/shards` want as `authorization: Bearer <token>`; `/healthz` and `/readyz` want nothing. `stateferry status` sends it. Empty: nobody is asked.',
  }),
  'http.tokenFile': option({
    kind: optionalFile,
    default: '',
    doc: 'A file that holds the token, in the place of `http.token`.',
  }),
  'http.tls': option<ServerTlsConfig>({
    kind: structure('map of files', httpTlsSchema),
    default: {},
    doc: 'The files that make this server speak TLS (1.2 and later), and nothing else. They are read again when they change. A client certificate counts as the token does.',
  }),

  'log.level': option({
    kind: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    default: 'info',
    flag: { name: 'log-level', placeholder: 'level' },
    doc: 'The least severe lines that are written.',
  }),
  'log.format': option({
    kind: choice(['auto', 'json', 'pretty']),
    default: 'auto',
    doc: '`auto` is pretty on a terminal and JSON elsewhere.',
  }),
} as const;

export type OptionName = keyof typeof OPTIONS;
export type OptionGroup = OptionName extends infer N ? (N extends `${infer G}.${string}` ? G : never) : never;

/** What the groups are about, in the order of the table. */
export const GROUPS: Readonly<Record<OptionGroup, string>> = {
  deployment: 'Deployment',
  kafka: 'Kafka',
  postgres: 'Postgres',
  journal: 'Journal',
  function: 'Function',
  engine: 'Engine',
  topics: 'Topics',
  registry: 'Schema registry',
  failures: 'Failures',
  idempotency: 'Idempotency',
  deadLetters: 'Dead letters',
  doors: 'Doors: the function’s services by gRPC and HTTP',
  http: 'Metrics, health and status',
  log: 'Log',
};

export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

export const GROUP_NAMES = Object.keys(GROUPS) as OptionGroup[];

export function optionsOf(group: OptionGroup): OptionName[] {
  return OPTION_NAMES.filter((name) => name.startsWith(`${group}.`));
}

export function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(OPTIONS, name);
}

/** A row with its type erased, for code that treats all options alike. */
export function optionOf(name: OptionName): Option<unknown> {
  return OPTIONS[name];
}

/** `STATEFERRY_<GROUP>_<NAME>`, for example `STATEFERRY_KAFKA_CLIENT_ID` for `kafka.clientId`. */
export function regularVariable(name: OptionName): string {
  return `STATEFERRY_${name
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replace('.', '_')
    .toUpperCase()}`;
}

/** The environment variable of an option. */
export function variableOf(name: OptionName): string {
  return optionOf(name).env ?? regularVariable(name);
}

/** The default in words, or undefined for an option that has none. */
export function defaultText(name: OptionName): string | undefined {
  const row = optionOf(name);
  if (row.required) return undefined;
  if (row.inherits) return `<${row.inherits.from}>${row.inherits.suffix}`;
  return typeof row.default === 'object' ? JSON.stringify(row.default) : String(row.default);
}
