import { randomUUID } from 'node:crypto';
import kafkajs, { type AclEntry } from 'kafkajs';
import pg from 'pg';
import { expect, it } from 'vitest';
import type { AclOptions, Io } from '../../src/cli/context.ts';
import { acl } from '../../src/commands/acl.ts';
import { diff } from '../../src/commands/diff.ts';
import { promote } from '../../src/commands/promote.ts';
import { replay } from '../../src/commands/replay.ts';
import { reprocess } from '../../src/commands/reprocess.ts';
import { topics } from '../../src/commands/topics.ts';
import { verify } from '../../src/commands/verify.ts';
import { loadConfig } from '../../src/config/load.ts';
import { printConfig } from '../../src/config/print.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { JOURNAL_TABLES, type KafkaRight, type Rights } from '../../src/least-privilege.ts';
import { MAX_BATCH_BYTES } from '../../src/topics/decompression.ts';
import { createTopics } from '../../src/topics/ensure.ts';
import { COMPONENTS, ORDER_SERVICE, ORDERS } from '../bad-input/orders.ts';
import { filesOf } from '../support/certificates.ts';
import { createDoorClient } from '../support/door-client.ts';
import { leaveHanging } from '../support/hanging.ts';
import { createClient, produce, readCommitted, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope } from '../support/scope.ts';
import { replyWith, startScriptedFunction } from '../support/scripted-function.ts';
import { startSecuredKafka } from '../support/secured-kafka.ts';
import { startRuntime } from '../support/start-runtime.ts';

/*
 * A deployment with exactly the rights that `stateferry acl` prints, for each purpose those of `run` and its own, on a broker that
 * allows nothing else and with a role of Postgres that owns nothing; and with secrets in all places that take one, none of which
 * shows anywhere.
 */
const SECRETS = {
  kafka: 'planted-password-of-kafka',
  postgres: 'planted-password-of-postgres',
  token: 'planted-token-of-a-service',
  jwt: 'planted-secret-of-the-bearer-tokens',
  self: 'planted-token-of-the-function-itself',
  environment: 'planted-in-the-environment-of-the-function',
};
const PARTITIONS = 2;

const file = fileScope();
const { at, authority } = await startSecuredKafka(
  file,
  { carts: SECRETS.kafka },
  // So that a transaction can be left hanging.
  { 'transaction.partition.verification.enable': 'false' },
);
const open = [at.open];
const { paths } = await filesOf(file, {
  ca: authority.certificate,
  kafka: `${SECRETS.kafka}\n`,
  postgres: `${SECRETS.postgres}\n`,
  self: `${SECRETS.self}\n`,
});
const fn = await startScriptedFunction(file, {
  descriptor: ORDERS,
  components: COMPONENTS,
  serviceInfo: { env: { SECRET: SECRETS.environment } },
  onCommand: ({ id, input }) => ({
    reply: {
      command_id: id,
      ...replyWith(fn.pack('orders.Done', { text: String(input.text) })),
      events: [fn.pack('orders.Placed', { text: String(input.text) })],
    },
  }),
});

const databaseUrl = await createDatabase(file);
const role = `role_${randomUUID().replaceAll('-', '')}`;
const owner = async <T>(use: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
};
await owner((client) => client.query(`create role ${role} login password '${SECRETS.postgres}'`));
file.onTestFinished(async () => {
  await owner((client) => client.query(`drop owned by ${role}; drop role ${role}`));
});
const urlOfRole = new URL(databaseUrl);
urlOfRole.username = role;
urlOfRole.password = '';

const name = `d-${randomUUID()}`;
const assumed = {
  'deployment.name': name,
  'kafka.brokers': [at.sasl],
  'kafka.tls': { caFile: paths.ca },
  'kafka.sasl': { mechanism: 'SCRAM-SHA-512', username: 'carts', passwordFile: paths.kafka },
  'postgres.url': urlOfRole.href,
  'postgres.passwordFile': paths.postgres,
  'function.url': fn.url,
  'topics.subscriptions': [{ topic: 'orders', service: ORDER_SERVICE, method: 'Place', format: 'json' }],
  'topics.destinations': { replies: [{ service: ORDER_SERVICE, method: 'Place', topic: 'replies' }] },
  'doors.enabled': true,
  'doors.port': 0,
  'doors.services': [{ name: 'mart', token: SECRETS.token }],
  'doors.selfTokenFile': paths.self,
  'doors.jwtKeys': [{ id: 'k', algorithm: 'HS256', key: SECRETS.jwt }],
  'log.level': 'trace',
} as const;
const loaded = loadConfig({ argvFlags: {}, env: {}, cwd: '/', readFile: () => undefined, assumed });

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;
const RESOURCES = {
  topic: AclResourceTypes.TOPIC,
  group: AclResourceTypes.GROUP,
  'transactional-id': AclResourceTypes.TRANSACTIONAL_ID,
  cluster: AclResourceTypes.CLUSTER,
};
const OPERATIONS = {
  Read: AclOperationTypes.READ,
  Write: AclOperationTypes.WRITE,
  Create: AclOperationTypes.CREATE,
  Delete: AclOperationTypes.DELETE,
  Describe: AclOperationTypes.DESCRIBE,
  DescribeConfigs: AclOperationTypes.DESCRIBE_CONFIGS,
  Alter: AclOperationTypes.ALTER,
};

function entries({ resource, pattern, name: resourceName, operations }: KafkaRight): AclEntry[] {
  return operations.map((operation) => ({
    resourceType: RESOURCES[resource],
    resourceName,
    resourcePatternType: pattern === 'prefixed' ? ResourcePatternTypes.PREFIXED : ResourcePatternTypes.LITERAL,
    principal: 'User:carts',
    host: '*',
    operation: OPERATIONS[operation],
    permissionType: AclPermissionTypes.ALLOW,
  }));
}

let rights: readonly Rights[] = [];

/** What `stateferry acl` prints. */
async function printRights(options: AclOptions): Promise<string> {
  const { code, said } = await command((io) => acl(loaded.config, options, io));
  expect(code).toBe(0);
  return said;
}

/** Grants what the purposes take, of Kafka and of Postgres, and these rights, and takes all others in Kafka away. */
async function grantOnly(purposes: readonly Rights['purpose'][], more: readonly KafkaRight[] = []): Promise<void> {
  const granted = rights.filter(({ purpose }) => purposes.includes(purpose));
  expect(granted).toHaveLength(purposes.length);
  await withAdmin(async (admin) => {
    const everything = {
      resourceType: AclResourceTypes.ANY,
      resourcePatternType: ResourcePatternTypes.ANY,
      principal: 'User:carts',
      operation: AclOperationTypes.ANY,
      permissionType: AclPermissionTypes.ANY,
    };
    await admin.deleteAcls({ filters: [everything] });
    await admin.createAcls({ acl: [...granted.flatMap(({ kafka }) => kafka), ...more].flatMap(entries) });
  }, open);
  await owner(async (client) => {
    for (const statement of granted.flatMap(({ postgres }) => postgres)) await client.query(statement);
  });
}

/** A command of the command line in this process: its exit code, and all that it says. */
async function command(run: (io: Io) => Promise<number>): Promise<{ readonly code: number; readonly said: string }> {
  const said: string[] = [];
  const out = { write: (text: string) => said.push(text) };
  const code = await run({ signal: AbortSignal.any([]), out, err: out });
  return { code, said: said.join('') };
}

async function place(id: string): Promise<void> {
  await produce('orders', [{ key: id, value: JSON.stringify({ id, text: 'from a topic' }) }], open);
}

it('the journal’s tables are those that the rights name, and the one that says which migrations there were', async () => {
  await migrate({ url: databaseUrl, schema: 'stateferry' });
  const found = await owner((client) =>
    client.query<{ tablename: string }>(`select tablename from pg_tables where schemaname = 'stateferry'`),
  );
  expect(found.rows.map(({ tablename }) => tablename).sort()).toEqual([...JOURNAL_TABLES, 'migration'].sort());
});

it('with the rights of `create-topics` the missing topics are made', async () => {
  const printed = await printRights({ json: true });
  const found = JSON.parse(printed) as { principal: string; role: string; rights: readonly Rights[] };
  expect(found).toMatchObject({ principal: 'User:carts', role });
  rights = found.rights;
  await grantOnly(['run', 'create-topics']);
  const made = await command((io) => topics(loaded.config, { create: true, partitions: PARTITIONS }, io));
  expect(made.code, made.said).toBe(0);
  expect(await withAdmin((admin) => admin.listTopics(), open)).toEqual(
    expect.arrayContaining(['orders', 'replies', `${name}-commands`, `${name}-answers`, `${name}-dead-letters`]),
  );
});

it('a deployment with exactly the rights of `run` works, from start to stop and from start again', async (t) => {
  await grantOnly(['run']);
  const shown: string[] = [printConfig(loaded)];
  for (const nth of [1, 2]) {
    const runtime = startRuntime(t, assumed);
    await runtime.ready();
    await place(`a${nth}`);
    await produce('orders', [{ key: 'bad', value: '{' }], open);
    const door = await createDoorClient(t, { at: await runtime.doors(), descriptor: ORDERS });
    const answer = await door.call(`${ORDER_SERVICE}/Place`, { id: `b${nth}`, text: 'from a door' });
    expect(answer.output).toEqual({ text: 'from a door' });
    // Replies of topics, and of doors besides.
    await readCommitted('replies', { count: nth }, { brokers: open });
    await readCommitted(`${name}-dead-letters`, { count: nth }, { brokers: open });
    const { host, port } = (await runtime.logged('Metrics, health and status are served')) as unknown as {
      host: string;
      port: number;
    };
    for (const path of ['metrics', 'status', 'shards', 'readyz']) {
      shown.push(await (await fetch(`http://${host}:${port}/${path}`)).text());
    }
    await runtime.stop();
    shown.push(...runtime.log.map((line) => JSON.stringify(line)));
    // It says that it may not look for transactions that hang, which is one of the rights of `healing`.
    const denied = runtime.log
      .map((line) => JSON.stringify(line))
      .filter((line) => /AUTHORIZATION|not authorized|denied/i.test(line))
      .filter((line) => !/DescribeProducers|May not look for transactions that hang/.test(line));
    expect(denied).toEqual([]);
  }
  const all = shown.join('\n');
  for (const [what, secret] of Object.entries(SECRETS)) expect(all.includes(secret), what).toBe(false);
  expect(all).toContain('SCRAM-SHA-512');
});

it('and with those of `verify`, what it did is verified; without, it is said what is missing', async () => {
  const options = { json: false, sample: 10, probes: [], shared: [] };
  const denied = await command((io) => verify(loaded.config, options, io));
  expect(denied.code).toBe(2);
  expect(denied.said).toMatch(/^stateferry: not verified: .*not authorized.*`stateferry acl` prints.* for verify/im);
  await grantOnly(['run', 'verify']);
  const allowed = await command((io) => verify(loaded.config, options, io));
  expect(allowed.code, allowed.said).toBe(0);
});

it('and with those of `history`, its history is made anew, compared, published once more, and serves', async (t) => {
  await withAdmin((admin) => createTopics(admin, [{ topic: 'copies', numPartitions: 1, replicationFactor: 1 }]), open);
  await grantOnly(
    ['run', 'history'],
    [{ resource: 'topic', pattern: 'literal', name: 'copies', operations: ['Write'] }],
  );
  const done = async (run: (io: Io) => Promise<number>): Promise<void> => {
    const { code, said } = await command(run);
    expect(code, said).toBe(0);
    expect(said).not.toMatch(/authoriz|denied/i);
  };
  const request = {
    functionUrl: undefined,
    state: undefined,
    components: undefined,
    perSecond: undefined,
    follow: false,
  } as const;
  await done((io) =>
    reprocess(loaded.config, { kind: 'start', name: 'next', mode: 'isolated', from: 'beginning', ...request }, io),
  );
  await done((io) => diff(loaded.config, { name: 'next', json: false, html: undefined, ignore: [] }, io));
  const copied = { to: 'copies', format: 'json', outputs: false, dryRun: false, perSecond: undefined } as const;
  const all = { name: undefined, component: undefined, entity: undefined, since: undefined, until: undefined };
  await done((io) => replay(loaded.config, { ...copied, ...all, shard: undefined }, io));
  // An event each of the orders from a topic and from a door.
  expect(await readCommitted('copies', { count: 4 }, { brokers: open })).toHaveLength(4);

  const runtime = startRuntime(t, assumed);
  await runtime.ready();
  const served = async (nth: number): Promise<void> => {
    await place(`c${nth}`);
    await readCommitted('replies', { count: 4 + nth }, { brokers: open });
  };
  const promoted = await command((io) =>
    promote(loaded.config, { name: 'next', holdMs: 20_000, emitTo: 'copies' }, io),
  );
  expect(promoted.code, promoted.said).toBe(0);
  await served(1);
  const retired = /stateferry promote (\S+)/.exec(promoted.said)?.[1] ?? '';
  await done((io) => promote(loaded.config, { name: retired, holdMs: 20_000, emitTo: undefined }, io));
  await served(2);
  await runtime.stop();

  await done((io) => reprocess(loaded.config, { kind: 'discard', name: 'next' }, io));
  t.expect(await withAdmin((admin) => admin.listTopics(), open)).not.toContain(`${name}.next-commands`);
}, 60_000);

it('and with those of `healing`, a transaction that hangs is ended; without, a start stops and says so', async (t) => {
  await grantOnly(['run']);
  const id = `${name}-${randomUUID()}.1`;
  await owner((client) => client.query('update stateferry.shard set owners = array[$1]', [id]));
  await leaveHanging(createClient(open), id, {
    outputs: [{ topic: 'replies', partition: 0, messages: [{ key: Buffer.from('hung'), value: Buffer.from('{}') }] }],
    groupId: name,
    offsets: [{ topic: 'orders', partition: 0, offset: 0n }],
  });
  const denied = startRuntime(t, assumed);
  expect(await denied.failure).toMatchObject({
    code: 'TRANSACTION_HANGING',
    message: expect.stringMatching(/orders-0, and maybe records: the broker does not let this process look for it/),
  });

  await grantOnly(['run', 'healing']);
  const runtime = startRuntime(t, assumed);
  await runtime.ready();
  expect(await runtime.logged('Ended a transaction that Kafka had left without its markers')).toMatchObject({
    transactionalId: id,
    ending: 'abort',
    partitions: expect.arrayContaining(['replies-0']),
  });
  await runtime.stop();
}, 60_000);

it('the rights are printed as arguments of kafka-acls.sh and as SQL, for whom they are asked for', async () => {
  const lines = (await printRights({ json: false, principal: "User:CN=o'hara", role: 'o"hara' })).split('\n');
  expect(lines[0]).toMatch(/^# run: /);
  expect(lines).toContain(
    `--add --allow-principal 'User:CN=o'\\''hara' --operation Read --operation DescribeConfigs --topic orders --resource-pattern-type literal`,
  );
  expect(lines).toContain('GRANT USAGE ON SCHEMA "stateferry" TO "o""hara";');
  expect(lines.filter((line) => line.startsWith('# ')).slice(1)).toEqual(
    ['create-topics', 'verify', 'history', 'healing'].map((purpose) =>
      expect.stringContaining(`# ${purpose} (optional): `),
    ),
  );
});

it('a batch that comes to more than any process can take stops it, and says so', async (t) => {
  const producer = createClient(open).producer({ allowAutoTopicCreation: false });
  await producer.connect();
  await producer.send({
    topic: 'orders',
    compression: kafkajs.CompressionTypes.GZIP,
    messages: [{ key: 'bomb', value: Buffer.alloc(MAX_BATCH_BYTES) }],
  });
  await producer.disconnect();
  const runtime = startRuntime(t, assumed);
  expect(await runtime.failure).toMatchObject({ code: 'BATCH_TOO_LARGE' });
});
