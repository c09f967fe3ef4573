import { describe, expect, test, vi } from 'vitest';
import { type Config, internalTopics, optionValue } from '../../src/config/config.ts';
import { type LoadOptions, loadConfig } from '../../src/config/load.ts';
import { OPTION_NAMES, type OptionName, optionOf, variableOf } from '../../src/config/options.ts';
import { printConfig } from '../../src/config/print.ts';
import { redact } from '../../src/config/redact.ts';
import { StateferryError } from '../../src/errors.ts';

const REQUIRED = { KAFKA_BROKERS: '127.0.0.1:9092', DATABASE_URL: 'postgres://app:s3cret@127.0.0.1/app' };

function load(given: { env?: Record<string, string>; file?: string; argvFlags?: LoadOptions['argvFlags'] } = {}) {
  return loadConfig({
    argvFlags: given.argvFlags ?? {},
    env: { ...REQUIRED, ...given.env },
    cwd: '/app',
    readFile: (file) => (file === '/app/stateferry.yaml' ? given.file : undefined),
  });
}

function sentenceOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(StateferryError);
    expect((error as StateferryError).code).toBe('CONFIG_INVALID');
    return (error as StateferryError).message;
  }
  throw new Error('the configuration was accepted');
}

/** For every option a value other than its default, as text and as data. */
const OTHER = {
  'deployment.name': 'carts',
  'deployment.shards': 9,
  'kafka.brokers': ['b1:1', 'b2:2'],
  'kafka.tls': { caFile: '/run/kafka-ca.pem', serverName: 'kafka.internal' },
  'kafka.sasl': { mechanism: 'SCRAM-SHA-512', username: 'carts', passwordFile: '/run/kafka-password' },
  'kafka.clientId': 'me',
  'kafka.connectionTimeoutMs': 3_001,
  'kafka.requestTimeoutMs': 30_001,
  'kafka.sessionTimeoutMs': 10_001,
  'kafka.heartbeatIntervalMs': 1_001,
  'kafka.rebalanceTimeoutMs': 60_001,
  'kafka.transactionTimeoutMs': 20_001,
  'kafka.fetchMaxWaitMs': 101,
  'kafka.fetchMaxBytesPerPartition': 2_000_000,
  'kafka.topicCheckMs': 10_001,
  'kafka.replicationFactor': 3,
  'kafka.start': 'latest',
  'kafka.compression': 'lz4',
  'postgres.url': 'postgresql://other@db:5433/x',
  'postgres.passwordFile': '/run/postgres-password',
  'postgres.tls': { enabled: true },
  'postgres.schema': 'other',
  'postgres.poolSize': 9,
  'postgres.statementTimeoutMs': 30_001,
  'journal.outboxRetentionChunks': 101,
  'journal.keepInputs': true,
  'journal.keepValues': true,
  'function.url': 'http://function:8081',
  'function.tls': { caFile: '/run/ca.pem', serverName: 'function.internal' },
  'function.deadlineMs': 30_001,
  'function.maxCommandsInFlight': 257,
  'function.passivationMs': 30_002,
  'function.maxStreams': 10_001,
  'function.backoffMinMs': 101,
  'function.backoffMaxMs': 5_001,
  'engine.maxRecordsInFlight': 2_001,
  'engine.maxBytesInFlight': 17_000_000,
  'engine.maxChunkRecords': 999,
  'engine.journalIntervalMs': 3,
  'engine.emitIntervalMs': 0,
  'engine.takeoverGraceMs': 0,
  'engine.drainTimeoutMs': 5_001,
  'engine.maxRecordBytes': 1_000_000,
  'topics.subscriptions': [
    { topic: 'in', service: 'shop.CartService', method: 'Add', format: 'json', entityId: 'key' },
  ],
  'topics.destinations': {
    replies: [{ service: 'shop.CartService', method: 'Add', topic: 'out', format: 'auto', cloudevents: 'structured' }],
    events: [{ entityType: 'carts', topic: 'events', format: 'protobuf', cloudevents: 'binary' }],
  },
  'topics.passHeaders': ['traceparent', 'x-tenant-*'],
  'registry.urls': ['http://127.0.0.1:8081', 'https://registry.example/apis/ccompat/v7'],
  'registry.auth': { user: 'me', password: 'a-password' },
  'registry.tls': { caFile: '/run/ca.pem' },
  'registry.timeoutMs': 5_001,
  'registry.register': true,
  'idempotency.keys': [{ topic: 'in', header: 'ce-id' }],
  'idempotency.windowMs': 86_400_001,
  'failures.policies': [
    { topic: 'in', policy: 'retry', attempts: 3, initialBackoffMs: 10, maxBackoffMs: 20, lastResort: 'pause' },
    { service: 'shop.CartService', method: 'Add', policy: 'halt' },
  ],
  'deadLetters.topic': 'dead',
  'doors.enabled': false,
  'doors.host': '0.0.0.0',
  'doors.port': 0,
  'doors.tls': { certificateFile: '/run/door.pem', keyFile: '/run/door.key', clientCaFile: '/run/ca.pem' },
  'doors.timeoutMs': 30_001,
  'doors.maxCalls': 10_001,
  'doors.maxConnections': 5_001,
  'doors.maxMessageBytes': 1_000_001,
  'doors.corsOrigins': ['https://a.example', 'https://b.example'],
  'doors.withoutAcl': 'closed',
  'doors.services': [
    { name: 'shop', token: 'abcdefghijklmnop' },
    { name: 'mart', tokenFile: '/run/mart' },
  ],
  'doors.selfTokenFile': '/run/self',
  'doors.jwtKeys': [{ id: 'k1', issuer: 'me', algorithm: 'ES256', keyFile: '/run/k1.pem' }],
  'journal.retention': [{ what: 'events', component: 'carts', maxAgeMs: 1 }],
  'journal.retentionCheckMs': 101,
  'http.host': '0.0.0.0',
  'http.port': 0,
  'http.token': 'abcdefghijklmnopq',
  'http.tokenFile': '/run/http-token',
  'http.tls': { certificateFile: '/run/http.pem', keyFile: '/run/http.key' },
  'log.level': 'debug',
  'log.format': 'json',
} as const satisfies Record<OptionName, unknown>;

/** What else has to be said where an option is set that does not go with what is required. */
const BESIDE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'postgres.passwordFile': { DATABASE_URL: 'postgres://app@127.0.0.1/app' },
  'http.host': { STATEFERRY_HTTP_TOKEN: 'abcdefghijklmnop' },
};

function asText(value: unknown): string {
  if (Array.isArray(value) && typeof value[0] === 'string') return value.join(',');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Names of the options in which two configurations differ. */
function moved(from: Config, to: Config): OptionName[] {
  return OPTION_NAMES.filter(
    (name) => JSON.stringify(optionValue(from, name)) !== JSON.stringify(optionValue(to, name)),
  );
}

/** The option itself and those whose default is made from it. */
function mayMove(name: OptionName): OptionName[] {
  return OPTION_NAMES.filter((other) => other === name || optionOf(other).inherits?.from === name);
}

describe('each option alone', () => {
  test.each(OPTION_NAMES)('%s: its variable moves its own field only', (name) => {
    const { config, sources } = load({ env: { ...BESIDE[name], [variableOf(name)]: asText(OTHER[name]) } });
    expect(moved(load({ env: { ...BESIDE[name] } }).config, config)).toEqual(mayMove(name));
    expect(optionValue(config, name)).toEqual(OTHER[name]);
    expect(sources.get(name)).toEqual({ kind: 'variable', label: variableOf(name) });
  });

  test.each(OPTION_NAMES)('%s: its place in the file moves its own field only', (name) => {
    const [group, leaf] = name.split('.') as [string, string];
    const env: Record<string, string> =
      name === 'kafka.brokers' || name === 'postgres.url' ? { [variableOf(name)]: '' } : { ...BESIDE[name] };
    const { config, sources } = load({ env, file: `${group}:\n  ${leaf}: ${JSON.stringify(OTHER[name])}\n` });
    expect(moved(load({ env: { ...BESIDE[name] } }).config, config)).toEqual(mayMove(name));
    expect(optionValue(config, name)).toEqual(OTHER[name]);
    expect(sources.get(name)).toEqual({ kind: 'file', label: 'stateferry.yaml:2' });
  });

  test.each(OPTION_NAMES)('%s: --set moves its own field only', (name) => {
    const { config } = load({ env: { ...BESIDE[name] }, argvFlags: { set: [`${name}=${asText(OTHER[name])}`] } });
    expect(moved(load({ env: { ...BESIDE[name] } }).config, config)).toEqual(mayMove(name));
    expect(optionValue(config, name)).toEqual(OTHER[name]);
  });

  test('no two options have the same variable or flag', () => {
    const variables = OPTION_NAMES.map(variableOf);
    const flags = OPTION_NAMES.flatMap((name) => optionOf(name).flag?.name ?? []);
    expect(new Set(variables).size).toBe(OPTION_NAMES.length);
    expect(new Set(flags).size).toBe(flags.length);
  });

  test('every default is a value that the option would accept', () => {
    for (const name of OPTION_NAMES) {
      const { kind, required, inherits, default: initial } = optionOf(name);
      expect([required, inherits, initial].filter((given) => given !== undefined)).toHaveLength(1);
      if (initial !== undefined) expect(kind.read(initial)).toEqual({ value: initial });
    }
  });
});

describe('sources', () => {
  test('the later source wins: default, file, variable, plain flag, --set', () => {
    const file = 'log: { level: warn }';
    const env = { STATEFERRY_LOG_LEVEL: 'error' };
    const plain = { 'log.level': { flag: '--log-level', value: 'fatal' } } as const;
    expect(load().config.log.level).toBe('info');
    expect(load({ file }).config.log.level).toBe('warn');
    expect(load({ file, env }).config.log.level).toBe('error');
    expect(load({ file, env, argvFlags: { plain } }).config.log.level).toBe('fatal');
    expect(
      load({ file, env, argvFlags: { plain, set: ['log.level=trace', 'log.level=debug'] } }).config.log.level,
    ).toBe('debug');
  });

  test('a file may be JSON, and may name options by their whole names', () => {
    expect(load({ file: '{\n\t"log": {\n\t\t"level": "warn"\n\t}\n}' }).config.log.level).toBe('warn');
    expect(load({ file: 'log.level: warn' }).config.log.level).toBe('warn');
  });

  test('anchors and groups without an option are understood', () => {
    const { config } = load({ file: 'kafka:\nfunction:\n  backoffMinMs: &ms 7\n  backoffMaxMs: *ms\n' });
    expect(config.function).toMatchObject({ backoffMinMs: 7, backoffMaxMs: 7 });
  });

  test('--config names the file, and STATEFERRY_CONFIG does where it is not given', () => {
    const readFile = (file: string) =>
      ({ '/app/a.yaml': 'log: { level: warn }', '/b.yaml': 'log: { level: error }' })[file];
    const level = (argvFlags: { config?: string }, env = {}) =>
      loadConfig({ argvFlags, env: { ...REQUIRED, ...env }, cwd: '/app', readFile }).config.log.level;
    expect(level({ config: 'a.yaml' })).toBe('warn');
    expect(level({}, { STATEFERRY_CONFIG: '/b.yaml' })).toBe('error');
    expect(level({ config: 'a.yaml' }, { STATEFERRY_CONFIG: '/b.yaml' })).toBe('warn');
    expect(sentenceOf(() => level({ config: 'c.yaml' }))).toContain('--config: found no file c.yaml');
  });

  test('a file that is there but cannot be read is a fault', () => {
    const readFile = () => {
      throw new Error('EACCES: permission denied');
    };
    const act = () => loadConfig({ argvFlags: {}, env: REQUIRED, cwd: '/app', readFile });
    expect(sentenceOf(act)).toContain('stateferry.yaml: the config file cannot be read: EACCES');
  });

  test('what a command assumes gives way to every source', () => {
    const assumed = { 'kafka.brokers': ['local:1'], 'postgres.url': 'postgres://local/x' };
    const alone = loadConfig({ argvFlags: {}, env: {}, cwd: '/app', readFile: () => undefined, assumed });
    expect(alone.config.kafka.brokers).toEqual(['local:1']);
    expect(alone.sources.get('kafka.brokers')?.kind).toBe('assumed');
    const given = loadConfig({ argvFlags: {}, env: REQUIRED, cwd: '/app', readFile: () => undefined, assumed });
    expect(given.config.kafka.brokers).toEqual(['127.0.0.1:9092']);
    expect(given.sources.get('kafka.brokers')?.kind).toBe('variable');
  });

  test('USER_FUNCTION_HOST and USER_FUNCTION_PORT stand in for FUNCTION_URL', () => {
    const url = (env: Record<string, string>) => load({ env }).config.function.url;
    expect(url({ USER_FUNCTION_HOST: 'fn' })).toBe('http://fn:8080');
    expect(url({ USER_FUNCTION_PORT: '9' })).toBe('http://127.0.0.1:9');
    expect(url({ USER_FUNCTION_HOST: '::1', USER_FUNCTION_PORT: '9' })).toBe('http://[::1]:9');
    expect(url({ USER_FUNCTION_HOST: 'fn', FUNCTION_URL: 'http://other:1' })).toBe('http://other:1');
    expect(sentenceOf(() => url({ USER_FUNCTION_PORT: 'x' }))).toContain('function.url (USER_FUNCTION_PORT): found');
  });

  test('the environment is read when loading, not when importing', () => {
    const before = process.env.STATEFERRY_LOG_LEVEL;
    process.env.STATEFERRY_LOG_LEVEL = 'nonsense';
    try {
      expect(load().config.log.level).toBe('info');
    } finally {
      if (before === undefined) delete process.env.STATEFERRY_LOG_LEVEL;
      else process.env.STATEFERRY_LOG_LEVEL = before;
    }
  });
});

describe('faults', () => {
  test('all faults of all sources are listed at once, each with its place, what was found and what was expected', () => {
    const act = () =>
      load({
        env: { KAFKA_BROKERS: '', STATEFERRY_HTTP_PORT: 'eighty', STATEFERRY_KAFKA_SESSION_TIMEOUT: '5' },
        file: [
          'kafka:',
          '  fetchMaxWaitMs: soon',
          '  sesionTimeoutMs: 3000',
          'log:',
          '  level: loud',
          'engine: 7',
          'topics:',
          '  subscriptions:',
          '    - topic: in',
          '      service: shop.Cart',
          '      method: Add',
          '      fromat: json',
          '      entityId: header',
        ].join('\n'),
        argvFlags: { set: ['kafka.start=now', 'loglevel=info', 'http.host'] },
      });
    expect(sentenceOf(act)).toBe(
      [
        'the configuration has 12 faults:',
        '  - kafka.sesionTimeoutMs (stateferry.yaml:3): no such option; did you mean kafka.sessionTimeoutMs?',
        '  - engine (stateferry.yaml:6): expected a map of options',
        '  - STATEFERRY_KAFKA_SESSION_TIMEOUT: no option has this variable; did you mean STATEFERRY_KAFKA_SESSION_TIMEOUT_MS?',
        '  - --set loglevel: no such option; did you mean log.level?',
        '  - --set http.host: found no =, expected --set name=value',
        '  - kafka.fetchMaxWaitMs (stateferry.yaml:2): found "soon", expected a whole number of ms, 0 to 2147483647',
        '  - log.level (stateferry.yaml:5): found "loud", expected one of trace, debug, info, warn, error, fatal, silent',
        '  - topics.subscriptions[0].entityId (stateferry.yaml:13): found "header", expected one of auto, key, field',
        '  - topics.subscriptions[0].fromat (stateferry.yaml:12): found an unknown key, expected one of topic, service, method, format, entityId, subjectNameStrategy, subject; did you mean format?',
        '  - http.port (STATEFERRY_HTTP_PORT): found "eighty", expected a whole number, 0 to 65535',
        '  - kafka.start (--set kafka.start): found "now", expected one of earliest, latest',
        '  - kafka.brokers: found nothing, expected a value from KAFKA_BROKERS or kafka.brokers in the config file or --brokers',
        'Nothing was started. `stateferry config --docs` describes every option.',
      ].join('\n'),
    );
  });

  test.each([
    ['kafka.sessionTimeoutMs', '1.5'],
    ['kafka.sessionTimeoutMs', '10s'],
    ['kafka.sessionTimeoutMs', ''],
    ['kafka.sessionTimeoutMs', '0'],
    ['kafka.sessionTimeoutMs', '99999999999'],
    ['kafka.replicationFactor', '0'],
    ['kafka.replicationFactor', '-2'],
    ['kafka.brokers', 'PLAINTEXT://a:1'],
    ['kafka.brokers', 'a:1,,b:2'],
    ['kafka.brokers', 'a:70000'],
    ['postgres.schema', 'Journal'],
    ['postgres.schema', 'a"; drop schema x'],
    ['postgres.schema', 'pg_toast'],
    ['postgres.url', 'mysql://a/b'],
    ['postgres.url', 'postgres://u:p#ss@h/db'],
    ['postgres.url', 'postgres://u:p"ss@h/db'],
    ['function.url', 'grpc://127.0.0.1:8080'],
    ['function.url', 'http://user:pw@127.0.0.1:8080'],
    ['function.url', '127.0.0.1:8080'],
    ['deployment.name', '../x'],
    ['deployment.name', 'a'.repeat(201)],
    ['deadLetters.topic', '..'],
    ['topics.subscriptions', 'in'],
    ['topics.subscriptions', '[{"topic":"in"}]'],
    ['topics.destinations', '{"events":[{"topic":"t"}]}'],
    ['topics.destinations', '{"events":[{"topic":"t","entityType":"a","service":"b"}]}'],
    ['topics.destinations', '[]'],
    ['topics.destinations', '{"events":[{"topic":"t","entityType":"a","cloudevents":"batch"}]}'],
    ['topics.subscriptions', '[{"topic":"t","service":"a.B","method":"C","format":"xml"}]'],
    ['registry.urls', 'ftp://a/b'],
    ['registry.urls', 'http://user:pw@a'],
    ['registry.auth', '{"user":"a"}'],
    ['registry.auth', '{"password":"a"}'],
    ['registry.auth', '{"user":"a","password":"b","token":"c"}'],
    ['registry.auth', '{"token":"a","tokenFile":"b"}'],
    ['topics.subscriptions', '[{"topic":"t","service":"a.B","method":"C","format":"registry"}]'],
    ['topics.subscriptions', '[{"topic":"t","service":"a.B","method":"C","subject":"s"}]'],
    ['topics.destinations', '{"replies":[{"topic":"t","service":"a.B","method":"C","format":"avro"}]}'],
    ['topics.destinations', '{"replies":[{"topic":"t","service":"a.B","method":"C","schemaVersion":1}]}'],
    ['topics.destinations', '{"events":[{"topic":"t","entityType":"a","format":"avro"}]}'],
    [
      'topics.destinations',
      '{"events":[{"topic":"t","entityType":"a","format":"avro","types":["a.B"],"cloudevents":"structured"}]}',
    ],
    ['kafka.compression', 'brotli'],
    ['topics.passHeaders', '*'],
    ['topics.passHeaders', 'x-*-y'],
    ['topics.passHeaders', 'ce_id'],
    ['topics.passHeaders', 'Content-Type'],
    ['topics.passHeaders', 'stateferry-*'],
    ['topics.passHeaders', '_kalix-src'],
  ] as const)('%s=%j stops the start', (name, value) => {
    expect(sentenceOf(() => load({ argvFlags: { set: [`${name}=${value}`] } }))).toContain(name);
  });

  test('a value that a later source overrides is checked all the same', () => {
    const act = () => load({ file: 'http: { port: x }', env: { STATEFERRY_HTTP_PORT: '1' } });
    expect(sentenceOf(act)).toContain('http.port (stateferry.yaml:1): found "x"');
  });

  test('an option without a value, or set twice, in the file is a fault', () => {
    expect(sentenceOf(() => load({ file: 'log:\n  level:\n' }))).toContain(
      'log.level (stateferry.yaml:2): found nothing',
    );
    expect(sentenceOf(() => load({ file: 'log:\n  level: info\nlog.level: warn\n' }))).toContain(
      'log.level (stateferry.yaml:3): set twice in this file, first at stateferry.yaml:2',
    );
  });

  test('a file that is not YAML, or no map, is refused with its line', () => {
    expect(sentenceOf(() => load({ file: 'log:\n  level: "info\n' }))).toMatch(/stateferry\.yaml:\d: not valid YAML/);
    expect(sentenceOf(() => load({ file: 'log: 1\nlog: 2\n' }))).toContain('stateferry.yaml:2: not valid YAML');
    expect(sentenceOf(() => load({ file: '- log' }))).toContain(
      'the file (stateferry.yaml:1): expected a map of options',
    );
  });

  test('a key in the wrong place is recognized by its last part', () => {
    expect(sentenceOf(() => load({ file: 'brokers: a:1' }))).toContain('did you mean kafka.brokers?');
    expect(sentenceOf(() => load({ env: { STATEFERRY_POSTGRES_URL: 'x' } }))).toContain('did you mean DATABASE_URL?');
  });

  test('keys that every object has are unknown like any other', () => {
    for (const key of ['__proto__', 'constructor', 'toString']) {
      expect(sentenceOf(() => load({ file: `${key}: { a: 1 }` }))).toContain(
        `${key} (stateferry.yaml:1): no such option`,
      );
    }
    expect({}).not.toHaveProperty('a');
  });

  test('variables that Kubernetes sets for a Service named stateferry are ignored, one that hides an option is explained', () => {
    const links = {
      STATEFERRY_SERVICE_HOST: '10.0.0.1',
      STATEFERRY_SERVICE_PORT_HTTP: '9090',
      STATEFERRY_PORT: 'tcp://10.0.0.1:9090',
      STATEFERRY_PORT_9090_TCP_ADDR: '10.0.0.1',
      STATEFERRY_METRICS_PORT_9090_TCP: 'tcp://10.0.0.1:9090',
    };
    expect(moved(load().config, load({ env: links }).config)).toEqual([]);
    const hidden = () => load({ env: { STATEFERRY_HTTP_PORT: 'tcp://10.0.0.1:9090' } });
    expect(sentenceOf(hidden)).toContain('enableServiceLinks: false');
  });
});

describe('options that must fit together', () => {
  test.each([
    ['kafka.heartbeatIntervalMs', '5000', 'kafka.sessionTimeoutMs', '10000'],
    ['kafka.fetchMaxWaitMs', '500', 'kafka.requestTimeoutMs', '500'],
    ['engine.drainTimeoutMs', '7000', 'kafka.rebalanceTimeoutMs', '7000'],
    ['function.backoffMinMs', '11', 'function.backoffMaxMs', '10'],
    ['engine.maxChunkRecords', '11', 'engine.maxRecordsInFlight', '10'],
    ['engine.maxRecordBytes', '11', 'engine.maxBytesInFlight', '10'],
    ['topics.subscriptions', '[{"topic":"a","service":"S","method":"M"}]', 'deadLetters.topic', 'a'],
    ['topics.subscriptions', '[{"topic":"a-commands","service":"S","method":"M"}]', 'deployment.name', 'a'],
    ['deadLetters.topic', 'a-commands', 'deployment.name', 'a'],
  ])('%s=%s with %s=%s: the fault names both and where they come from', (one, oneValue, other, otherValue) => {
    const sentence = sentenceOf(() => load({ argvFlags: { set: [`${one}=${oneValue}`, `${other}=${otherValue}`] } }));
    expect(sentence).toMatch(/^the configuration has one fault:/);
    expect(sentence).toMatch(new RegExp(`${one} \\(.*--set ${one}\\) and ${other} \\(.*--set ${other}\\): `));
  });

  test('two subscriptions, or two destinations, of the same thing: the second names the first', () => {
    const entry = '{"topic":"in","service":"S","method":"M"}';
    const twice = () => load({ argvFlags: { set: [`topics.subscriptions=[${entry},${entry}]`] } });
    expect(sentenceOf(twice)).toContain('topics.subscriptions[1]');
    expect(sentenceOf(twice)).toContain('other than that of [0]');
  });

  test('options that are at fault themselves are not compared', () => {
    const act = () => load({ argvFlags: { set: ['kafka.sessionTimeoutMs=x', 'kafka.heartbeatIntervalMs=9000'] } });
    expect(sentenceOf(act)).toMatch(/^the configuration has one fault:/);
  });
});

describe('the result', () => {
  test('is frozen to the depth', () => {
    const { config } = load({ argvFlags: { set: [`topics.destinations=${asText(OTHER['topics.destinations'])}`] } });
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value as object).every((inner) => frozen(inner)));
    expect(frozen(config)).toBe(true);
    expect(config.topics.destinations.replies).toHaveLength(1);
  });

  test('does not freeze what the command assumed', () => {
    const brokers = ['a:1'];
    loadConfig({
      argvFlags: {},
      env: REQUIRED,
      cwd: '/',
      readFile: () => undefined,
      assumed: { 'kafka.brokers': brokers },
    });
    expect(Object.isFrozen(brokers)).toBe(false);
  });

  test('names the deployment’s own topics after it', () => {
    const { config } = load({ env: { STATEFERRY_DEPLOYMENT_NAME: 'carts' } });
    expect(internalTopics(config)).toEqual({
      commands: 'carts-commands',
      answers: 'carts-answers',
      deadLetters: 'carts-dead-letters',
    });
  });
});

describe('retention', () => {
  const rules = (text: string) => load({ file: `journal:\n  retention: ${text}\n` }).config.journal.retention;

  test('is none where nothing is said', () => {
    expect(load().config.journal.retention).toEqual([]);
    expect(rules('[{ what: events, maxAgeMs: 1 }, { what: events, component: carts, maxBytesPerShard: 2 }]')).toEqual([
      { what: 'events', maxAgeMs: 1 },
      { what: 'events', component: 'carts', maxBytesPerShard: 2 },
    ]);
  });

  test('tells every fault of its rules at once', () => {
    const text =
      '[{ what: snapshots, maxAgeMs: 1 }, { what: inputs, component: carts, maxAgeMs: 1 }, { what: outputs }, ' +
      '{ what: events, maxAgeMs: 0, maxByte: 2 }, { what: events, maxAgeMs: 1 }, { what: events, maxAgeMs: 2 }]';
    const message = sentenceOf(() => rules(text));
    for (const fault of [
      'journal.retention[0].what (stateferry.yaml:2): found "snapshots", expected one of events, inputs, outputs',
      'journal.retention[3].maxAgeMs (stateferry.yaml:2): found 0, expected a whole number of ms, at least 1',
      'journal.retention[3].maxByte (stateferry.yaml:2): found an unknown key',
    ]) {
      expect(message).toContain(fault);
    }
    expect(sentenceOf(() => rules('[{ what: inputs, component: carts, maxAgeMs: 1 }, { what: outputs }]'))).toMatch(
      /retention\[0\]\.component .*found "carts", expected no such key, as inputs are kept by chunk[\s\S]*retention\[1\]\.maxAgeMs .*found nothing, expected .*or maxBytesPerShard/,
    );
    expect(sentenceOf(() => rules('[{ what: events, maxAgeMs: 1 }, { what: events, maxAgeMs: 2 }]'))).toContain(
      'a kind and component other than that of [0]',
    );
  });
});

describe('secrets', () => {
  const urls = [
    'postgres://app:s3cret@127.0.0.1/app',
    'postgres://app:p@s3cret/x@127.0.0.1/app',
    'postgres://:s3cret@127.0.0.1/app',
    'postgres://127.0.0.1/app?user=app&password=s3cret&x=1',
  ];

  test.each(urls)('the password of %s is in no printed form', (url) => {
    const loaded = load({ env: { DATABASE_URL: url } });
    expect(loaded.config.postgres.url).toBe(url);
    expect(JSON.stringify(redact(loaded.config))).not.toContain('s3cret');
    expect(JSON.stringify(redact(loaded.config))).toContain('127.0.0.1/app');
    expect(printConfig(loaded)).not.toContain('s3cret');
  });

  test('the secrets of a list are masked, and the rest of its entries is shown', () => {
    const loaded = load({
      file: `doors:
  services: [{ name: shop, token: s3cret-s3cret-s3cret }, { name: mart, tokenFile: /run/mart }]
  jwtKeys: [{ id: k1, issuer: me, algorithm: HS256, key: s3cret }]`,
    });
    expect(loaded.config.doors.services[0]?.token).toBe('s3cret-s3cret-s3cret');
    expect(redact(loaded.config).doors).toMatchObject({
      services: [
        { name: 'shop', token: '***' },
        { name: 'mart', tokenFile: '/run/mart' },
      ],
      jwtKeys: [{ id: 'k1', issuer: 'me', algorithm: 'HS256', key: '***' }],
    });
    expect(printConfig(loaded)).not.toContain('s3cret');
  });

  test('redacting leaves every other value as it is', () => {
    const { config } = load();
    expect(moved(config, redact(config))).toEqual(['postgres.url']);
  });

  test.each([
    { env: { DATABASE_URL: 's3cret' } },
    { env: { DATABASE_URL: 'mysql://app:s3cret@h/db' } },
    { file: 'postgres:\n  url: [s3cret]\n' },
    { file: 'postgres:\n  url: "s3cret\n' },
    { file: 'postgres:\n  password: s3cret\n' },
    { argvFlags: { set: ['postgres.url=s3cret'] } },
    { argvFlags: { set: ['postgres.uri=postgres://app:s3cret@h/db'] } },
    { argvFlags: { set: ['postgres.url:postgres://app:s3cret@h/db'] } },
    { file: 'doors:\n  services: [{ name: a, token: "s3cret with spaces" }]\n' },
    { file: 'doors:\n  services: [{ name: a, tokn: s3cret }]\n' },
    { file: 'doors:\n  services: [s3cret]\n' },
    { file: 'doors:\n  services: s3cret\n' },
    { file: 'doors:\n  jwtKeys: [{ id: a, algorithm: HS256, key: [s3cret] }]\n' },
    { env: { STATEFERRY_DOORS_SERVICES: '[{"name":"a","token":"s3cret' } },
    { argvFlags: { set: ['doors.jwtKeys=[{"key":"s3cret"}'] } },
  ])('a fault in it does not show it: %j', (given) => {
    expect(sentenceOf(() => load(given))).not.toContain('s3cret');
  });

  test('the printed configuration is itself a config file with the same values', () => {
    const loaded = load({ env: { DATABASE_URL: 'postgres://db/app', STATEFERRY_LOG_LEVEL: 'debug' } });
    const again = load({ file: printConfig(loaded), env: { KAFKA_BROKERS: '', DATABASE_URL: '' } });
    expect(moved(loaded.config, again.config)).toEqual([]);
    expect(printConfig(loaded)).toMatch(/level: "debug" +# STATEFERRY_LOG_LEVEL/);
  });
});

describe('failure policies', () => {
  const policies = (text: string) => load({ file: `failures:\n  policies: ${text}\n` }).config.failures.policies;

  test('a retry that says no more has five attempts, pauses from 200 ms to 30 s, and a dead letter in the end', () => {
    expect(policies('[{ policy: retry }]')).toEqual([
      { policy: 'retry', attempts: 5, initialBackoffMs: 200, maxBackoffMs: 30_000, lastResort: 'dead-letter' },
    ]);
  });

  test('all faults are named at once, each by its place', () => {
    const sentence = sentenceOf(() =>
      policies(
        '[{ policy: stop }, { policy: halt, attempts: 3 }, { policy: retry, attempts: 1, initialBackoffMs: 9, maxBackoffMs: 8 }, ' +
          '{ policy: retry, initialBackoffMs: 9, maxBackoffMs: 8 }, { topic: "a b", polcy: halt }, { policy: halt }]',
      ),
    );
    for (const fault of [
      'failures.policies[0].policy (stateferry.yaml:2): found "stop", expected one of dead-letter, retry, halt, pause',
      'failures.policies[1].attempts (stateferry.yaml:2): found 3, expected no such key, as only the policy retry has it',
      'failures.policies[2].attempts (stateferry.yaml:2): found 1, expected a whole number of attempts, 2 to 1000000',
      'failures.policies[3].maxBackoffMs (stateferry.yaml:2): found 8, expected at least initialBackoffMs, 9',
      'failures.policies[4].topic (stateferry.yaml:2): found "a b"',
      'failures.policies[4].polcy (stateferry.yaml:2): found an unknown key',
    ])
      expect(sentence).toContain(fault);
  });

  test('two entries for the same are refused', () => {
    expect(sentenceOf(() => policies('[{ policy: halt }, { policy: retry }]'))).toContain(
      'expected a topic, service and method other than that of [0]',
    );
  });
});

test('a key that is a structure is a fault, and is told nowhere else: it may hold a secret', () => {
  const warned: string[] = [];
  const onWarning = vi.spyOn(process, 'emitWarning').mockImplementation((warning) => void warned.push(String(warning)));
  try {
    const file = 'doors:\n  jwtKeys: { [s3cret, x]: 1 }\n';
    expect(() => load({ file })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(warned).toEqual([]);
  } finally {
    onWarning.mockRestore();
  }
});
