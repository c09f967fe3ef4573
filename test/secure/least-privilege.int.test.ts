import { randomUUID } from 'node:crypto';
import kafkajs, { type AclEntry } from 'kafkajs';
import pg from 'pg';
import { expect, it } from 'vitest';
import type { AclOptions } from '../../src/cli/context.ts';
import { acl } from '../../src/commands/acl.ts';
import { reprocess } from '../../src/commands/reprocess.ts';
import { loadConfig } from '../../src/config/load.ts';
import { printConfig } from '../../src/config/print.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { JOURNAL_TABLES, type KafkaRight, type Rights } from '../../src/least-privilege.ts';
import { MAX_BATCH_BYTES } from '../../src/topics/decompression.ts';
import { createTopics } from '../../src/topics/ensure.ts';
import { COMPONENTS, ORDER_SERVICE, ORDERS } from '../bad-input/orders.ts';
import { filesOf } from '../support/certificates.ts';
import { createDoorClient } from '../support/door-client.ts';
import { createClient, produce, readCommitted, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope } from '../support/scope.ts';
import { replyWith, startScriptedFunction } from '../support/scripted-function.ts';
import { startSecuredKafka } from '../support/secured-kafka.ts';
import { startRuntime } from '../support/start-runtime.ts';

/*
 * A deployment with exactly the rights that `stateferry acl` prints, on a broker that allows nothing else and with a role of
 * Postgres that owns nothing; and with secrets in all places that take one, none of which shows anywhere.
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
const { at, authority } = await startSecuredKafka(file, { carts: SECRETS.kafka });
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
  const said: string[] = [];
  const out = { write: (text: string) => said.push(text) };
  expect(await acl(loaded.config, options, { signal: AbortSignal.any([]), out, err: out })).toBe(0);
  return said.join('');
}

/** Grants what the purposes take; of Kafka and of Postgres. */
async function grant(...purposes: readonly Rights['purpose'][]): Promise<void> {
  const granted = rights.filter(({ purpose }) => purposes.includes(purpose));
  await withAdmin((admin) => admin.createAcls({ acl: granted.flatMap(({ kafka }) => kafka.flatMap(entries)) }), open);
  await owner(async (client) => {
    for (const statement of granted.flatMap(({ postgres }) => postgres)) await client.query(statement);
  });
}

it('the journal’s tables are those that the rights name, and the one that says which migrations there were', async () => {
  await migrate({ url: databaseUrl, schema: 'stateferry' });
  const found = await owner((client) =>
    client.query<{ tablename: string }>(`select tablename from pg_tables where schemaname = 'stateferry'`),
  );
  expect(found.rows.map(({ tablename }) => tablename).sort()).toEqual([...JOURNAL_TABLES, 'migration'].sort());
});

it('a deployment with exactly the rights of `run` works, from start to stop and from start again', async (t) => {
  await withAdmin(
    (admin) =>
      createTopics(
        admin,
        ['orders', 'replies', `${name}-commands`, `${name}-answers`, `${name}-dead-letters`].map((topic) => ({
          topic,
          numPartitions: PARTITIONS,
          replicationFactor: 1,
        })),
      ),
    open,
  );
  const printed = await printRights({ json: true });
  const found = JSON.parse(printed) as { principal: string; role: string; rights: readonly Rights[] };
  expect(found).toMatchObject({ principal: 'User:carts', role });
  rights = found.rights;
  await grant('run');

  const shown: string[] = [printConfig(loaded)];
  for (const nth of [1, 2]) {
    const runtime = startRuntime(t, assumed);
    await runtime.ready();
    await produce('orders', [{ key: `a${nth}`, value: JSON.stringify({ id: `a${nth}`, text: 'from a topic' }) }], open);
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

it('and with those of `history`, its history is made anew, beside it', async (t) => {
  await grant('history');
  const said: string[] = [];
  const out = { write: (text: string) => said.push(text) };
  const code = await reprocess(
    loaded.config,
    {
      kind: 'start',
      name: 'next',
      functionUrl: undefined,
      mode: 'isolated',
      from: 'beginning',
      state: undefined,
      components: undefined,
      perSecond: undefined,
      follow: false,
    },
    { signal: AbortSignal.any([]), out, err: out },
  );
  expect(code, said.join('')).toBe(0);
  expect(said.join('')).not.toMatch(/AUTHORIZATION|denied/i);
  const discarded = await reprocess(
    loaded.config,
    { kind: 'discard', name: 'next' },
    { signal: AbortSignal.any([]), out, err: out },
  );
  expect(discarded, said.join('')).toBe(0);
  t.expect(await withAdmin((admin) => admin.listTopics(), open)).not.toContain(`${name}.next-commands`);
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
